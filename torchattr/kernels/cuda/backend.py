"""The CUDA backend: each kernel is one pass over memory, compiled at its first call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.kernels.api import Backend, Request
from torchattr.kernels.cuda.driver import DriverLauncher
from torchattr.kernels.cuda.launch import PLANS, Kernel, Launcher, LaunchPlan, Value, divisor
from torchattr.kernels.cuda.pools import (
    TYPES,
    index_bits,
    is_aligned,
    pool_plan,
    unpool_plan,
    vector_of,
)
from torchattr.kernels.gates import Gate, Gating, clamps, reads_mask
from torchattr.kernels.layout import (
    Order,
    Window,
    channel_step,
    channels_last,
    empty_in,
    in_order,
    layout_of,
    mask_bytes,
    prepare_buffers,
)
from torchattr.kernels.pointers import address, run_of, strided_address
from torchattr.kernels.reference.backend import TorchBackend


class CudaBackend(Backend):
    """Serves float32, bfloat16 and float16 on CUDA devices; its kernels are in `csrc`."""

    name: ClassVar[str] = "cuda"

    def __init__(self, launcher: Launcher | None = None) -> None:
        self._launcher = launcher or DriverLauncher()
        self._reference = TorchBackend()

    def refusals(self, request: Request) -> list[str]:
        reasons = self._launcher.refusals(request.device)
        if request.dtype not in TYPES:
            reasons.append(f"it serves float32, bfloat16 and float16, not {request.dtype}")
        return reasons

    def is_offered(self, request: Request) -> bool:
        # Checked first: a machine without a GPU is not searched for CUDA libraries.
        return request.device.type == "cuda" and not self.refusals(request)

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        return self._rectify(in_order(output, order), None, output.shape, order, upper)

    def relu(
        self, x: Tensor, upper: float | None = None, overwrite: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self._rectified(x, upper, overwrite)

    def batch_norm_relu(
        self,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        upper: float | None = None,
        overwrite: bool = False,
    ) -> tuple[Tensor, Tensor]:
        return self._rectified(x, upper, overwrite, (_vector(scale), _vector(shift)))

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        return self._gated(grad, Gating.of(grad, mask, order, gate), overwrite)

    def batch_norm_relu_backward(
        self,
        grad: Tensor,
        mask: Tensor | None,
        scale: Tensor,
        order: Order,
        gate: Gate,
        overwrite: bool = False,
    ) -> Tensor:
        gating = Gating.of(grad, mask, order, gate)
        return self._gated(grad, gating, overwrite, _vector(scale))

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return self._reference.pack_switches(indices, output, input_shape, window)

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        if x.dim() == len(window.extent) + 1:
            values, switches = self.max_pool(x[None], window)
            return values[0], switches[0]
        x = x.resolve_neg()
        plan, sizes, strides = pool_plan(
            self._launcher, x.shape, x.stride(), x.dtype, is_aligned(x), window
        )
        output = torch.empty_strided(sizes, strides, dtype=x.dtype, device=x.device)
        switches = torch.empty_like(output, dtype=window.switch_dtype)
        self._launch(
            plan, x.device, strided_address(x, x.device), output.data_ptr(), switches.data_ptr()
        )
        return output, switches

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return self._unpooled(grad, switches, input_shape, window, _gates(False, False))

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
        gates = _gates(reads_mask(gate), clamps(gate))
        return self._unpooled(grad, switches, input_shape, window, gates)

    def _unpooled(
        self,
        grad: Tensor,
        switches: Tensor,
        input_shape: Sequence[int],
        window: Window,
        gates: tuple[str, ...],
    ) -> Tensor:
        dims, shape = len(window.extent), tuple(input_shape)
        if len(shape) == dims + 1:
            batch = self._unpooled(grad[None], switches[None], (1, *shape), window, gates)
            return batch[0]
        last = layout_of(switches.shape, switches.stride()).order == channels_last(dims + 2)
        grad, switches = _in_layout(grad, last), _in_layout(switches, last)
        result = empty_in(channels_last(dims + 2), shape, grad) if last else grad.new_empty(shape)
        aligned = is_aligned(grad, switches)
        plan = unpool_plan(
            self._launcher, grad.shape, shape, grad.dtype, last, aligned, window, gates
        )
        addresses = (
            _address(grad, grad.device, grad.dtype, grad.numel()),
            _address(switches, grad.device, window.switch_dtype, grad.numel()),
        )
        self._launch(plan, grad.device, *addresses, result.data_ptr())
        return result

    def _rectified(
        self, x: Tensor, upper: float | None, overwrite: bool, affine: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        order = layout_of(x.shape, x.stride()).order
        source, output = _buffers(x, order, overwrite)
        mask = self._rectify(source, output, x.shape, order, upper, affine)
        return (_overwritten(x, output) if overwrite else output), mask

    def _rectify(
        self,
        source: Tensor,
        output: Tensor | None,
        shape: Sequence[int],
        order: Order,
        upper: float | None,
        affine: Sequence[Tensor] = (),
    ) -> Tensor:
        """Launch the kernel over memory without gaps and return the mask."""
        count, device = source.numel(), source.device
        mask = source.new_empty(mask_bytes(count), dtype=torch.uint8)
        flags = _RECTIFIES[output is not None, upper is not None]
        aligned = is_aligned(source) if output is None else is_aligned(source, output)
        plan = run_plan(
            "rectify", 5, source.dtype, shape, order, flags, aligned,
            is_aligned(*affine) if affine else None, 0.0 if upper is None else float(upper),
        )  # fmt: skip
        factors = [_address(one, device, torch.float32, shape[1]) for one in affine]
        self._launch(
            plan,
            device,
            _address(source, device, source.dtype, count),
            None if output is None else output.data_ptr(),
            mask.data_ptr(),
            *(factors or (None, None)),
        )
        return mask

    def _gated(
        self, grad: Tensor, gating: Gating, overwrite: bool, scale: Tensor | None = None
    ) -> Tensor:
        order, mask, device = gating.order, gating.mask, grad.device
        grad, result = _buffers(grad, order, overwrite)
        count = grad.numel()
        plan = run_plan(
            "gate", 4, grad.dtype, grad.shape, order, _gates(mask is not None, gating.clamps),
            is_aligned(grad, result), None if scale is None else is_aligned(scale),
        )  # fmt: skip
        self._launch(
            plan,
            device,
            _address(grad, device, grad.dtype, count),
            result.data_ptr(),
            None if mask is None else _address(mask, device, torch.uint8, mask_bytes(count)),
            None if scale is None else _address(scale, device, torch.float32, grad.shape[1]),
        )
        return result

    def _launch(self, plan: LaunchPlan, device: torch.device, *addresses: int | None) -> None:
        if plan.threads:
            self._launcher.launch(plan, device, addresses)


@lru_cache(maxsize=PLANS)
def run_plan(
    name: str,
    pointers: int,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    order: Order,
    flags: tuple[str, ...],
    aligned: bool,
    aligned_factors: bool | None,
    *bounds: float,
) -> LaunchPlan:
    """Return the plan of a kernel over a run of memory, which takes a warp for each tile.

    Args:
        aligned: whether the run lies at a multiple of 16 bytes.
        aligned_factors: the same of the factors of each channel, if there are any.
        bounds: values between the number of elements and the channels.
    """
    count, vector = prod(shape), 16 if dtype == torch.bool else vector_of(dtype)
    step = channels = 1
    macros = ["BOOL" if dtype == torch.bool else TYPES[dtype], index_bits(count), *flags]
    macros += ["ALIGNED"] if aligned else []
    if aligned_factors is not None and count:
        step, channels = channel_step(shape, order), shape[1]
        macros += ["AFFINE", *_channel_layout(step, channels, vector, aligned_factors)]
    values: list[Value] = [count, *bounds, (*divisor(step), *divisor(channels))]
    # A lane takes two vectors.
    threads = -(-count // (2 * 32 * vector)) * 32
    return LaunchPlan(Kernel(name, tuple(macros)), threads, pointers, *values)


def _channel_layout(step: int, count: int, vector: int, aligned: bool) -> list[str]:
    if step % vector == 0:
        return ["ONE_CHANNEL"]
    if step == 1 and count % vector == 0 and aligned:
        return ["ADJACENT_CHANNELS"]
    return []


_RECTIFIES = {
    (stores, bounded): ("BOUNDED",) * bounded + ("STORES",) * stores
    for stores in (False, True)
    for bounded in (False, True)
}
_GATES = {
    (masked, clamped): ("MASKED",) * masked + ("POSITIVE",) * clamped
    for masked in (False, True)
    for clamped in (False, True)
}


def _gates(masked: bool, clamped: bool) -> tuple[str, ...]:
    return _GATES[masked, clamped]


def _vector(values: Tensor) -> Tensor:
    is_run = values.is_contiguous() and not values.is_neg()
    return values if is_run and values.dtype == torch.float32 else run_of(values, torch.float32)


def _buffers(tensor: Tensor, order: Order, overwrite: bool) -> tuple[Tensor, Tensor]:
    """Return what :func:`prepare_buffers` does, faster where nothing is to be copied."""
    layout = layout_of(tensor.shape, tensor.stride())
    if layout.is_run and layout.order == order and not tensor.is_neg():
        return tensor, tensor if overwrite else torch.empty_like(tensor)
    return prepare_buffers(tensor, order, overwrite)


def _address(tensor: Tensor, device: torch.device, dtype: torch.dtype, elements: int) -> int:
    return address(tensor, dtype, elements, device=device, any_order=True)


def _overwritten(x: Tensor, result: Tensor) -> Tensor:
    """Return the overwritten `x`, with its version raised for autograd."""
    if result is not x:
        return x.copy_(result)
    if not x.is_inference():
        torch.autograd.graph.increment_version(x)
    return x


def _in_layout(tensor: Tensor, last: bool) -> Tensor:
    """Return a tensor with channels last or contiguous; copies only if needed."""
    if not last:
        return tensor.contiguous()
    order, layout = channels_last(tensor.dim()), layout_of(tensor.shape, tensor.stride())
    if layout.is_run and layout.order == order:
        return tensor
    return empty_in(order, tensor.shape, tensor).copy_(tensor)
