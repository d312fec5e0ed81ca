"""One forward of the user's model, ready for any number of backwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.gradient_mode import set_gradients
from torchattr.core.misshapen_inputs import raise_if_misshapen
from torchattr.core.outputs import select_output
from torchattr.core.torch_private import engine_run_backward
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo, undoing
from torchattr.core.unlike_inputs import raise_if_unlike
from torchattr.errors import DisconnectedError
from torchattr.layers.attention_recorder import AttentionRecorder, AttentionTap
from torchattr.layers.autograd import enter
from torchattr.layers.batching import largest_gradient, mapped_backward
from torchattr.layers.capture import Captured, TapPoint, TapRecorder
from torchattr.layers.connection import Port, ports_below
from torchattr.layers.coverage import Coverage
from torchattr.layers.guards import (
    RandomState,
    enter_mode,
    keep_no_casts,
    modules_behind,
    run_eagerly,
)
from torchattr.layers.known_layouts import known_calls, note_calls
from torchattr.layers.layouts.tracker import LayoutTracker
from torchattr.layers.mode import ordinary

Tap: TypeAlias = TapPoint | AttentionTap
"""Where values and gradients of a forward are read."""


@dataclass(frozen=True)
class ForwardCall:
    """A forward of the user's model.

    Attributes:
        model: the module or function to run.
        inputs: its attributed inputs.
        arguments: its further positional arguments, which are not attributed.
        key: which entry of the model's output holds the scores.
        tracked: is given what knows how tensors are laid out, when the forward begins.
    """

    model: Forward
    inputs: Sequence[Tensor]
    arguments: Sequence[Any]
    key: OutputKey
    tracked: Callable[[LayoutTracker], None] | None = None


class GraphTrace(ABC):
    """A finished forward whose graph backwards run through.

    It does not keep the model, which may be what keeps it.

    Args:
        taps: modules whose inputs or outputs are recorded, and attention that is.
        differentiable: build a graph at all.

    Attributes:
        output: the scores.
        coverage: what ran and what was rewritten.
        input_edges: where gradients of the inputs are read.
    """

    output: Tensor
    coverage: Coverage
    input_edges: list[GradientEdge | None]

    def __init__(self, taps: Sequence[Tap], *, differentiable: bool = True) -> None:
        self._taps = [tap for tap in taps if isinstance(tap, TapPoint)]
        self._reads_attention = len(self._taps) < len(taps)
        self._attention: AttentionRecorder | None = None
        self._differentiable = differentiable
        self._below: frozenset[Port] | None = None

    @abstractmethod
    def _watch_forward(self, model: Forward, undo: Undo) -> None:
        """Prepare this thread for the model's forward."""

    @abstractmethod
    def _apply_rules(
        self,
        undo: Undo,
        table: int,
        wanted: Sequence[GradientEdge],
        *,
        of_output: bool,
        keep: bool,
    ) -> None:
        """Put the rules of one table in force for a backward.

        Args:
            undo: ends that.
            table: the position of the rules among `tables`.
            wanted: where gradients are read.
            of_output: whether the scores are computed from the output alone.
            keep: whether another backward will follow.
        """

    def _check(self, table: int) -> None:  # noqa: B027 - most have nothing to check
        """Check what a backward under one table did."""

    def _run(self, call: ForwardCall, follow: bool) -> Tensor:
        """Run a model forward and return the scores.

        Args:
            call: the model and its inputs.
            follow: whether the graph begins at the inputs; otherwise at the recorded tap points.
        """
        if call.tracked is not None or self._reads_attention:
            return undoing(partial(self._forward, call, follow, True))
        if not any(tap.with_layout for tap in self._taps):
            return undoing(partial(self._forward, call, follow, False))
        earlier = known_calls(call.model, self._taps, call.inputs)
        if earlier is not None:
            draws = RandomState(call.inputs)
            output = undoing(partial(self._forward, call, follow, False))
            if self._recorder.add_layouts(earlier):
                return output
            draws.restore()
        output = undoing(partial(self._forward, call, follow, True))
        note_calls(call.model, call.inputs, self._recorder.calls)
        return output

    def _forward(self, call: ForwardCall, follow: bool, tracked: bool, undo: Undo) -> Tensor:
        set_gradients(undo, self._differentiable)
        run_eagerly(undo)
        entered = [_entered(tensor, follow) for tensor in call.inputs]
        self.input_edges = [get_gradient_edge(t) if t.requires_grad else None for t in entered]
        given = [*entered, *map(ordinary, call.arguments)]
        tracker = LayoutTracker(entered) if tracked else None
        if call.tracked is not None and tracker is not None:
            call.tracked(tracker)
        self._recorder = TapRecorder(
            self._taps, differentiable=self._differentiable, tracker=tracker
        )
        output = undoing(partial(self._watched, call, given, tracker))
        scores = select_output(output, call.key)
        return scores if self._differentiable else scores.detach()

    def _watched(
        self, call: ForwardCall, given: Sequence[Any], tracker: LayoutTracker | None, undo: Undo
    ) -> Any:
        self._recorder.record(undo)
        keep_no_casts(undo)
        self._watch_forward(call.model, undo)
        if tracker is not None:
            enter_mode(undo, tracker)
        self._attention = None
        if tracker is not None and self._reads_attention:
            self._attention = AttentionRecorder(tracker, len(call.inputs[0]))
            self._attention.record(undo, call.model)
        try:
            return call.model(*given)
        except (RuntimeError, ValueError, IndexError) as error:
            raise_if_lost(error)
            modules = modules_behind(call.model)
            raise_if_unlike(error, modules, call.inputs, call.arguments)
            raise_if_misshapen(error, modules, call.inputs)
            raise

    def calls(self, tap: Tap) -> list[Captured]:
        """Return the recorded calls at a tap point."""
        if isinstance(tap, TapPoint):
            return self._recorder.calls[tap]
        return [] if self._attention is None else self._attention.calls(tap)

    def factors(self, call: Captured, table: int) -> Captured:
        """Return a call with what gradients under a table are multiplied by: its values."""
        return call

    @property
    def order(self) -> list[tuple[TapPoint, Captured]]:
        """Return the recorded calls at all tap points, in execution order."""
        return self._recorder.order

    def connected(self, scores: Tensor, edges: Sequence[GradientEdge | None]) -> tuple[bool, ...]:
        """Return for each edge whether the graph connects the scores to it."""
        if self._below is None:
            self._below = ports_below(self.output)
        below = ports_below(scores, known=self._below, at=self.output)
        return tuple(edge is not None and (edge.node, edge.output_nr) in below for edge in edges)

    def gradients(
        self,
        scores: Tensor,
        edges: Sequence[GradientEdge | None],
        *,
        table: int = 0,
        keep: bool = True,
        of_output: bool = False,
    ) -> list[Tensor | None]:
        """Run a backward under one of the tables.

        Args:
            scores: one value per example; their sum is differentiated.
            edges: where gradients are read; `None` stays `None`.
            table: the position of the rules among `tables`.
            keep: whether another backward will follow.
            of_output: whether the scores are computed from the output alone. Then all readers of
                each gradient are known, and rules may write over gradients that nothing else reads.
        """
        wanted = [edge for edge in edges if edge is not None]
        if not wanted or not scores.requires_grad:
            return [None] * len(edges)
        run = partial(_run_engine, scores, tuple(wanted), keep)
        ones = torch.ones_like(scores)
        found = undoing(partial(self._backward, run, ones, wanted, table, of_output, keep))
        return _at_edges(edges, found)

    def largest_gradient(self, edges: Sequence[GradientEdge | None], table: int) -> int | None:
        """Return the size of the largest gradient that passes from the output to some edges.

        `None` if there is none, or if :meth:`gradients_of_several` cannot serve them.
        """
        wanted = [edge for edge in edges if edge is not None]
        if not wanted or not self.output.requires_grad:
            return None
        return largest_gradient(self.output, wanted, table)

    def gradients_of_several(
        self,
        output: Tensor,
        seeds: Tensor,
        edges: Sequence[GradientEdge | None],
        *,
        table: int = 0,
    ) -> list[Tensor | None]:
        """Run one backward from several gradients of the output.

        Args:
            output: the output, or what is computed from it alone.
            seeds: the gradients with respect to it, `(T, *output.shape)`.
            edges: where gradients `(T, ...)` are read; `None` stays `None`.
            table: the position of the rules among `tables`.

        Raises:
            NotBatched: a part of the backward cannot take several; gradients are as they were.
        """
        wanted = [edge for edge in edges if edge is not None]
        engine = partial(_run_engine, output, tuple(wanted), True)
        run = partial(mapped_backward, engine)
        found = undoing(partial(self._backward, run, seeds, wanted, table, True, True))
        return _at_edges(edges, found)

    def _backward(
        self,
        run: Callable[[Tensor], Sequence[Tensor | None]],
        above: Tensor,
        wanted: Sequence[GradientEdge],
        table: int,
        of_output: bool,
        keep: bool,
        undo: Undo,
    ) -> Sequence[Tensor | None]:
        set_gradients(undo, torch.is_grad_enabled())
        run_eagerly(undo)
        self._recorder.repeat(undo)
        self._apply_rules(undo, table, wanted, of_output=of_output, keep=keep)
        try:
            found = run(above)
            self._check(table)
            return found
        except RuntimeError as error:
            refusal = _refusal(str(error))
            if refusal is None:
                raise
            raise DisconnectedError(refusal) from error


def _at_edges(
    edges: Sequence[GradientEdge | None], found: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients at all edges, given those at the edges that there are."""
    remaining = iter(found)
    return [None if edge is None else next(remaining) for edge in edges]


def _run_engine(
    start: Tensor, wanted: tuple[GradientEdge, ...], keep: bool, above: Tensor
) -> Sequence[Tensor | None]:
    # Not torch.autograd.grad: modes intercept it, and it would run without the rule mode, which
    # checkpointed parts need when they run again.
    return engine_run_backward((start,), (above,), keep, False, wanted, True, accumulate_grad=False)


def _entered(tensor: Tensor, differentiable: bool) -> Tensor:
    if differentiable and tensor.is_floating_point():
        return enter(tensor)
    return tensor.detach().clone()


def _refusal(error: str) -> str | None:
    if "use_reentrant=True" in error:
        return (
            "a part of the model is checkpointed with use_reentrant=True, through which no gradient"
            " of a layer or input can be read; set use_reentrant=False there"
        )
    if not error.startswith("derivative for"):
        return None
    return (
        "the target depends on the inputs through a function that PyTorch cannot differentiate:"
        f" {error}. Detach it or explain a value before it; FeatureAblation, Occlusion and RISE"
        " need no gradient"
    )
