"""One forward of the user's model, ready for any number of backwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, _engine_run_backward, get_gradient_edge

from torchattr._types import Forward, OutputKey
from torchattr.errors import DisconnectedError
from torchattr.layers.capture import Captured, Place, Recorder
from torchattr.layers.connection import Port, ports_below
from torchattr.layers.coverage import Coverage
from torchattr.layers.function import enter
from torchattr.layers.graph import prepare_backward
from torchattr.layers.guards import eager, refuse_scripted, uncached_autocast
from torchattr.layers.intercept import Intercept
from torchattr.layers.layout import LayoutTracker
from torchattr.layers.registry import RuleTable
from torchattr.outputs import select_output


class Trace:
    """Runs the model once and holds what later backwards need.

    Args:
        model: the module or function to run.
        inputs: its attributed inputs.
        arguments: its further positional arguments, which are not attributed.
        tables: the rules of each backward that may follow.
        places: modules whose inputs or outputs are recorded.
        key: which entry of the model's output holds the scores.
        from_inputs: follow gradients down to the inputs; otherwise only down to the first place,
            unless its values have uses beside what it gives.
        differentiable: build a graph at all.

    Attributes:
        output: the scores.
        coverage: what ran and what was rewritten.

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
        places: Sequence[Place] = (),
        key: OutputKey = None,
        from_inputs: bool = True,
        differentiable: bool = True,
    ) -> None:
        if differentiable or places:
            refuse_scripted(model)
        self._below: frozenset[Port] | None = None

        def run(from_inputs: bool) -> None:
            self._intercept = Intercept(tables, model)
            self._run(model, inputs, arguments, places, key, from_inputs, differentiable)

        run(from_inputs)
        if not from_inputs and self._recorder.may_miss_uses():
            run(True)
        if differentiable:
            self.coverage.inspect(self.output)
            if not self._intercept.hooked:
                prepare_backward(self.output, self._recorder.recorded())

    def _run(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        places: Sequence[Place],
        key: OutputKey,
        from_inputs: bool,
        differentiable: bool,
    ) -> None:
        with torch.inference_mode(False), torch.set_grad_enabled(differentiable), eager():
            entered = [self._entered(tensor, from_inputs and differentiable) for tensor in inputs]
            self.input_edges = [get_gradient_edge(t) if t.requires_grad else None for t in entered]
            tracker = LayoutTracker(entered) if any(place.read for place in places) else None
            self._recorder = Recorder(places, differentiable=differentiable, tracker=tracker)
            with (
                self._recorder.recording(),
                uncached_autocast(),
                self._intercept,
                tracker or nullcontext(),
            ):
                output = model(*entered, *(_ordinary(argument) for argument in arguments))
            # A checkpointed part runs again in each backward.
            self._intercept.counting = False
            self.output = select_output(output, key)

    @property
    def coverage(self) -> Coverage:
        return self._intercept.coverage

    def calls(self, place: Place) -> list[Captured]:
        """Return what was recorded at a place, call by call."""
        return self._recorder.calls[place]

    @property
    def order(self) -> list[tuple[Place, Captured]]:
        """Return what was recorded at all places, in the order in which it ran."""
        return self._recorder.order

    def connected(self, scores: Tensor, edges: Sequence[GradientEdge | None]) -> tuple[bool, ...]:
        """Return for each edge whether the scores depend on it by the graph."""
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
            of_output: whether the scores come from the output alone. Then it is known who reads
                each gradient on the way, and rules may write over what nobody else does.
        """
        wanted = [edge for edge in edges if edge is not None]
        if not wanted or not scores.requires_grad:
            return [None] * len(edges)
        self._intercept.active.table = table
        self._intercept.active.all_known = of_output
        self._intercept.active.read = frozenset(id(edge.node) for edge in wanted)
        with torch.inference_mode(False), eager(), self._recorder.repeating(), self._intercept:
            # torch.autograd.grad is a function that modes see, and so would run without this one,
            # which checkpointed parts need when they run again.
            above = (torch.ones_like(scores),)
            with _explained():
                found = _engine_run_backward(
                    (scores,), above, keep, False, tuple(wanted), True, accumulate_grad=False
                )
        remaining = iter(found)
        return [None if edge is None else next(remaining) for edge in edges]

    @staticmethod
    def _entered(tensor: Tensor, differentiable: bool) -> Tensor:
        if differentiable and tensor.is_floating_point():
            return enter(tensor)
        return tensor.detach().clone()


@contextmanager
def _explained() -> Iterator[None]:
    """Refuse with a way out where PyTorch complains of a backward that cannot run."""
    try:
        yield
    except RuntimeError as error:
        refusal = _refusal(str(error))
        if refusal is None:
            raise
        raise DisconnectedError(refusal) from error


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


def _ordinary(argument: Any) -> Any:
    """Give a tensor that autograd can handle for one made in inference mode."""
    if isinstance(argument, Tensor) and argument.is_inference():
        return argument.clone()
    return argument
