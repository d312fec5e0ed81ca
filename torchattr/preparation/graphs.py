"""CUDA graphs: record a forward and its backwards once per input signature, then replay them.

A GPU runs the kernels of a small batch faster than Python can launch them; a recorded graph takes
one launch. It works on fixed memory: inputs are copied in, it is replayed, results are copied out.
Activations saved for the backward stay in the graph's own memory, where the recorded backwards
read them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.gradient_mode import gradients
from torchattr.kernels import requested_backend
from torchattr.layers import Captured, Composite, Coverage, RuleTable, Tap
from torchattr.methods import ForwardResult
from torchattr.preparation.replay import GraphRecorder

Run = Callable[[Sequence[Tensor]], ForwardResult]


class RecordedGraph:
    """One forward and its backwards, recorded for inputs of one signature.

    Args:
        recorder: records and replays.
        run: traces the model on some inputs.
        inputs: inputs of that signature.
        tables: the rules, kept alive because signatures contain their `id`.
    """

    def __init__(
        self,
        recorder: GraphRecorder,
        run: Run,
        inputs: Sequence[Tensor],
        tables: Sequence[RuleTable],
    ) -> None:
        self.lock = RLock()
        self._recorder = recorder
        self._tables = tables
        self._inputs = [tensor.detach().clone() for tensor in inputs]
        self.trace, self._forward = recorder.record(lambda: run(self._inputs))
        self._above = torch.zeros_like(self.trace.output)
        self._backwards: dict[Any, tuple[list[Tensor | None], Callable[[], None]] | None] = {}
        self._owner: Replayed | None = None

    def __str__(self) -> str:
        return f"{_shapes(self._inputs)} is replayed"

    def forward(self, owner: Replayed) -> None:
        """Replay the forward on the owner's inputs, unless its results are the latest."""
        if self._owner is not owner:
            for own, given in zip(self._inputs, owner.inputs, strict=True):
                own.copy_(given)
            self._forward()
            self._owner = owner

    def backward(
        self, above: Tensor, edges: Sequence[GradientEdge | None], table: int
    ) -> list[Tensor | None]:
        """Replay the backward under a rule table, from a gradient at the output to these edges."""
        self._above.copy_(above)
        signature = table, tuple(edge and (id(edge.node), edge.output_nr) for edge in edges)
        if signature not in self._backwards:
            self._backwards[signature] = self._record_backward(edges, table)
        recorded = self._backwards[signature]
        if recorded is None:
            return self._back(edges, table)
        results, replay = recorded
        replay()
        return results

    def _record_backward(
        self, edges: Sequence[GradientEdge | None], table: int
    ) -> tuple[list[Tensor | None], Callable[[], None]] | None:
        """Record a backward; `None` if it cannot be recorded and has to run eagerly."""
        try:
            return self._recorder.record(lambda: self._back(edges, table))
        except self._recorder.failures:
            return None

    def copies(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return copies of results, which the next replay overwrites."""
        copied = [tensor.detach().clone() for tensor in tensors]
        self._recorder.finish()
        return copied

    def _back(self, edges: Sequence[GradientEdge | None], table: int) -> list[Tensor | None]:
        output = self.trace.output
        with gradients():
            # The gradient of this sum with respect to the output is `_above`.
            scores = (output * self._above).sum()
        return self.trace.gradients(scores, edges, table=table, keep=True, of_output=True)


class Replayed:
    """One replayed forward, with the interface of :class:`Trace`."""

    def __init__(self, recorded: RecordedGraph, inputs: Sequence[Tensor]) -> None:
        self.inputs = [tensor.detach().clone() for tensor in inputs]
        self.input_edges = recorded.trace.input_edges
        self._recorded = recorded
        with gradients(), recorded.lock:
            recorded.forward(self)
            (output,) = recorded.copies([recorded.trace.output])
        self.output = output.requires_grad_(output.is_floating_point())
        self._calls: dict[Tap, list[Captured]] = {}

    @property
    def coverage(self) -> Coverage:
        return self._recorded.trace.coverage

    def calls(self, tap: Tap) -> list[Captured]:
        """Return what was captured at a tap point, call by call."""
        if tap not in self._calls:
            with gradients(), self._recorded.lock:
                self._recorded.forward(self)
                calls = self._recorded.trace.calls(tap)
                self._calls[tap] = [self._copied(call) for call in calls]
        return self._calls[tap]

    def factors(self, call: Captured, table: int) -> Captured:
        """Return a call with what its gradients are multiplied by."""
        return self._recorded.trace.factors(call, table)

    def connected(self, scores: Tensor, edges: Sequence[GradientEdge | None]) -> tuple[bool, ...]:
        """Return for each edge whether the recorded output depends on it by the graph."""
        return self._recorded.trace.connected(self._recorded.trace.output, edges)

    def gradients(
        self,
        scores: Tensor,
        edges: Sequence[GradientEdge | None],
        *,
        table: int = 0,
        keep: bool = True,
        of_output: bool = False,
    ) -> list[Tensor | None]:
        """Replay a backward under one of the tables."""
        if not any(edges) or not scores.requires_grad:
            return [None] * len(edges)
        with gradients():
            (above,) = torch.autograd.grad(scores.sum(), self.output, retain_graph=True)
            with self._recorded.lock:
                self._recorded.forward(self)
                found = self._recorded.backward(above, edges, table)
                present = [gradient for gradient in found if gradient is not None]
                copied = iter(self._recorded.copies(present))
        return [None if gradient is None else next(copied) for gradient in found]

    def _copied(self, call: Captured) -> Captured:
        return replace(call, values=tuple(self._recorded.copies(call.values)))


class Graphs:
    """The recorded graphs of one model, for the most recently used input signatures.

    Args:
        recorder: records graphs, and explains what it cannot record.
        limit: number of signatures to keep; the least recently used is dropped first.
    """

    def __init__(self, recorder: GraphRecorder, limit: int) -> None:
        self._recorder = recorder
        self._limit = limit
        self._lock = RLock()
        self._recorded: OrderedDict[Any, RecordedGraph | str] = OrderedDict()

    def trace(
        self, run: Run, inputs: Sequence[Tensor], tables: Sequence[RuleTable], state: Any
    ) -> ForwardResult:
        """Return a replayed forward, or an eager one if it cannot be recorded."""
        reason = self._recorder.refusal(inputs)
        if reason is not None:
            return run(inputs)
        rules = tuple(_identities(table) for table in tables)
        signature = (*map(_layout, inputs), rules, requested_backend(), state)
        with self._lock, gradients():
            recorded = self._get(signature, run, inputs, tables)
        return run(inputs) if isinstance(recorded, str) else Replayed(recorded, inputs)

    def notes(self) -> tuple[str, ...]:
        """Return for each input signature whether it is replayed, and if not, why."""
        with self._lock:
            return tuple(map(str, self._recorded.values()))

    def clear(self) -> None:
        """Drop all recorded graphs."""
        with self._lock:
            self._recorded.clear()

    def __reduce__(self) -> Any:
        # A copy, or an unpickled one, records again.
        return Graphs, (self._recorder, self._limit)

    def _get(
        self, signature: Any, run: Run, inputs: Sequence[Tensor], tables: Sequence[RuleTable]
    ) -> RecordedGraph | str:
        if signature not in self._recorded:
            while len(self._recorded) >= self._limit:
                self._recorded.popitem(last=False)
            self._recorded[signature] = self._record(run, inputs, tables)
        self._recorded.move_to_end(signature)
        return self._recorded[signature]

    def _record(
        self, run: Run, inputs: Sequence[Tensor], tables: Sequence[RuleTable]
    ) -> RecordedGraph | str:
        try:
            return RecordedGraph(self._recorder, run, inputs, tables)
        except self._recorder.failures as error:
            return f"{_shapes(inputs)} runs eagerly: {str(error).splitlines()[0]}"


def _layout(tensor: Tensor) -> Any:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def _identities(table: RuleTable) -> Any:
    if isinstance(table, Composite):
        return id(table)  # Its rules depend on the place of each call.
    known = {name: id(rule) if vars(rule) else type(rule) for name, rule in table.items()}
    return tuple(sorted(known.items(), key=lambda item: item[0]))


def _shapes(tensors: Sequence[Tensor]) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
