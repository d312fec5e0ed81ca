"""The Triton backend: one kernel and one pass over memory for each operation.

Triton itself is not imported here, but with the kernels at the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.kernels.api import Backend, PatchOperations, Request
from torchattr.kernels.gates import Gate, Gating, clamps, reads_mask
from torchattr.kernels.layout import (
    Order,
    Window,
    channel_step,
    in_order,
    mask_bytes,
    order_of,
    prepare_buffers,
)
from torchattr.kernels.pointers import checked_run, run_of
from torchattr.kernels.reference.backend import TorchBackend
from torchattr.kernels.triton.availability import interpreted, missing, unsuitable

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class TritonBackend(Backend):
    """Serves float32, bfloat16 and float16 on GPUs, and on CPUs in Triton's interpreter.

    The interpreter, enabled by `TRITON_INTERPRET=1`, runs the kernels in NumPy. It is for tests and
    far too slow for anything else, so this backend is then available only when requested by name.
    """

    name: ClassVar[str] = "triton"

    def __init__(self) -> None:
        self._reference = TorchBackend()

    def refusals(self, request: Request) -> list[str]:
        reasons = [*missing(), *unsuitable(request.device)]
        if request.dtype not in DTYPES:
            served = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            reasons.append(f"it serves {served}, not {str(request.dtype).removeprefix('torch.')}")
        return reasons

    def is_offered(self, request: Request) -> bool:
        # Untested on AMD GPUs, so available there only when requested by name.
        only_by_name = interpreted() or torch.version.hip is not None
        return not only_by_name and not self.refusals(request)

    @cached_property
    def patches(self) -> PatchOperations:
        from torchattr.kernels.triton.patches import TritonPatches

        return TritonPatches()

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        run = in_order(output, order)
        mask = _mask_for(run)
        if len(run):
            # A boolean tensor is its own mask.
            run = run.view(torch.uint8) if run.dtype == torch.bool else run
            _rectifier().rectify(run, None, mask, upper)
        return mask

    def relu(
        self, x: Tensor, upper: float | None = None, overwrite: bool = False
    ) -> tuple[Tensor, Tensor]:
        return _rectified(x, upper, overwrite)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        return _gated(grad, Gating.of(grad, mask, order, gate), overwrite)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return self._reference.pack_switches(indices, output, input_shape, window)

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        from torchattr.kernels.triton.max_pool import max_pool

        return max_pool(x, window)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return _unpooled(grad, switches, input_shape, window)

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
        flags = (reads_mask(gate), clamps(gate))
        return _unpooled(grad, switches, input_shape, window, *flags)

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
        return _gated(grad, Gating.of(grad, mask, order, gate), overwrite, scale)


def _rectifier() -> ModuleType:
    from torchattr.kernels.triton import rectifier

    return rectifier


def _mask_for(run: Tensor) -> Tensor:
    return run.new_empty(mask_bytes(run.numel()), dtype=torch.uint8)


@lru_cache(maxsize=1024)
def _step(shape: torch.Size, order: Order) -> int:
    return channel_step(shape, order)


def _period(shape: torch.Size, order: Order) -> int:
    """Return the number of elements after which the channels repeat."""
    return _step(shape, order) * shape[1]


def _rectified(
    x: Tensor,
    upper: float | None,
    overwrite: bool,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    order = order_of(x)
    source, output = prepare_buffers(x, order, overwrite)
    mask = _mask_for(source)
    if source.numel():
        normed = _channels(x.shape, order, scale, shift)
        _rectifier().rectify(source, output, mask, upper, normed)
    return (x.copy_(output) if overwrite and output is not x else output), mask


def _channels(
    shape: torch.Size, order: Order, scale: Tensor | None, shift: Tensor | None = None
) -> Any:
    """Return the per-channel values as a kernel takes them; `None` without `scale`."""
    if scale is None:
        return None
    single = [None if value is None else _numbers(value, shape[1]) for value in (scale, shift)]
    return _rectifier().Channels(_step(shape, order), *single)


def _numbers(values: Tensor, channels: int) -> Tensor:
    """Return a float32 number for each channel; copies only if needed."""
    plain = values.dtype == torch.float32 and values.is_contiguous() and not values.is_neg()
    return checked_run(values if plain else run_of(values, torch.float32), channels)


def _gated(grad: Tensor, gating: Gating, overwrite: bool, scale: Tensor | None = None) -> Tensor:
    grad, result = prepare_buffers(grad, gating.order, overwrite)
    if grad.numel():
        scaled = _channels(grad.shape, gating.order, scale)
        _rectifier().gate(grad, result, gating.mask, gating.clamps, scaled)
    return result


def _unpooled(
    grad: Tensor,
    switches: Tensor,
    input_shape: Sequence[int],
    window: Window,
    only_open: bool = False,
    clamped: bool = False,
) -> Tensor:
    from torchattr.kernels.triton.unpool import Settings, unpool

    shape = torch.Size(input_shape)
    return unpool(grad, switches, shape, window, Settings(only_open, clamped))
