"""Long runs keep no more memory at their end than at their beginning."""

import gc

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import ToTensor

from torchattr.models import LoadedModel
from torchattr.results import RunFolder
from torchattr.runs import ExplainJob, ExplainSettings, PictureDone, run_jobs
from torchattr.runs.inspection_jobs import ActivationsJob, BackProjectionsJob, LayerGridsJob


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 3),
    ).eval()  # fmt: skip
    return LoadedModel("m", model, ToTensor())


def looks(kind):
    made = network()
    every = {
        "explain": ExplainJob(made, ExplainSettings(("saliency", "grad_cam"), ("0",))),
        "activations": ActivationsJob(made),
        "backproject": BackProjectionsJob(made, ("0",)),
        "layers": LayerGridsJob(made),
    }
    return [every[kind]]


def alive():
    """Count tensors, including those that only the collector would free, and other objects."""
    held = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
    # Python's own JSON and its lists of packages make small cycles, which hold none.
    gc.collect()
    return held, len(gc.get_objects())


def run(paths, kind, out):
    """Process pictures without the collector; return what is alive after every tenth."""
    gc.collect()
    gc.disable()
    try:
        with RunFolder(out) as folder:
            events = run_jobs(paths, looks(kind), folder)
            finished = enumerate(one for one in events if isinstance(one, PictureDone))
            # Every tenth only: counting tensors walks over all objects.
            return [alive() for number, _ in finished if number % 10 == 0]
    finally:
        gc.enable()


@pytest.fixture
def pictures(tmp_path):
    def make(count):
        for number in range(count):
            Image.new("RGB", (8, 8), (number % 256, 9, 9)).save(tmp_path / f"{number}.png")
        return [tmp_path / f"{number}.png" for number in range(count)]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["explain", "activations", "backproject", "layers"])
def test_memory_is_flat_over_many_pictures(pictures, tmp_path, kind):
    held = run(pictures(500 if kind == "explain" else 41), kind, tmp_path / "out")
    (tensors_before, before), (tensors_after, after) = held[1], held[-1]
    assert tensors_after <= tensors_before
    # Only the manifest grows, by one entry per picture.
    assert after - before < 20 * 10 * len(held)
