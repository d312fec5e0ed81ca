"""Chooses how a forward is differentiated: on PyTorch's own graph, or in the least memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from torchattr.core.types import Forward, OutputKey
from torchattr.kernels import requested_backend
from torchattr.layers import NativeTrace, NotNative, RandomState, RuleTable, TapPoint, Trace
from torchattr.methods._gradient.forward_result import ForwardResult, Traceable
from torchattr.methods._gradient.memory import (
    Memory,
    knows_size,
    note_size,
    owner_of,
    prefers_native,
)


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
    forward = _ForwardRun(model, inputs, arguments, options)
    if memory == "native":
        return forward.native()
    if memory == "lean":
        return forward.lean("it was asked for")
    # PyTorch's own nodes use no backend.
    if requested_backend() != "auto":
        return forward.lean("a backend was asked for")
    return forward.faster()


@dataclass(frozen=True)
class _ForwardRun:
    """A forward that can run either way."""

    model: Forward
    inputs: Sequence[Tensor]
    arguments: Sequence[Any]
    options: Mapping[str, Any]

    def faster(self) -> ForwardResult:
        """Run the way that is faster by what the model makes, as its first forward shows.

        If that shows that the other way is faster, the first forward runs again, so that the same
        inputs always run the same way: they differ in rounding.
        """
        draws, is_known = RandomState(self.inputs), knows_size(self.model)
        is_native = prefers_native(self.model, self.inputs)
        trace = self._chosen(is_native)
        if is_known:
            return trace
        note_size(self.model, self.inputs, trace)
        if prefers_native(self.model, self.inputs) == is_native or is_native != _is_native(trace):
            return trace
        del trace
        draws.restore()
        return self._chosen(not is_native)

    def _chosen(self, is_native: bool) -> ForwardResult:
        return self.native() if is_native else self.lean("what it makes is large")

    def native(self) -> ForwardResult:
        """Run on PyTorch's own graph, or lean if that could differ."""
        reason = _unknown_graph(self.model)
        if not reason:
            try:
                return NativeTrace(self.model, self.inputs, self.arguments, **self.options)
            except NotNative as refusal:
                reason = str(refusal)
                if refusal.is_of_graph:
                    _note_unknown(self.model, reason)
        return self.lean(reason)

    def lean(self, reason: str) -> ForwardResult:
        """Run under the rule mode.

        Args:
            reason: why, for the report.
        """
        trace = Trace(self.model, self.inputs, self.arguments, **self.options)
        trace.coverage.lean_because = reason
        return trace


def _is_native(trace: ForwardResult) -> bool:
    return isinstance(trace, NativeTrace)


_unknown_graphs: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""Models whose graph has a node that no table knows, and which: they are not tried again."""


def _unknown_graph(model: Forward) -> str:
    """Return why the graph of a model was refused before; empty if it was not."""
    with suppress(TypeError):
        return _unknown_graphs.get(owner_of(model), "")
    return ""


def _note_unknown(model: Forward, reason: str) -> None:
    # What cannot be referred to weakly is tried each time.
    with suppress(TypeError):
        _unknown_graphs[owner_of(model)] = reason
