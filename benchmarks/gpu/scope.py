"""What is measured on a device, and how large it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from benchmarks.measure.machine import same_precision_for_all
from benchmarks.settings import NETWORKS
from benchmarks.tasks import GRADIENT_METHODS

PRECISIONS = ("float32", "tf32", "bfloat16")
"""`tf32` multiplies float32 in TF32; `bfloat16` is autocast."""
BACKENDS = ("triton", "cuda")
"""The backends with kernels for a GPU."""


@dataclass(frozen=True)
class Scope:
    """The networks, sizes and precisions of a run.

    Attributes:
        device: the device of models and images.
        size: the side of an image, in pixels.
        networks: the networks of the gradient methods.
        batches: their batches.
        precisions: their precisions.
        methods: the gradient methods.
        large: the network of the cells with a single one.
        middle: the batch at which several methods at once are measured.
        memory: the batch at which memory is measured.
        prepared: the batches and precisions of prepared models.
        windows: by network, the windows and strides of occlusion, in pixels.
        at_once: the numbers of perturbations in one forward that Captum may choose from.
        mebibytes: the size of a kernel's tensor.
        backends: the backends whose kernels are measured.
        memory_orders: the memory orders of the kernels' tensors.
    """

    device: torch.device
    size: int
    networks: tuple[str, ...]
    batches: tuple[int, ...]
    precisions: tuple[str, ...]
    methods: tuple[str, ...]
    large: str
    middle: int
    memory: int
    prepared: tuple[tuple[int, str], ...]
    windows: tuple[tuple[str, str], ...]
    at_once: tuple[int, ...]
    mebibytes: int
    backends: tuple[str, ...]
    memory_orders: tuple[str, ...]


WINDOWS = (
    *(("vgg16", "16/8"), ("resnet18", "16/8"), ("resnet50", "16/8")),
    *(("resnet18", "32/32"), ("vgg16", "64/27"), ("resnet50", "64/27")),
    *(("mobilenet_v2", "16/8"), ("googlenet", "16/8"), ("densenet121", "16/8")),
)


MEBIBYTES_OF_TINY = 1


def scope(device: torch.device) -> Scope:
    """Return the whole scope of a GPU, or a tiny one on a CPU, which shows that everything runs."""
    return whole(device) if device.type == "cuda" else tiny(device)


def whole(device: torch.device) -> Scope:
    return Scope(
        device,
        size=224,
        networks=("resnet50", *(name for name in NETWORKS if name != "resnet50")),
        batches=(1, 8, 64, 256, 16, 32),
        precisions=PRECISIONS,
        methods=GRADIENT_METHODS,
        large="resnet50",
        middle=32,
        memory=64,
        prepared=((1, "float32"), (8, "float32"), (64, "float32"), (64, "bfloat16")),
        windows=WINDOWS,
        at_once=(32, 64, 128, 256),
        mebibytes=256,
        backends=BACKENDS,
        memory_orders=("contiguous", "channels-last"),
    )


def tiny(device: torch.device) -> Scope:
    return Scope(
        device,
        size=48,
        networks=("resnet18",),
        batches=(1, 2),
        precisions=("float32", "bfloat16"),
        methods=GRADIENT_METHODS,
        large="resnet18",
        middle=2,
        memory=2,
        prepared=((1, "float32"), (2, "bfloat16")),
        windows=(("resnet18", "24/24"),),
        at_once=(2, 4),
        mebibytes=MEBIBYTES_OF_TINY,
        backends=("torch",),
        memory_orders=("contiguous", "channels-last"),
    )


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Run float32 models in a precision."""
    same_precision_for_all(name == "tf32")
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16"):
            yield
    finally:
        same_precision_for_all(False)
