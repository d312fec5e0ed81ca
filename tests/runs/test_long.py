"""Long runs hold no more at their end than at their beginning."""

import gc
import tracemalloc

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import ToTensor

from torchattr.models import LoadedModel
from torchattr.runs import Explaining, Finished, RunFolder, Settings, look_at_pictures
from torchattr.runs.looks import Activations, BackProjections, LayerGrids


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
        "explain": Explaining(made, Settings(("saliency", "grad_cam", "guided_backprop"))),
        "activations": Activations(made),
        "backproject": BackProjections(made, ("0",)),
        "layers": LayerGrids(made),
    }
    return [every[kind]]


def tensors():
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


def run(paths, kind, out):
    """Look at pictures without the collector; give tensors and bytes held after each tenth."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with RunFolder(out) as folder:
            events = look_at_pictures(paths, looks(kind), folder)
            finished = enumerate(one for one in events if isinstance(one, Finished))
            # A step of ten: to count tensors is to walk over all objects.
            return [
                (tensors(), tracemalloc.get_traced_memory()[0])
                for number, _ in finished
                if number % 10 == 0
            ]
    finally:
        tracemalloc.stop()
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
    held = run(pictures(500 if kind == "explain" else 60), kind, tmp_path / "out")
    (tensors_before, bytes_before), (tensors_after, bytes_after) = held[1], held[-1]
    assert tensors_after <= tensors_before
    # The manifest says a few kilobytes of each picture; a picture's results are far more.
    assert bytes_after - bytes_before < 12_000 * 10 * len(held)
