"""Refuses targets whose gradient cannot reach the inputs, and warns of inputs without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.inputs import Inputs
from torchattr.core.warn import warn
from torchattr.errors import FUNCTION, DisconnectedError, DisconnectedWarning, Hint, Message, WayOut
from torchattr.layers import GATES, OPERATIONS, Call, Captured, LayerRule, RuleTable
from torchattr.methods._gradient.backward_pass import INPUTS
from torchattr.methods._gradient.forward_result import ForwardResult


class _Open(LayerRule):
    """An activation's backward that passes everything: only disconnected gradients stay 0."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad


OPEN_GATES: RuleTable = {
    name: _Open() for name, operation in OPERATIONS.items() if operation.kind in GATES
}


class ConnectionCheck:
    """Checks which tap points the graph connects with the targets of one forward.

    Args:
        trace: the forward.
        inputs: its inputs.
        scores: the scores of each target.
        cause: returns what disconnected the scores from the inputs.
    """

    def __init__(
        self,
        trace: ForwardResult,
        inputs: Inputs,
        scores: Sequence[Tensor],
        cause: Callable[[], str | None],
    ) -> None:
        self.inputs = inputs
        self._trace = trace
        self._scores = scores
        self._find_cause = cause
        self._warned: set[str] = set()
        self._zeros: dict[str, Tensor] = {}

    def demand(self, method: str, name: str, calls: Sequence[Captured]) -> None:
        """Raise if the graph connects no target with a tap point; warn if it misses some.

        Raises:
            DisconnectedError: names what disconnected the target.
        """
        edges = [edge for call in calls for edge in call.edges]
        if not edges or not self._scores:
            return
        reached = [self._trace.connected(scores, edges) for scores in self._scores]
        if not any(map(any, reached)):
            raise DisconnectedError(self._refusal(method, name, edges))
        note = _note(_named(name), reached)
        if note and note not in self._warned:
            self._warned.add(note)
            warn(f"{method}: {note}", DisconnectedWarning)

    def note_zeros(
        self, name: str, calls: Sequence[Sequence[Tensor]], count: int | None = None
    ) -> None:
        """Record the examples whose gradients at a tap point are all zero.

        Args:
            name: the tap point's name.
            calls: the gradients of each of its calls.
            count: the number of targets, if they are the first dimension of the gradients.
        """
        batch = self.inputs.batch_size
        gradients = [
            gradient if count is None else gradient.flatten(0, 1)
            for call in calls
            for gradient in call
        ]
        if gradients and all(len(gradient) == batch * (count or 1) for gradient in gradients):
            # Read only once all targets are done: a GPU would be waited for each time.
            rows = zero_rows(gradients)
            rows = rows if count is None else rows.view(count, batch).any(0)
            known = self._zeros.get(name)
            self._zeros[name] = rows if known is None else known | rows

    def warn_of_zeros(self, with_open_gates: Callable[[], Mapping[str, Tensor]]) -> None:
        """Warn of disconnected examples: their gradient is 0 even if every gate is open.

        Args:
            with_open_gates: returns for each tap point which examples have zeros then.
        """
        zeros = {name: _true_rows(rows) for name, rows in self._zeros.items()}
        if not any(zeros.values()):
            return
        still = with_open_gates()
        for name, examples in zeros.items():
            cut = [example for example in examples if bool(still[name][example].any())]
            if cut:
                warn(
                    f"the gradient with respect to {_named(name)} is exactly 0 for example"
                    f" {_listed(cut)}, though not because of closed ReLUs: the graph disconnects it"
                    " from the score, or a function is saturated or weights are 0 there. The zeros"
                    " do not show what the score depends on",
                    DisconnectedWarning,
                )

    @cached_property
    def _cause(self) -> str | None:
        return self._find_cause()

    def _refusal(self, method: str, name: str, edges: Sequence[GradientEdge | None]) -> Message:
        name = _named(name)
        if name != INPUTS and self._reaches_inputs:
            if not any(edges):
                return Message(
                    f"{method}: {name} ran under torch.no_grad(), so it gets no gradient"
                    " (torch.utils.checkpoint does that with use_reentrant=True: set it to False)"
                )
            return Message(
                f"{method}: the target does not depend on {name}, which is not on the path to it"
                " (an auxiliary head, another task's decoder); choose another layer or target"
            )
        because = self._cause or "the model's output was computed without it"
        return Message(
            f"{method} would be 0 everywhere, since the target is cut off from {name}: {because}",
            Hint(
                ways_out=[
                    WayOut("let gradients through there"),
                    WayOut("explain a value before it with {setting}", "output", FUNCTION),
                    WayOut("FeatureAblation, Occlusion and RISE need no gradient"),
                ]
            ),
        )

    @property
    def _reaches_inputs(self) -> bool:
        edges = self._trace.input_edges
        if any(edge is not None for edge in edges):
            return any(any(self._trace.connected(scores, edges)) for scores in self._scores)
        return self._cause == ""


def _named(name: str) -> str:
    return name if name == INPUTS else f"layer {name!r}"


def _note(name: str, reached: Sequence[Sequence[bool]]) -> str | None:
    """Return which targets, inputs or tensors get zeros, as a clause; `None` if none do."""
    cut = [number for number, row in enumerate(reached) if not any(row)]
    if cut:
        return f"target {_listed(cut)} does not depend on {name} by the graph, and gets zeros"
    columns = enumerate(zip(*reached, strict=True))
    unreached = [number for number, column in columns if not any(column)]
    if not unreached:
        return None
    kind = "input" if name == INPUTS else "tensor"
    of = "" if name == INPUTS else f" of {name}"
    return (
        f"the target does not depend on {kind} {_listed(unreached)}{of} by the graph, which gets"
        " zeros"
    )


def zero_rows(gradients: Sequence[Tensor]) -> Tensor:
    """Return for each example whether its gradients are all zero."""
    rows = [_is_zero(gradient.flatten(1)) for gradient in map(_with_columns, gradients)]
    return rows[0] if len(rows) == 1 else torch.stack(rows).all(0)


def _is_zero(rows: Tensor) -> Tensor:
    # Several times as fast as to compare each element.
    return rows.abs().amax(1) == 0 if rows.numel() else rows.new_ones(len(rows), dtype=torch.bool)


def _true_rows(rows: Tensor) -> list[int]:
    return [number for number, is_true in enumerate(rows.tolist()) if is_true]


def _with_columns(gradient: Tensor) -> Tensor:
    return gradient if gradient.dim() > 1 else gradient.unsqueeze(-1)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
