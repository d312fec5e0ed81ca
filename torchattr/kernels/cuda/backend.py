"""The CUDA backend: each kernel is one pass over memory, compiled at its first call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.kernels.api import Backend, Request
from torchattr.kernels.cuda.driver import DriverLauncher
from torchattr.kernels.cuda.launch import Argument, Kernel, Launcher, divisor
from torchattr.kernels.cuda.pools import (
    TYPES,
    has_channels_last,
    index_bits,
    is_aligned,
    pool_call,
    unpool_call,
    vector_of,
)
from torchattr.kernels.gates import Gate, Gating, clamps, reads_mask
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
from torchattr.kernels.pointers import run_of
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
        return self._rectify(in_order(output, order), None, order, output.shape, upper)

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
        dims = len(window.extent)
        shape = pooled_shape(tuple(x.shape), window)
        batched = x if x.dim() == dims + 2 else x.unsqueeze(0)
        sizes = shape if x.dim() == dims + 2 else (1, *shape)
        output = _blank(batched, sizes, has_channels_last(batched, dims))
        switches = torch.empty_like(output, dtype=window.switch_dtype)
        if output.numel():
            self._launch(x, *pool_call(self._launcher, batched, output, switches, window))
        return output.view(shape), switches.view(shape)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return self._unpooled(grad, switches, input_shape, window, ())

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
        gates: Sequence[str],
    ) -> Tensor:
        dims, shape = len(window.extent), tuple(input_shape)
        if len(shape) == dims + 1:
            batch = self._unpooled(grad[None], switches[None], (1, *shape), window, gates)
            return batch[0]
        last = has_channels_last(switches, dims)
        result = _blank(grad, shape, last)
        if result.numel():
            grad, switches = _in_layout(grad, last), _in_layout(switches, last)
            call = unpool_call(self._launcher, grad, switches, result, last, window, gates)
            self._launch(grad, *call)
        return result

    def _rectified(
        self,
        x: Tensor,
        upper: float | None,
        overwrite: bool,
        affine: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor]:
        order = order_of(x)
        source, output = prepare_buffers(x, order, overwrite)
        runs = in_order(source, order), in_order(output, order)
        mask = self._rectify(*runs, order, x.shape, upper, affine)
        return (_overwritten(x, output) if overwrite else output), mask

    def _rectify(
        self,
        run: Tensor,
        output: Tensor | None,
        order: Order,
        shape: Sequence[int],
        upper: float | None,
        affine: Sequence[Tensor] = (),
    ) -> Tensor:
        """Launch the kernel over a run of memory and return the mask."""
        mask = run.new_empty(mask_bytes(len(run)), dtype=torch.uint8)
        defines = ["BOUNDED"] if upper is not None else []
        defines += ["STORES"] if output is not None else []
        kernel, channels = _over_run("rectify", run, output, order, shape, affine, defines)
        scale, shift = affine or (None, None)
        bound = 0.0 if upper is None else float(upper)
        arguments = (run, output, mask, len(run), bound, scale, shift, channels)
        self._launch(run, kernel, _threads(run), arguments)
        return mask

    def _gated(
        self, grad: Tensor, gating: Gating, overwrite: bool, scale: Tensor | None = None
    ) -> Tensor:
        order, affine = gating.order, [] if scale is None else [scale]
        grad, result = prepare_buffers(grad, order, overwrite)
        run, target = in_order(grad, order), in_order(result, order)
        defines = _gates(gating.mask is not None, gating.clamps)
        kernel, channels = _over_run("gate", run, target, order, grad.shape, affine, defines)
        arguments = (run, target, gating.mask, len(run), scale, channels)
        self._launch(run, kernel, _threads(run), arguments)
        return result

    def _launch(
        self, at: Tensor, kernel: Kernel, threads: int, arguments: Sequence[Argument]
    ) -> None:
        if threads:
            self._launcher.launch(kernel, at.device, threads, arguments)


def _threads(run: Tensor) -> int:
    """Return the number of threads for a run: one warp a tile, two vectors a thread."""
    tile = 2 * 32 * vector_of(run.dtype)
    return -(-len(run) // tile) * 32


def _over_run(
    name: str,
    run: Tensor,
    output: Tensor | None,
    order: Order,
    shape: Sequence[int],
    affine: Sequence[Tensor],
    defines: Sequence[str],
) -> tuple[Kernel, tuple[int, ...]]:
    """Return the variant of a kernel over a run of memory, and its channel argument."""
    step, count = 1, 1
    element = "BOOL" if run.dtype == torch.bool else TYPES[run.dtype]
    macros = [element, index_bits(len(run)), *defines]
    if is_aligned(run, *([] if output is None else [output])):
        macros.append("ALIGNED")
    if affine and len(run):
        step, count = channel_step(shape, order), shape[1]
        macros += ["AFFINE", *_channel_layout(step, count, vector_of(run.dtype), affine)]
    return Kernel(name, tuple(macros)), (*divisor(step), *divisor(count))


def _channel_layout(step: int, count: int, vector: int, affine: Sequence[Tensor]) -> list[str]:
    if step % vector == 0:
        return ["ONE_CHANNEL"]
    if step == 1 and count % vector == 0 and is_aligned(*affine):
        return ["ADJACENT_CHANNELS"]
    return []


def _gates(masked: bool, clamped: bool) -> list[str]:
    return [*(["MASKED"] if masked else []), *(["POSITIVE"] if clamped else [])]


def _vector(values: Tensor) -> Tensor:
    return run_of(values, torch.float32)


def _overwritten(x: Tensor, result: Tensor) -> Tensor:
    """Return the overwritten `x`, with its version raised for autograd."""
    if result is not x:
        return x.copy_(result)
    if not x.is_inference():
        torch.autograd.graph.increment_version(x)
    return x


def _blank(like: Tensor, shape: Sequence[int], last: bool) -> Tensor:
    """Allocate a result, with channels last or contiguous."""
    if not last:
        return like.new_empty(shape)
    return like.new_empty((shape[0], *shape[2:], shape[1])).movedim(-1, 1)


def _in_layout(tensor: Tensor, last: bool) -> Tensor:
    """Return a tensor with channels last or contiguous; copies only if needed."""
    if not last:
        return tensor.contiguous()
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)
