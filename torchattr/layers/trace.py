"""One forward of the user's model, ready for any number of backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from torchattr.core.outputs import select_output
from torchattr.core.torch_private import engine_run_backward
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo, undoing
from torchattr.errors import DisconnectedError
from torchattr.layers.autograd import enter, runs_rules
from torchattr.layers.backward import GradientInside, InnerGradients
from torchattr.layers.capture import Captured, TapPoint, TapRecorder
from torchattr.layers.connection import Port, ports_below
from torchattr.layers.coverage import Coverage
from torchattr.layers.graph import prepare_backward
from torchattr.layers.guards import (
    enter_mode,
    keep_no_casts,
    random_state,
    refuse_scripted,
    run_eagerly,
    set_gradients,
)
from torchattr.layers.layouts.tracker import LayoutTracker
from torchattr.layers.mode import RuleMode, ordinary
from torchattr.layers.registry import RuleTable


class Trace:
    """Runs the model once and holds what later backwards need.

    Args:
        model: the module or function to run.
        inputs: its attributed inputs.
        arguments: its further positional arguments, which are not attributed.
        tables: the rules of each backward that may follow.
        taps: tap points whose values are recorded.
        key: which entry of the model's output holds the scores.
        from_inputs: whether gradients reach the inputs; otherwise they end at the first tap point,
            unless its values have other uses than its output.
        differentiable: whether to build a graph at all.
        tracked: called with the layout tracker when the forward begins.

    Attributes:
        output: the scores.
        coverage: which operations ran, and which were rewritten.

    Raises:
        ScriptedModelError: a part of the model hides its operations.
        TrainingModeError: dropout or batch-norm was about to run in training mode.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any] = (),
        *,
        tables: Sequence[RuleTable] = ({},),
        taps: Sequence[TapPoint] = (),
        key: OutputKey = None,
        from_inputs: bool = True,
        differentiable: bool = True,
        tracked: Callable[[LayoutTracker], None] | None = None,
    ) -> None:
        if differentiable or taps:
            refuse_scripted(model)
        self._differentiable = differentiable
        self._taps = taps
        self._below: frozenset[Port] | None = None
        follow = from_inputs and differentiable
        run = partial(self._forward, model, inputs, arguments, key, tracked)
        # Without a graph of ours, the forward may still take gradients of its own.
        inside = InnerGradients.NONE if differentiable else InnerGradients.ANY
        draw_again = random_state(inputs)
        while True:
            self._mode = RuleMode(tables, model, inside)
            with suppress(GradientInside):
                self.output = undoing(partial(run, follow))
            if self._mode.backward_state.inner is not inside:
                inside = self._mode.backward_state.inner
            elif differentiable and not follow and self._recorder.may_miss_uses():
                follow = True
            else:
                break
            draw_again()
        if differentiable:
            self.coverage.inspect(self.output)
            if self.output.grad_fn is not None:
                self.coverage.keep_reached(self.output, *self._recorder.recorded())
            if not self._mode.hooked:
                prepare_backward(self.output, self._recorder.recorded())

    def _forward(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        key: OutputKey,
        tracked: Callable[[LayoutTracker], None] | None,
        follow: bool,
        undo: Undo,
    ) -> Tensor:
        set_gradients(undo, self._differentiable)
        run_eagerly(undo)
        entered = [self._entered(tensor, follow) for tensor in inputs]
        self.input_edges = [get_gradient_edge(t) if t.requires_grad else None for t in entered]
        given = [*entered, *map(ordinary, arguments)]
        read = tracked is not None or any(tap.with_layout for tap in self._taps)
        tracker = LayoutTracker(entered) if read else None
        if tracked is not None and tracker is not None:
            tracked(tracker)
        self._recorder = TapRecorder(
            self._taps, differentiable=self._differentiable, tracker=tracker
        )
        output = undoing(partial(self._watched, model, given, tracker))
        # A checkpointed part runs again in each backward.
        self._mode.counting = False
        scores = select_output(output, key)
        return scores if self._differentiable else scores.detach()

    def _watched(
        self, model: Forward, given: Sequence[Any], tracker: LayoutTracker | None, undo: Undo
    ) -> Any:
        self._recorder.record(undo)
        keep_no_casts(undo)
        enter_mode(undo, self._mode)
        if tracker is not None:
            enter_mode(undo, tracker)
        return model(*given)

    @property
    def coverage(self) -> Coverage:
        return self._mode.coverage

    def calls(self, tap: TapPoint) -> list[Captured]:
        """Return the recorded calls at a tap point."""
        return self._recorder.calls[tap]

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
        connected = [edge for edge in edges if edge is not None]
        if not connected or not scores.requires_grad:
            return [None] * len(edges)
        backward, nodes = self._mode.backward_state, [edge.node for edge in connected]
        backward.table, backward.readers_known = table, of_output
        backward.read = frozenset(id(node.state.readers) for node in nodes if runs_rules(node))
        remaining = iter(undoing(partial(self._backward, scores, connected, keep)))
        return [None if edge is None else next(remaining) for edge in edges]

    def _backward(
        self, scores: Tensor, edges: Sequence[GradientEdge], keep: bool, undo: Undo
    ) -> Sequence[Tensor | None]:
        set_gradients(undo, torch.is_grad_enabled())
        run_eagerly(undo)
        self._recorder.repeat(undo)
        enter_mode(undo, self._mode)
        above = (torch.ones_like(scores),)
        try:
            # Not torch.autograd.grad: modes intercept it, and it would run without this mode, which
            # checkpointed parts need when they run again.
            return engine_run_backward(
                (scores,), above, keep, False, tuple(edges), True, accumulate_grad=False
            )
        except RuntimeError as error:
            refusal = _refusal(str(error))
            if refusal is None:
                raise
            raise DisconnectedError(refusal) from error

    @staticmethod
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
