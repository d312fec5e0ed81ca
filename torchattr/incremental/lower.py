"""Reading a call from the tape as an operator on changed pixels, where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from torchattr.incremental.function_sets import (
    AVERAGING,
    MOVING,
    PADDING,
    POINTWISE,
    RESIZING,
    Unreadable,
    name_of,
    only,
)
from torchattr.incremental.grids import Grid, Grids
from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.operators.pixelwise import Gated, Pointwise
from torchattr.incremental.operators.rearrange import moved, rearranged
from torchattr.incremental.operators.windows import Convolved, Pooled
from torchattr.incremental.tape import (
    Tape,
    TapeEntry,
    TapeValue,
    fill,
    tensors_in,
    writes_elsewhere,
)
from torchattr.kernels import Convolution, Pooling
from torchattr.layers import Call, parse_call


def lower(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Return what a call does to changed pixels, one operator for each of its outputs.

    Args:
        entry: the call.
        tape: where it stands.
        grids: of all values that changed pixels are known of.

    Raises:
        Unreadable: it is not known, or mixes pixels in ways that are not.
    """
    unknown = [index for index in entry.inputs if index not in grids]
    if unknown:
        raise Unreadable("it takes what was computed as a whole")
    if not entry.outputs or len(set(entry.outputs)) != len(entry.outputs):
        raise Unreadable(f"{name_of(entry.function)} gives no tensor")
    if not tape.opaque.isdisjoint(entry.outputs):
        raise Unreadable(f"{name_of(entry.function)} gives no plain tensor")
    if not tape.lost.isdisjoint(entry.outputs):
        raise Unreadable(f"a part of what {name_of(entry.function)} gives is written over")
    if writes_elsewhere(entry):
        raise Unreadable(f"{name_of(entry.function)} writes over a constant")
    if any(tape.values[i].dtype != tape.values[entry.inputs[0]].dtype for i in entry.outputs):
        raise Unreadable(f"{name_of(entry.function)} changes the type of its input")
    found = _read_table(entry, tape, grids) or _read_others(entry, tape, grids)
    if found is None:
        raise Unreadable(f"{name_of(entry.function)} is not known to keep pixels apart")
    return found


def _read_table(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator] | None:
    """Read a call of an operation that rules could be written for."""
    # An operation is found by its arguments; the values among them need only their shape.
    blank = {index: _blank(tape.values[index]) for index in entry.inputs}
    args = fill(entry.args, blank.__getitem__)
    understood = parse_call(entry.function, args, fill(entry.kwargs, blank.__getitem__))
    if understood is None:
        return None
    call, inputs = understood
    reader = _READERS.get(call.operation.name)
    if reader is None:
        return None
    blanks = {id(tensor): index for index, tensor in blank.items()}
    taken = [blanks.get(id(tensor)) for tensor in inputs]
    if None in taken and set(taken) == {None, *entry.inputs}:
        return None
    if set(taken) != set(entry.inputs):
        raise Unreadable(f"the arguments of {call.operation.name} depend on the input")
    return reader(call, entry, tape, grids)


def _blank(value: TapeValue) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device="meta")


def _read_others(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator] | None:
    if entry.function in POINTWISE:
        return _alike(None, entry, tape, grids)
    if entry.function in AVERAGING:
        return _averaged_whole(entry, tape, grids)
    if entry.function in PADDING | RESIZING and len(entry.inputs) == 1:
        return moved(entry, tape, grids)
    if entry.function in MOVING and len(entry.inputs) == 1:
        return rearranged(entry, tape, grids)
    return None


