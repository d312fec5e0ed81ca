"""The Triton backend: one kernel and one pass over memory for each operation.

Nothing of Triton is imported here. The kernels are, when the first call comes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.kernels.api import Backend, Gate, Request
from torchattr.kernels.layout import (
    Order,
    Window,
    channel_step,
    in_order,
    mask_bytes,
    order_of,
    pooled_shape,
    prepare_buffers,
)
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.pointers import checked_run, run_of
from torchattr.kernels.reference.backend import TorchBackend

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

OLDEST = (3, 5)
"""The oldest Triton that the kernels have been compiled with."""

CAPABILITY = (8, 0)
"""The least compute capability that Triton's documentation lists."""


class TritonBackend(Backend):
    """Serves float32, bfloat16 and float16 on GPUs, and on CPUs in Triton's interpreter.

    The interpreter, which `TRITON_INTERPRET=1` asks for, runs the kernels in NumPy. It is there to
    test them and far too slow for all else, so this backend is then only taken by its name.
    """

    name: ClassVar[str] = "triton"

    def __init__(self) -> None:
        self._reference = TorchBackend()

    def refusals(self, request: Request) -> list[str]:
        reasons = [*_missing(), *_unfit(request.device)]
        if request.dtype not in DTYPES:
            served = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            reasons.append(f"it serves {served}, not {str(request.dtype).removeprefix('torch.')}")
        return reasons

    def is_offered(self, request: Request) -> bool:
        # On AMD GPUs it has never run, so it is there only for who asks for it.
        unknown = interpreted() or torch.version.hip is not None
        return not unknown and not self.refusals(request)

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        run = in_order(output, order)
        mask = _mask_for(run)
        if len(run):
            # A boolean tensor is its own mask.
            run = run.view(torch.uint8) if run.dtype == torch.bool else run
            with torch.cuda.device_of(run):
                _rectifier().rectify(run, None, mask, upper)
        return mask

    def relu(
        self, x: Tensor, upper: float | None = None, overwrite: bool = False
    ) -> tuple[Tensor, Tensor]:
        return _rectified(x, upper, overwrite)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        return _gated(grad, mask, order, gate, overwrite)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return self._reference.pack_switches(indices, output, input_shape, window)

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        pooling = _pooling()
        dims = len(window.extent)
        shape = pooled_shape(tuple(x.shape), window)
        volume = pooling.as_volume(x, dims)
        whole = pooling.volume_shape(shape, dims)
        last = pooling.is_channels_last(volume)
        values = pooling.blank_volume(x, whole, last, x.dtype)
        switches = pooling.blank_volume(x, whole, last, window.switch_dtype)
        if values.numel():
            with torch.cuda.device_of(x):
                pooling.max_pool(volume, values, switches, window)
        return values.view(shape), switches.view(shape)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return _unpooled(grad, switches, input_shape, window, False, False)

    def unpool_gated(
        self,
        grad: Tensor,
        switches: Tensor,
        input_shape: Sequence[int],
        window: Window,
        gate: Gate,
    ) -> Tensor:
        if not window.tells_open:
            return super().unpool_gated(grad, switches, input_shape, window, gate)
        only_open, signed = gate != "deconvolution", gate != "gradient"
        return _unpooled(grad, switches, input_shape, window, only_open, signed)

    def batch_norm_relu(
        self,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        upper: float | None = None,
        overwrite: bool = False,
    ) -> tuple[Tensor, Tensor]:
        if not _rectifier().serves(x.numel(), _period(x.shape, order_of(x))):
            return super().batch_norm_relu(x, scale, shift, upper, overwrite)
        return _rectified(x, upper, overwrite, scale, shift)

    def batch_norm_relu_backward(
        self,
        grad: Tensor,
        mask: Tensor | None,
        scale: Tensor,
        order: Order,
        gate: Gate,
        overwrite: bool = False,
    ) -> Tensor:
        if not _rectifier().serves(grad.numel(), _period(grad.shape, order)):
            return super().batch_norm_relu_backward(grad, mask, scale, order, gate, overwrite)
        return _gated(grad, mask, order, gate, overwrite, scale)

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        if boxes == x.boxes:
            return x.changed
        rows: Tensor = _patches().gather(x, boxes)
        return rows

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue) -> Tensor:
        rows: Tensor = _convolving().convolve(x, boxes, conv.scaled, after)
        return rows

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        rows: Tensor = _patches().pool(x, boxes, pooling)
        return rows


