"""Trainings by Lightning itself, with the loggers of TensorBoard, MLflow and W&B themselves."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from torchattr.errors import InputError, LayerError
from torchattr.integrations import FixedPanels

if find_spec("lightning") is None:
    pytest.skip("lightning is not installed", allow_module_level=True)

import lightning.pytorch as pl
from lightning.pytorch import loggers

from torchattr.integrations.lightning import LoggerWarning, PanelCallback

# Lightning's own advice on workers and devices.
pytestmark = [
    pytest.mark.filterwarnings("ignore:::lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

INPUTS = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(),
            nn.Linear(144, 5),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        return self(batch[0]).logsumexp(1).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(INPUTS), 1)


def train(folder, *callbacks, logger=False, epochs=3, **options):
    module = Module()
    trainer = pl.Trainer(
        default_root_dir=folder,
        logger=logger,
        callbacks=list(callbacks),
        max_epochs=epochs,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(module)
    return module


def callback(**options):
    panels = FixedPanels(INPUTS, ["grad_cam"], layer="net.2", names=["cat", "dog"], cell=64)
    return PanelCallback(panels, **options)


def test_panels_are_logged_to_tensorboard(tmp_path):
    train(tmp_path, callback(every=2), logger=loggers.TensorBoardLogger(tmp_path), epochs=4)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = tmp_path.rglob("events.*")
    events = EventAccumulator(str(file))
    events.Reload()
    assert events.Tags()["images"] == ["attributions/cat", "attributions/dog"]
    assert [one.step for one in events.Images("attributions/cat")] == [4, 8]


@pytest.mark.slow
def test_panels_are_logged_to_mlflow(tmp_path):
    pytest.importorskip("mlflow")
    logger = loggers.MLFlowLogger(
        tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}", artifact_location=tmp_path.as_uri()
    )
    train(tmp_path, callback(every=3), logger=logger)
    found = [path.name for path in tmp_path.rglob("*.png")]
    assert len(found) == 2
    assert all("step" in name for name in found)


@pytest.mark.slow
def test_panels_are_logged_to_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = loggers.WandbLogger(save_dir=tmp_path, offline=True)
    train(tmp_path, callback(every=3), logger=logger)
    logger.experiment.finish()
    found = sorted(re.sub(r"_\d+_\w+$", "", path.stem) for path in tmp_path.rglob("media/**/*.png"))
    assert found == ["cat", "dog"]


def test_other_loggers_are_named_or_get_a_function(tmp_path):
    logger = loggers.CSVLogger(tmp_path)
    with pytest.warns(LoggerWarning, match="CSVLogger is not known to take pictures"):
        train(tmp_path, callback(), logger=logger, epochs=1)
    logged = []
    train(tmp_path, callback(key="k", log=lambda *what: logged.append(what)), logger=logger)
    assert [(key, step) for _, key, _, step in logged] == [
        (f"k/{name}", step) for step in (2, 4, 6) for name in ("cat", "dog")
    ]
    assert all(one is logger for one, *_ in logged)


def test_the_training_is_the_same_with_and_without(tmp_path):
    torch.manual_seed(3)
    plain = train(tmp_path)
    torch.manual_seed(3)
    watched = train(tmp_path, callback(log=lambda *_: None), logger=loggers.CSVLogger(tmp_path))
    for one, other in zip(plain.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_part_of_the_module_is_explained(tmp_path):
    panels = FixedPanels(INPUTS, ["grad_cam"], layer="2", cell=64)
    logged = []
    train(
        tmp_path,
        PanelCallback(panels, module="net", log=lambda *what: logged.append(what)),
        logger=loggers.CSVLogger(tmp_path),
        epochs=1,
    )
    assert len(logged) == 2


def test_what_does_not_fit_is_refused_before_the_first_epoch(tmp_path):
    with pytest.raises(InputError, match="every must be a positive number of epochs, got 0"):
        callback(every=0)
    steps = []
    panels = FixedPanels(INPUTS, ["grad_cam"], layer="none")
    with pytest.raises(LayerError):
        train(tmp_path, PanelCallback(panels, every=100), _Counting(steps))
    assert steps == []


class _Counting(pl.Callback):
    def __init__(self, steps):
        self._steps = steps

    def on_train_batch_end(self, *what):
        self._steps.append(1)


def test_a_trial_run_logs_nothing(tmp_path):
    train(tmp_path, callback(), logger=loggers.CSVLogger(tmp_path), fast_dev_run=1)
    assert not list(Path(tmp_path).rglob("*.png"))
