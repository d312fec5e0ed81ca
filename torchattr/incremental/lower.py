"""Lower a call on the tape to operators on changed pixels, where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from torchattr.incremental.arguments import fill, tensors_in
from torchattr.incremental.function_sets import (
    AVERAGING,
    PADDING,
    POINTWISE,
    REARRANGING,
    RESIZING,
    CannotLower,
    name_of,
    single_output,
)
from torchattr.incremental.grid import Grid, Grids
from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.operators.pixelwise import ChannelGate, Pointwise
from torchattr.incremental.operators.rearrange import lower_channel_gather, lower_pixel_gather
from torchattr.incremental.operators.windows import Convolved, Pooled
from torchattr.incremental.tape import Tape, TapeEntry, TapeValue, writes_elsewhere
from torchattr.kernels import Convolution, Pooling
from torchattr.layers import Call, parse_call


def lower_entry(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Lower a call to one operator for each of its outputs.

    Args:
        entry: the call.
        tape: the tape that it is on.
        grids: those of all values that are computed incrementally.

    Raises:
        CannotLower: the call is unknown, or mixes pixels in an unsupported way.
    """
    unknown = [index for index in entry.inputs if index not in grids]
    if unknown:
        raise CannotLower("its input was computed densely")
    if not entry.outputs or len(set(entry.outputs)) != len(entry.outputs):
        raise CannotLower(f"{name_of(entry.function)} returns no tensor")
    if not tape.opaque.isdisjoint(entry.outputs):
        raise CannotLower(f"{name_of(entry.function)} returns no plain tensor")
    if not tape.lost.isdisjoint(entry.outputs):
        raise CannotLower(f"a part of the result of {name_of(entry.function)} is overwritten")
    if writes_elsewhere(entry):
        raise CannotLower(f"{name_of(entry.function)} overwrites a constant")
    if any(tape.values[i].dtype != tape.values[entry.inputs[0]].dtype for i in entry.outputs):
        raise CannotLower(f"{name_of(entry.function)} changes the dtype of its input")
    operators = _lower_operation(entry, tape, grids) or _lower_function(entry, tape, grids)
    if operators is None:
        raise CannotLower(f"{name_of(entry.function)} is not known to keep pixels apart")
    return operators


def _lower_operation(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator] | None:
    """Lower a call of an operation in the table of `torchattr.layers`."""
    # Parsing a call needs only the shapes of its values.
    blank = {index: _blank(tape.values[index]) for index in entry.inputs}
    args = fill(entry.args, blank.__getitem__)
    parsed = parse_call(entry.function, args, fill(entry.kwargs, blank.__getitem__))
    if parsed is None:
        return None
    call, inputs = parsed
    lowering = _LOWERINGS.get(call.operation.name)
    if lowering is None:
        return None
    blanks = {id(tensor): index for index, tensor in blank.items()}
    taken = [blanks.get(id(tensor)) for tensor in inputs]
    if None in taken and set(taken) == {None, *entry.inputs}:
        return None
    if set(taken) != set(entry.inputs):
        raise CannotLower(f"the arguments of {call.operation.name} depend on the input")
    return lowering(call, entry, tape, grids)


def _blank(value: TapeValue) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device="meta")


def _lower_function(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator] | None:
    if entry.function in POINTWISE:
        return _alike(None, entry, tape, grids)
    if entry.function in AVERAGING:
        return _global_mean(entry, tape, grids)
    if entry.function in PADDING | RESIZING and len(entry.inputs) == 1:
        return lower_pixel_gather(entry, tape, grids)
    if entry.function in REARRANGING and len(entry.inputs) == 1:
        return lower_channel_gather(entry, tape, grids)
    return None