def _pointwise(call: Call | None, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    (output,) = only(entry.outputs, entry)
    shape = tape.values[output].shape
    whole = [grids[index] for index in entry.inputs if grids[index].pixels > 1]
    grid = whole[0] if whole else grids[entry.inputs[0]]
    if any(other.spatial != grid.spatial for other in map(grids.__getitem__, entry.inputs)):
        raise Unreadable(f"{name_of(entry.function)} joins tensors of different form")
    out = Grid(tuple(shape), grid.spatial)
    if (out.height, out.width) != (grid.height, grid.width) or shape[0] != grid.shape[0]:
        raise Unreadable(f"{name_of(entry.function)} broadcasts over pixels")
    inputs = tuple(dict.fromkeys(entry.inputs))
    alike = [(grids[i].height, grids[i].width) == (out.height, out.width) for i in inputs]
    if all(alike):
        return [Pointwise(inputs, output, out, entry, call)]
    single = alike.index(False)
    if len(inputs) == 2 and grids[inputs[single]].pixels == 1:
        return [Gated(inputs, output, out, entry, single)]
    raise Unreadable(f"{name_of(entry.function)} joins pictures of different sizes")


def _alike(call: Call | None, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Read a call whose constants, if it has any, are numbers or one for each channel."""
    (found,) = _pointwise(call, entry, tape, grids)
    _need_constants_alike(entry, found.grid)
    return [found]


def _dropout(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    if "dropout" not in name_of(entry.function):
        raise Unreadable(f"{name_of(entry.function)} mixes pixels")
    return _pointwise(call, entry, tape, grids)


def _need_constants_alike(entry: TapeEntry, grid: Grid) -> None:
    """Check that what a call joins with the picture is the same for all its pixels."""
    dims = len(grid.shape)
    for tensor in tensors_in((entry.args, entry.kwargs)):
        sizes = (1,) * (dims - tensor.dim()) + tuple(tensor.shape)
        if len(sizes) != dims or any(sizes[dim] != 1 for dim in (0, *grid.spatial)):
            raise Unreadable(f"{name_of(entry.function)} joins a constant that differs by pixel")


def _cat(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    first = grids[entry.inputs[0]]
    dim = call.dim % len(first.shape)
    if dim in (0, *first.spatial):
        raise Unreadable("cat puts pictures beside each other")
    return _pointwise(call, entry, tape, grids)


def _batch_norm(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    if 1 in grids[entry.inputs[0]].spatial:
        raise Unreadable("batch_norm has one mean for each row of pixels")
    return _pointwise(call, entry, tape, grids)


def _layer_norm(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    grid = grids[entry.inputs[0]]
    first = len(grid.shape) - len(call.normalized_shape)
    if any(dim >= first for dim in grid.spatial):
        raise Unreadable("layer_norm is taken over pixels")
    return _pointwise(call, entry, tape, grids)


def _linear(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    grid = grids[entry.inputs[0]]
    if len(grid.shape) - 1 in grid.spatial or len(call.weight.shape) != 2:
        raise Unreadable("linear mixes pixels")
    if grid.channels != call.weight.shape[1]:
        return _pointwise(call, entry, tape, grids)
    (output,) = only(entry.outputs, entry)
    bias = None if call.bias is None else call.bias.detach()
    conv = Convolution(call.weight.detach()[:, :, None, None], bias)
    out = Grid(tuple(tape.values[output].shape), grid.spatial)
    return [Convolved((entry.inputs[0],), output, out, conv)]


def _prelu(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    if 1 in grids[entry.inputs[0]].spatial and call.weight.numel() > 1:
        raise Unreadable("prelu has one slope for each row of pixels")
    return _pointwise(call, entry, tape, grids)


def _convolved(call: Call, entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    grid, (output,) = grids[entry.inputs[0]], only(entry.outputs, entry)
    shape = tuple(tape.values[output].shape)
    if call.transposed or not grid.is_plain or call.weight.dim() != 4:
        raise Unreadable("only plain convolutions of pictures are followed")
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
    (output,) = only(entry.outputs, entry)
    size = tuple(tape.values[output].shape[2:])

    def pooling(grid: Grid) -> Pooling:
        if len(size) != 2 or grid.height % size[0] or grid.width % size[1]:
            raise Unreadable("adaptive pooling has windows of different sizes")
        extent = grid.height // size[0], grid.width // size[1]
        return Pooling(call.operation.name == "adaptive_max_pool", extent, extent)

    return _pooled(entry, tape, grids, pooling)


def _averaged_whole(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Read the mean over all pixels."""
    dims = entry.args[1] if len(entry.args) > 1 else entry.kwargs.get("dim")
    named = dims if isinstance(dims, (tuple, list)) else (dims,)
    grid, (output,) = grids[entry.inputs[0]], only(entry.outputs, entry)
    if not all(isinstance(dim, int) for dim in named) or not grid.is_plain:
        raise Unreadable("mean is taken over more than the pixels")
    if sorted(dim % 4 for dim in named) != [2, 3]:
        raise Unreadable("mean is taken over more than the pixels")
    shape, extent = tuple(tape.values[output].shape), (grid.height, grid.width)
    out = Grid(shape, (2, 3) if len(shape) == 4 else ())
    return [Pooled((entry.inputs[0],), output, out, Pooling(False, extent, extent))]


def _pooled(
    entry: TapeEntry, tape: Tape, grids: Grids, pooling: Callable[[Grid], Pooling]
) -> list[Operator]:
    grid, (output,) = grids[entry.inputs[0]], only(entry.outputs, entry)
    shape = tuple(tape.values[output].shape)
    if not grid.is_plain or len(shape) != 4:
        raise Unreadable("only pools of pictures are followed")
    return [Pooled((entry.inputs[0],), output, Grid(shape, (2, 3)), pooling(grid))]


_READERS: Mapping[str, Callable[[Call, TapeEntry, Tape, Grids], list[Operator]]] = {
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
