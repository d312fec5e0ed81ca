"""Chooses how a forward is differentiated: on PyTorch's own graph, or in the least memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchattr.core.by_model import ByModel
from torchattr.core.types import Forward, OutputKey
from torchattr.kernels import requested_backend
from torchattr.layers import (
    CheckedTable,
    NativeTrace,
    NotNative,
    RandomState,
    RuleTable,
    Tap,
    Trace,
)
from torchattr.methods._gradient.forward_result import ForwardResult, Traceable
from torchattr.methods._gradient.memory import (
    Memory,
    knows_size,
    note_size,
    prefers_native,
)


def run_forward(
    model: Forward,
    inputs: Sequence[Tensor],
    arguments: Sequence[Any],
    *,
    tables: Sequence[RuleTable],
    taps: Sequence[Tap],
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
    if isinstance(model, Traceable) and not _are_checked(tables):
        return model.trace(inputs, arguments, **options, of_output=of_output)
    plain: Any = model  # A model that runs its own forwards can be called, too.
    forward = _ForwardRun(plain, inputs, arguments, options)
    if memory == "native":
        return forward.native()
    if memory == "lean":
        return forward.lean("it was asked for")
    # PyTorch's own nodes use no backend.
    if requested_backend() != "auto":
        return forward.lean("a backend was asked for")
    return forward.faster()


def _are_checked(tables: Sequence[RuleTable]) -> bool:
    """Whether a table has a state of its own, which a replayed forward would miss."""
    return any(isinstance(table, CheckedTable) for table in tables)


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
        is_native = prefers_native(self.model, self.inputs)
        if knows_size(self.model):
            return self._chosen(is_native)
        draws = RandomState(self.inputs)
        trace = self._chosen(is_native)
        note_size(self.model, self.inputs, trace)
        was_refused = is_native and not isinstance(trace, NativeTrace)
        if was_refused or prefers_native(self.model, self.inputs) == is_native:
            return trace
        del trace
        draws.restore()
        return self._chosen(not is_native)

    def _chosen(self, is_native: bool) -> ForwardResult:
        return self.native() if is_native else self.lean("what it makes is large")

    def native(self) -> ForwardResult:
        """Run on PyTorch's own graph, or lean if that could differ."""
        reason = _unknown_graphs.get(self.model) or ""
        if not reason:
            try:
                return NativeTrace(self.model, self.inputs, self.arguments, **self.options)
            except NotNative as refusal:
                reason = str(refusal)
                if refusal.is_of_graph:
                    _unknown_graphs[self.model] = reason
        return self.lean(reason)

    def lean(self, reason: str) -> ForwardResult:
        """Run under the rule mode.

        Args:
            reason: why, for the report.
        """
        trace = Trace(self.model, self.inputs, self.arguments, **self.options)
        trace.coverage.lean_because = reason
        return trace


_unknown_graphs = ByModel[str]()
"""Models whose graph has a node that no table knows, and which: they are not tried again."""
