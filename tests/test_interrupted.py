"""Ctrl-C at any line of the package leaves nothing behind, and the next call is right."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import noise, seeded
from interrupting import PACKAGE, interrupted_at, spots_of
from torch import nn

import torchattr as ta
from torchattr import evaluate
from torchattr.evaluate import DisconnectedGrid, blocks, deletion_curve
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.models import load_model, read_image
from torchattr.models.collage import examples
from torchattr.models.user_file import run_file

X = noise(1, 1, 6, 6)


def small() -> nn.Module:
    layers = (
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Conv2d(2, 2, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 2),
    )
    return seeded(lambda: nn.Sequential(*layers)).double().eval()


def seeded_work(work: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        torch.manual_seed(0)
        return work()

    return run


def of_backend(model: nn.Module) -> Any:
    with ta.backend("torch"):
        return ta.Saliency(model).attribute(X, 1)


def of_prepared(model: nn.Module) -> Any:
    return ta.Saliency(ta.prepare(model, X, channels_last=False)).attribute(X, 1)


def of_projector(model: nn.Module) -> Callable[[], Any]:
    projector = ta.BackProjector(model, X, "2")
    return lambda: projector.project([0])


def in_bfloat16(model: nn.Module) -> Callable[[], Any]:
    single, x = model.float(), X.float()

    def run() -> Any:
        fast = ta.prepare(single, x, channels_last=False, precision="bfloat16")
        return ta.Saliency(fast).attribute(x, 1)

    return run


MEASURED: dict[str, Any] = {"methods": "saliency", "metrics": ["mass", "deletion"]}


def labelled(model: nn.Module) -> LabelledPictures:
    return LabelledPictures(model, X, torch.tensor([1]), torch.arange(36).view(1, 6, 6) < 9)


def of_user_file(folder: Path) -> str:
    file = folder / "own.py"
    file.write_text("import beside\n\nANSWER = beside.ANSWER\n")
    (folder / "beside.py").write_text("ANSWER = 42\n")
    return str(run_file(file).ANSWER)


def of_random_weights() -> list[Any]:
    return list(load_model("demo", weights="random").model.parameters())


METHODS: dict[str, Callable[[nn.Module], Callable[[], Any]]] = {
    "occlusion": lambda model: (
        lambda: ta.Occlusion(model).attribute(X, (1, 2, 2), target=1, incremental=True)
    ),
    "feature_ablation": lambda model: (
        lambda: ta.FeatureAblation(model).attribute(
            X, 1, feature_mask=torch.arange(4).repeat_interleave(9).view(1, 1, 6, 6)
        )
    ),
    "shapley_value_sampling": lambda model: (
        lambda: ta.ShapleyValueSampling(model).attribute(
            X,
            target=1,
            feature_mask=torch.arange(4).repeat_interleave(9).view(1, 1, 6, 6),
            n_samples=1,
            incremental=True,
        )
    ),
    "deletion_curve": lambda model: (
        lambda: deletion_curve(model, X, X, 1, feature_mask=blocks(X, 3), incremental=True).scores
    ),
    "disconnected_grid": lambda model: (
        lambda: ta.Saliency(DisconnectedGrid(model, "2")).attribute(X.tile(2, 2), target=(1, 1))
    ),
    "layer_feature_ablation": lambda model: (
        lambda: ta.LayerFeatureAblation(model, "2").attribute(
            X, target=1, layer_mask=torch.zeros(1, dtype=torch.long)
        )
    ),
    "rise": lambda model: lambda: ta.RISE(model).attribute(X, 1, n_masks=4, grid_size=2),
    "noise_tunnel": lambda model: (
        lambda: ta.NoiseTunnel(ta.Saliency(model)).attribute(X, target=1, nt_samples=2)
    ),
    "integrated_gradients": lambda model: (
        lambda: ta.IntegratedGradients(model).attribute(X, target=1, n_steps=3)
    ),
    "gradient_shap": lambda model: (
        lambda: ta.GradientShap(model).attribute(
            X, 0.5, 3, 0.1, 1, return_convergence_delta=True, internal_batch_size=2 * len(X)
        )
    ),
    "deep_lift": lambda model: (
        lambda: ta.DeepLift(model).attribute(X, 0.5, 1, return_convergence_delta=True)
    ),
    "deep_lift_shap": lambda model: (
        lambda: ta.DeepLiftShap(model).attribute(X, X.flip(2), 1, internal_batch_size=1)
    ),
    "layer_integrated_gradients": lambda model: (
        lambda: ta.LayerIntegratedGradients(model, "2").attribute(X, target=1, n_steps=3)
    ),
    "neuron_conductance": lambda model: (
        lambda: ta.NeuronConductance(model).attribute(
            X, ta.Neuron("2", (0, 1, 1)), target=1, n_steps=3
        )
    ),
    "lrp": lambda model: (
        lambda: ta.LRP(model, "epsilon_plus_flat").attribute(X, 1, return_ledger=True)
    ),
    "attn_lrp": lambda model: lambda: ta.AttnLRP(model).attribute(X, ta.Classes(1, 0)),
    "layer_lrp": lambda model: lambda: ta.LayerLRP(model, ["0", "3"]).attribute(X, 1),
    "excitation_backprop": lambda model: (
        lambda: ta.ExcitationBackprop(model, "2", contrast=True).attribute(X, 1)
    ),
    "grad_cam": lambda model: lambda: ta.GradCAM(model).attribute(X, 1),
    "difference": lambda model: lambda: ta.Saliency(model).attribute(X, ta.Difference(1, 0)),
    "explain": lambda model: lambda: ta.explain(model, X),
    "mprt": lambda model: lambda: evaluate.mprt(model, X, ["saliency"], 1, steps=2)["saliency"],
    "check": lambda model: (
        lambda: (
            evaluate.check(model, X, "saliency", 1, steps=1, n_samples=1, squares_across=2)[
                "saliency"
            ]["edges"].interval.value
        )
    ),
    "sensitivity_max": lambda model: (
        lambda: evaluate.sensitivity_max(ta.Saliency(model).attribute, X, target=1, n_samples=2)
    ),
    "benchmark": lambda model: lambda: evaluate.benchmark(labelled(model), **MEASURED).values,
    "planted": lambda model: lambda: evaluate.planted("saliency", "stamp", n=2).gains,
    "feature_maps": lambda model: lambda: ta.feature_maps(model, X),
    "summary": lambda model: lambda: str(ta.summary(model, X)),
    "back_project": lambda model: lambda: ta.back_project(model, X, "2", [0]),
    "projector": of_projector,
    "maximise": lambda model: lambda: ta.maximise(model, ("2", 1), X, steps=2),
    "prepare": lambda model: lambda: of_prepared(model),
    "prepare_bfloat16": in_bfloat16,
    "backend": lambda model: lambda: of_backend(model),
    "deepdream": lambda model: lambda: ta.deepdream(model, X, "3", steps=1, octaves=1),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("mode", "share"),
    [
        (torch.no_grad, 20),
        pytest.param(torch.inference_mode, 60, marks=pytest.mark.slow),
        pytest.param(torch.enable_grad, 60, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left(method: str, mode: Any, share: int) -> None:
    """Interrupted at a share of all lines, other ones in each mode; all would take an hour."""
    model = small()
    with mode():
        work = seeded_work(METHODS[method](model))
        work()
        spots = spots_of(work)
        assert len(spots) > 300
        some = random.Random(mode.__name__).sample(spots, share)
        assert not interrupted_at(some, work, model)


# What is loaded is the same each time, and so is the state of the process afterwards.
LOADED: dict[str, Callable[[Path], Any]] = {
    "picture": lambda folder: read_image(examples()[0].path).tobytes().hex(),
    "file of a user": of_user_file,
    "random weights": lambda folder: of_random_weights(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", LOADED)
def test_nothing_is_left_by_loading(what: str, tmp_path: Path) -> None:
    def work() -> Any:
        found = LOADED[what](tmp_path)
        return [found, str(torch.get_rng_state().tolist())]

    work()
    # PyTorch's own layers enter no_grad while they are made; what that leaves is PyTorch's.
    spots = [spot for spot in spots_of(work) if spot.file.startswith(PACKAGE)]
    assert not interrupted_at(spots, work, small())
