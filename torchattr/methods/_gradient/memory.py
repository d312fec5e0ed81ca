"""How much a forward may remember, and which way is faster by its counted bytes and calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

from torch import Tensor

from torchattr.core.by_model import ByModel
from torchattr.core.free_memory import free_bytes
from torchattr.core.types import Forward
from torchattr.errors import Hint, InputError
from torchattr.layers import nodes_between
from torchattr.methods._gradient.forward_result import ForwardResult

Memory = Literal["auto", "lean", "native"]
"""How much a forward may remember for its backwards.

* `lean`: every operation runs under the rule mode and remembers what its rule needs, a fraction of
  what PyTorch remembers. It costs some Python per operation.
* `native`: the model runs as it is, and rules hang on PyTorch's own graph, where that is certain to
  be the same; otherwise lean, and `coverage.lean_because` says why.
* `auto`: native while its operations are so small that Python is what takes the time, and what it
  remembers is small beside free memory.
"""

SMALL_CALL = {"cpu": 2**21, "cuda": 96 * 2**20}
"""Up to so many bytes that an operation returns, on average, the time is Python's: on a CPU
some two pictures of 224 × 224 pixels in a ResNet-50, on a GPU some 128."""

SMALL_INPUT = {"cpu": 2**20, "cuda": 2**26}
"""What the inputs may hold in bytes if nothing is known of the model yet."""

SHARE_OF_FREE = 0.25
"""The share of free memory that a native forward may remember."""

ALWAYS_FREE = 2**28
"""Bytes for which nobody needs to ask how much memory is free."""


def checked_memory(memory: str) -> Memory:
    """Return a choice of memory.

    Raises:
        InputError: it is none.
    """
    if memory not in get_args(Memory):
        raise InputError(
            f"{{setting}} is none of {', '.join(get_args(Memory))}", hint=Hint("memory", memory)
        )
    return memory  # type: ignore[return-value]


@dataclass(frozen=True)
class ForwardSize:
    """What a forward makes: `bytes` in `calls` of operations, from `inputs` bytes."""

    inputs: int
    calls: int
    bytes: int

    def of(self, inputs: int) -> ForwardSize:
        """Return the size of a forward of other inputs, which grows as they do."""
        return ForwardSize(inputs, self.calls, self.bytes * inputs // max(self.inputs, 1))


_sizes = ByModel[ForwardSize]()
"""Of the first forward of each model."""


def prefers_native(model: Forward, inputs: Sequence[Tensor]) -> bool:
    """Whether PyTorch's own graph is faster for these inputs, and small beside free memory."""
    kind = inputs[0].device.type
    given = _bytes_of(inputs)
    known = _sizes.get(model)
    if known is None:
        return given <= SMALL_INPUT.get(kind, SMALL_INPUT["cuda"])
    size = known.of(given)
    if size.bytes > SMALL_CALL.get(kind, SMALL_CALL["cuda"]) * size.calls:
        return False
    return size.bytes <= ALWAYS_FREE or size.bytes <= SHARE_OF_FREE * free_bytes(inputs[0].device)


def knows_size(model: Forward) -> bool:
    """Whether a forward of this model was measured."""
    return model in _sizes


def note_size(model: Forward, inputs: Sequence[Tensor], trace: ForwardResult) -> None:
    """Remember how much a forward of a model made, whichever way it ran.

    Args:
        model: the model.
        inputs: its inputs.
        trace: the forward; one whose graph does not begin at the inputs does not tell.
    """
    sources = {edge.node for edge in trace.input_edges if edge is not None}
    if sources:
        _sizes[model] = _size(_bytes_of(inputs), trace.output, sources)


def _size(inputs: int, output: Tensor, sources: Collection[Any]) -> ForwardSize:
    # Not what is made of parameters alone: it does not grow with the inputs.
    made = [
        prod(result.shape) * result.dtype.itemsize
        for node in nodes_between(output, sources)
        for result in node._input_metadata
    ]
    return ForwardSize(inputs, len(made), sum(made))


def _bytes_of(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
