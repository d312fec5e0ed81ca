"""Chooses how a forward is differentiated: on PyTorch's own graph, or in the least memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

from torch import Tensor

from torchattr.core.types import Forward, OutputKey
from torchattr.errors import InputError
from torchattr.layers import NativeTrace, NotNative, RuleTable, TapPoint, Trace
from torchattr.methods._gradient.forward_result import ForwardResult, Traceable

Memory = Literal["auto", "lean", "native"]
"""How much a forward may remember for its backwards.

* `lean`: every operation runs under the rule mode and remembers what its rule needs, a fraction of
  what PyTorch remembers. It costs some Python per operation.
* `native`: the model runs as it is, and rules hang on PyTorch's own graph, where that is certain to
  be the same; otherwise lean, and `coverage.lean_because` says why.
* `auto`: native for small inputs, whose memory is small and whose time is Python's.
"""

SMALL_ELEMENTS = {"cpu": 30_000, "cuda": 10_000_000}
"""Up to so many elements of all inputs, native is faster: on a CPU a picture of 100 × 100 pixels,
on a GPU some 64 of 224 × 224, where it waits for Python otherwise."""


def checked_memory(memory: str) -> Memory:
    """Return a choice of memory.

    Raises:
        InputError: it is none.
    """
    if memory not in get_args(Memory):
        raise InputError(f"memory must be one of {', '.join(get_args(Memory))}, got {memory!r}")
    return memory  # type: ignore[return-value]


_unknown_graphs: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""Models whose graph has a node that no table knows, and which: they are not tried again."""


def run_forward(
    model: Forward,
    inputs: Sequence[Tensor],
    arguments: Sequence[Any],
    *,
    tables: Sequence[RuleTable],
    taps: Sequence[TapPoint],
    key: OutputKey,
    from_inputs: bool,
    of_output: bool,
    memory: Memory,
) -> ForwardResult:
    """Run a model forward once, ready for a backward under each of the tables.

    Args:
        model: the model; one that is :class:`Traceable` runs its own forward.
        inputs: its attributed inputs.
        arguments: its further arguments.
        tables: the rules of each backward.
        taps: where values are recorded.
        key: which entry of the output holds the scores.
        from_inputs: whether gradients are followed down to the inputs.
        of_output: whether all scores are entries of the output.
        memory: how much the forward may remember.
    """
    options: dict[str, Any] = {
        "tables": tables,
        "taps": taps,
        "key": key,
        "from_inputs": from_inputs,
    }
    if isinstance(model, Traceable):
        return model.trace(inputs, arguments, **options, of_output=of_output)
    reason = _why_not_native(model, inputs, memory)
    if not reason:
        try:
            return NativeTrace(model, inputs, arguments, **options)
        except NotNative as refusal:
            reason = str(refusal)
            if refusal.is_of_graph:
                _note_unknown(model, reason)
    trace = Trace(model, inputs, arguments, **options)
    trace.coverage.lean_because = reason
    return trace


def _why_not_native(model: Forward, inputs: Sequence[Tensor], memory: Memory) -> str:
    if memory == "lean":
        return "it was asked for"
    if memory == "auto" and not _is_small(inputs):
        return "the inputs are large"
    with suppress(TypeError):
        return _unknown_graphs.get(_owner(model), "")
    return ""


def _note_unknown(model: Forward, reason: str) -> None:
    # What cannot be referred to weakly is tried each time.
    with suppress(TypeError):
        _unknown_graphs[_owner(model)] = reason


def _owner(model: Any) -> Any:
    """Return what lives as long as the model: a bound method is a new object each time."""
    return getattr(model, "__self__", model)


def _is_small(inputs: Sequence[Tensor]) -> bool:
    limit = SMALL_ELEMENTS.get(inputs[0].device.type, SMALL_ELEMENTS["cuda"])
    return sum(tensor.numel() for tensor in inputs) <= limit
