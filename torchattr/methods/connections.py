"""Refusing targets that gradients cannot reach the inputs from, and saying where they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from torch import Tensor

from torchattr.errors import DisconnectedError, DisconnectedWarning, warn
from torchattr.inputs import Inputs
from torchattr.layers import Captured
from torchattr.methods.traceable import Ran


class ConnectionCheck:
    """Knows for one forward and its targets which places the graph leads back to.

    Args:
        trace: the forward.
        inputs: its inputs.
        scores: those of each target.
        cause: finds out what cut the scores off.
    """

    def __init__(
        self,
        trace: Ran,
        inputs: Inputs,
        scores: Sequence[Tensor],
        cause: Callable[[], str | None],
    ) -> None:
        self.inputs = inputs
        self._trace = trace
        self._scores = scores
        self._find_cause = cause
        self._warned: set[str] = set()

    def demand(self, method: str, place: str, calls: Sequence[Captured]) -> None:
        """Raise if no target depends on a place by the graph; warn if some, or parts, do not.

        Raises:
            DisconnectedError: naming what cut the target off.
        """
        edges = [edge for call in calls for edge in call.edges]
        if not edges or not self._scores:
            return
        reached = [self._trace.connected(scores, edges) for scores in self._scores]
        if not any(map(any, reached)):
            raise DisconnectedError(self._refusal(method, place))
        note = _note(place, reached)
        if note and note not in self._warned:
            self._warned.add(note)
            warn(f"{method}: {note}", DisconnectedWarning)

    @cached_property
    def _cause(self) -> str | None:
        return self._find_cause()

    def _refusal(self, method: str, place: str) -> str:
        if place != "the inputs" and self._reaches_inputs:
            return (
                f"{method}: the target does not depend on {place}, which lies off the way to it"
                " (an auxiliary head, another task's decoder); choose another layer or target"
            )
        because = self._cause or "what the model gives was made without reference to it"
        return (
            f"{method}: the target is cut off from {place}, so every gradient would be 0:"
            f" {because}. Let gradients through there or explain a value before it (target= or"
            " output= may be a callable); FeatureAblation, Occlusion and RISE need no gradient"
        )

    @property
    def _reaches_inputs(self) -> bool:
        edges = self._trace.input_edges
        if any(edge is not None for edge in edges):
            return any(any(self._trace.connected(scores, edges)) for scores in self._scores)
        return self._cause == ""


def _note(place: str, reached: Sequence[Sequence[bool]]) -> str | None:
    """Say which parts of a place, or which targets, get zeros."""
    cut = [number for number, row in enumerate(reached) if not any(row)]
    if cut:
        return f"target {_listed(cut)} does not depend on {place} by the graph, and gets zeros"
    parts = [number for number, column in enumerate(zip(*reached, strict=True)) if not any(column)]
    if not parts:
        return None
    kind = "input" if place == "the inputs" else "tensor"
    of = "" if place == "the inputs" else f" of {place}"
    return (
        f"the target does not depend on {kind} {_listed(parts)}{of} by the graph, which gets zeros"
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