def interpreted() -> bool:
    """Tell whether Triton's interpreter is asked for, in the words that Triton knows."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "y", "yes", "t", "true", "on")


@cache
def _missing() -> tuple[str, ...]:
    oldest = ".".join(map(str, OLDEST))
    way_out = f'run: pip install "triton>={oldest}"'
    try:
        found = version("triton")
    except PackageNotFoundError:
        return (f"Triton is not installed ({way_out})",)
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        return (f"Triton {found} is older than {oldest} ({way_out})",)
    return ()


def _unfit(device: torch.device) -> list[str]:
    """Give what keeps the device from running the kernels."""
    if interpreted() and device.type in ("cpu", "cuda"):
        return []
    if device.type != "cuda":
        where = "; TRITON_INTERPRET=1 runs it on the CPU, for tests" if device.type == "cpu" else ""
        return [f"it needs a CUDA device, not {device}{where}"]
    if not torch.cuda.is_available():
        return ["PyTorch finds no CUDA device"]
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < CAPABILITY:
        has, least = (
            ".".join(map(str, pair))
            for pair in (torch.cuda.get_device_capability(device), CAPABILITY)
        )
        return [f"{device} has compute capability {has}, Triton needs {least}"]
    return []


def _rectifier() -> ModuleType:
    from torchattr.kernels.triton.kernels import rectifier

    return rectifier


def _pooling() -> ModuleType:
    from torchattr.kernels.triton.kernels import pool_launch as pooling

    return pooling


def _patches() -> ModuleType:
    from torchattr.kernels.triton.kernels import patches

    return patches


def _convolving() -> ModuleType:
    from torchattr.kernels.triton.kernels import convolution_launch as convolving

    return convolving


def _mask_for(run: Tensor) -> Tensor:
    return run.new_empty(mask_bytes(run.numel()), dtype=torch.uint8)


def _period(shape: Sequence[int], order: Order) -> int:
    """Give after how many elements the channels begin again."""
    return channel_step(shape, order) * shape[1]


def _rectified(
    x: Tensor,
    upper: float | None,
    overwrite: bool,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    order = order_of(x)
    source, output = prepare_buffers(x, order, overwrite)
    run = in_order(source, order)
    mask = _mask_for(run)
    if len(run):
        normed = _channels(x.shape, order, scale, shift)
        with torch.cuda.device_of(x):
            _rectifier().rectify(run, in_order(output, order), mask, upper, normed)
    return (x.copy_(output) if overwrite and output is not x else output), mask


def _channels(
    shape: Sequence[int], order: Order, scale: Tensor | None, shift: Tensor | None = None
) -> Any:
    """Give how a kernel finds the values of an element's channel; nothing without `scale`."""
    if scale is None:
        return None
    single = [
        None if value is None else checked_run(run_of(value, torch.float32), shape[1])
        for value in (scale, shift)
    ]
    return _rectifier().Channels(channel_step(shape, order), *single)


def _gated(
    grad: Tensor,
    mask: Tensor | None,
    order: Order,
    gate: Gate,
    overwrite: bool,
    scale: Tensor | None = None,
) -> Tensor:
    if mask is None or gate == "deconvolution":
        # Without a mask, no other tensor prescribes an order.
        mask, order = None, order_of(grad)
    grad, result = prepare_buffers(grad, order, overwrite)
    run = in_order(grad, order)
    if len(run):
        scaled = _channels(grad.shape, order, scale)
        signed = mask is None or gate == "guided"
        with torch.cuda.device_of(grad):
            _rectifier().gate(run, in_order(result, order), mask, signed, scaled)
    return result


def _unpooled(
    grad: Tensor,
    switches: Tensor,
    input_shape: Sequence[int],
    window: Window,
    only_open: bool,
    signed: bool,
) -> Tensor:
    pooling = _pooling()
    dims = len(window.extent)
    grad, switches = pooling.as_volume(grad, dims), pooling.as_volume(switches, dims)
    last = pooling.is_channels_last(switches)
    whole = pooling.volume_shape(tuple(input_shape), dims)
    result = pooling.blank_volume(grad, whole, last, grad.dtype)
    if result.numel():
        with torch.cuda.device_of(grad):
            pooling.unpool(grad, switches, result, window, only_open, signed)
    return result.view(tuple(input_shape))
