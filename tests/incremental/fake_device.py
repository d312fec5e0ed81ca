"""A device with a clock of its own, on which launches and work take the time that a test says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr.kernels import Boxes, Convolution, Epilogue, Patches, PatchOperations, Pooling
from torchattr.kernels.reference.patches import TorchPatches

CONVOLUTIONS = (F.conv2d, torch.conv2d)
DENSE_CALL = 1e-5


@dataclass
class FakeClock:
    """The time of the device, in seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class DenseCalls(TorchFunctionMode):
    """Moves the clock for every dense call: a launch, and the multiplications of a convolution."""

    def __init__(self, clock: FakeClock, rate: float) -> None:
        super().__init__()
        self._clock = clock
        self._rate = rate

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in CONVOLUTIONS:
            weight = args[1]
            work = result.numel() // len(weight) * weight.numel()
            self._clock.now += DENSE_CALL + work * self._rate
        return result


class FakePatches(PatchOperations):
    """The reference, at a cost.

    Args:
        clock: the clock that it moves.
        launch: seconds of each launch.
        rate: seconds of each multiply-add.
    """

    name = "fake"

    def __init__(self, clock: FakeClock, launch: float, rate: float) -> None:
        self._clock = clock
        self._launch = launch
        self._rate = rate
        self._reference = TorchPatches()
        self.launches = 0

    def _spend(self, work: int = 0) -> None:
        self.launches += 1
        self._clock.now += self._launch + work * self._rate

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        if boxes != x.boxes:
            self._spend()
        return self._reference.gather(x, boxes)

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        self._spend(boxes.rows * prod(conv.weight.shape))
        return self._reference.convolve(x, boxes, conv, epilogue)

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        self._spend()
        return self._reference.pool(x, boxes, pooling)