def _pointwise(call: Call | None, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    (output,) = single_output(entry.outputs, entry)
    shape = tape.values[output].shape
    whole = [grids[index] for index in entry.inputs if grids[index].pixels > 1]
    grid = whole[0] if whole else grids[entry.inputs[0]]
    if any(other.spatial != grid.spatial for other in map(grids.__getitem__, entry.inputs)):
        raise CannotLower(f"{name_of(entry.function)} combines tensors of different layout")
    out = Grid(tuple(shape), grid.spatial)
    if (out.height, out.width) != (grid.height, grid.width) or shape[0] != grid.shape[0]:
        raise CannotLower(f"{name_of(entry.function)} broadcasts over pixels")
    inputs = tuple(dict.fromkeys(entry.inputs))
    alike = [(grids[i].height, grids[i].width) == (out.height, out.width) for i in inputs]
    if all(alike):
        return [Pointwise(inputs, output, out, entry, call)]
    single = alike.index(False)
    if len(inputs) == 2 and grids[inputs[single]].pixels == 1:
        return [ChannelGate(inputs, output, out, entry, single)]
    raise CannotLower(f"{name_of(entry.function)} combines images of different sizes")


def _alike(call: Call | None, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Lower a pointwise call whose constants are scalars or per channel."""
    (operator,) = _pointwise(call, entry, tape, grids)
    _require_uniform_constants(entry, operator.grid)
    return [operator]


def _dropout(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    if "dropout" not in name_of(entry.function):
        raise CannotLower(f"{name_of(entry.function)} mixes pixels")
    return _pointwise(call, entry, tape, grids)


def _require_uniform_constants(entry: TapeEntry, grid: Grid) -> None:
    """Check that the constants of a call are the same for all pixels."""
    dims = len(grid.shape)
    for tensor in tensors_in((entry.args, entry.kwargs)):
        sizes = (1,) * (dims - tensor.dim()) + tuple(tensor.shape)
        if len(sizes) != dims or any(sizes[dim] != 1 for dim in (0, *grid.spatial)):
            raise CannotLower(
                f"{name_of(entry.function)} adds or multiplies by a constant that differs by pixel"
            )


def _cat(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    first = grids[entry.inputs[0]]
    dim = call.dim % len(first.shape)
    if dim in (0, *first.spatial):
        raise CannotLower("cat joins images along rows, columns or the batch")
    return _pointwise(call, entry, tape, grids)


def _batch_norm(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    if 1 in grids[entry.inputs[0]].spatial:
        raise CannotLower("batch_norm normalises each row of pixels separately")
    return _pointwise(call, entry, tape, grids)


def _layer_norm(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    grid = grids[entry.inputs[0]]
    first = len(grid.shape) - len(call.normalized_shape)
    if any(dim >= first for dim in grid.spatial):
        raise CannotLower("layer_norm normalises over pixels")
    return _pointwise(call, entry, tape, grids)


def _linear(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    grid = grids[entry.inputs[0]]
    if len(grid.shape) - 1 in grid.spatial or len(call.weight.shape) != 2:
        raise CannotLower("linear mixes pixels")
    if grid.channels != call.weight.shape[1]:
        return _pointwise(call, entry, tape, grids)
    (output,) = single_output(entry.outputs, entry)
    bias = None if call.bias is None else call.bias.detach()
    conv = Convolution(call.weight.detach()[:, :, None, None], bias)
    out = Grid(tuple(tape.values[output].shape), grid.spatial)
    return [Convolved((entry.inputs[0],), output, out, conv)]


def _prelu(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    if 1 in grids[entry.inputs[0]].spatial and call.weight.numel() > 1:
        raise CannotLower("prelu has one slope per row of pixels")
    return _pointwise(call, entry, tape, grids)


def _convolved(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    grid, (output,) = grids[entry.inputs[0]], single_output(entry.outputs, entry)
    shape = tuple(tape.values[output].shape)
    if call.transposed or not grid.is_plain or call.weight.dim() != 4:
        raise CannotLower("only plain two-dimensional convolutions are lowered")
    padding = _padding(call)
    bias = None if call.bias is None else call.bias.detach()
    conv = Convolution(call.weight.detach(), bias, call.stride, padding, call.dilation, call.groups)
    return [Convolved((entry.inputs[0],), output, Grid(shape, (2, 3)), conv)]


def _padding(call: Call) -> tuple[int, int]:
    if call.padding == "valid":
        return 0, 0
    if call.padding == "same":
        spans = [d * (k - 1) for d, k in zip(call.dilation, call.weight.shape[2:], strict=True)]
        return spans[0] // 2, spans[1] // 2
    first, second = call.padding
    return first, second


def _max_pooled(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    return _pooled(entry, tape, grids, lambda grid: Pooling(
        True, call.kernel_size, call.stride, call.padding, call.dilation
    ))  # fmt: skip


def _averaged(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    return _pooled(entry, tape, grids, lambda grid: Pooling(
        False,
        call.kernel_size,
        call.stride,
        call.padding,
        counts_padding=call.count_include_pad,
        divisor=call.divisor_override,
    ))  # fmt: skip


def _adapted(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    (output,) = single_output(entry.outputs, entry)
    size = tuple(tape.values[output].shape[2:])

    def pooling(grid: Grid) -> Pooling:
        if len(size) != 2 or grid.height % size[0] or grid.width % size[1]:
            raise CannotLower("adaptive pooling has windows of different sizes")
        extent = grid.height // size[0], grid.width // size[1]
        return Pooling(call.operation.name == "adaptive_max_pool", extent, extent)

    return _pooled(entry, tape, grids, pooling)


def _global_mean(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Lower the mean over all pixels."""
    dims = entry.args[1] if len(entry.args) > 1 else entry.kwargs.get("dim")
    named = dims if isinstance(dims, (tuple, list)) else (dims,)
    grid, (output,) = grids[entry.inputs[0]], single_output(entry.outputs, entry)
    numbers = [dim % 4 for dim in named if isinstance(dim, int)]
    if sorted(numbers) != [2, 3] or len(numbers) != len(named) or not grid.is_plain:
        raise CannotLower("mean is not taken over exactly the pixels")
    shape, extent = tuple(tape.values[output].shape), (grid.height, grid.width)
    out = Grid(shape, (2, 3) if len(shape) == 4 else ())
    return [Pooled((entry.inputs[0],), output, out, Pooling(False, extent, extent))]


def _pooled(
    entry: TapeEntry, tape: Tape, grids: Grids, pooling: Callable[[Grid], Pooling]
) -> list[Operator]:
    grid, (output,) = grids[entry.inputs[0]], single_output(entry.outputs, entry)
    shape = tuple(tape.values[output].shape)
    if not grid.is_plain or len(shape) != 4:
        raise CannotLower("only two-dimensional pools are lowered")
    return [Pooled((entry.inputs[0],), output, Grid(shape, (2, 3)), pooling(grid))]


_LOWERINGS: Mapping[str, Callable[[Call, TapeEntry, Tape, Grids], list[Operator]]] = {
    **dict.fromkeys(
        (
            *("relu", "leaky_relu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish"),
            *("hardswish", "softplus", "add"),
        ),
        _alike,
    ),
    "dropout": _dropout,
    "prelu": _prelu,
    "cat": _cat,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "conv": _convolved,
    "max_pool": _max_pooled,
    "avg_pool": _averaged,
    "adaptive_avg_pool": _adapted,
    "adaptive_max_pool": _adapted,
}
