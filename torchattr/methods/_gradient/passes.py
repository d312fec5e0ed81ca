"""One forward that serves the backward passes of any number of methods and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.outputs import select_output
from torchattr.core.targets import Neuron, each, select_scores
from torchattr.core.types import Forward, OutputKey
from torchattr.errors import DisconnectedError, Message, NoRuleMatched
from torchattr.layers import (
    GATES,
    OPERATIONS,
    Call,
    Captured,
    LayerRule,
    RuleTable,
    TapPoint,
    Trace,
    gradients,
    why_disconnected,
)
from torchattr.methods._gradient.connections import ConnectionCheck, zero_rows
from torchattr.methods._gradient.forward_result import ForwardResult, Traceable
from torchattr.methods._gradient.neuron import last_call, neuron_place, select_neuron
from torchattr.methods._gradient.rows import need_rows, per_example


@dataclass(frozen=True)
class Pass:
    """A backward pass that a method asks for.

    Attributes:
        rules: its rules.
        place: where it is read: a module's output or input; `None` means the inputs of the model.
        name: what the place is called.
    """

    rules: RuleTable
    place: TapPoint | None = None
    name: str = "the inputs"


@dataclass(frozen=True)
class PassResult:
    """What a pass found, call by call of its place (the model's inputs have one call).

    Attributes:
        name: what the place is called.
        calls: the calls, whose values are detached.
        gradients: with regard to each of these values.
    """

    name: str
    calls: tuple[Captured, ...]
    gradients: tuple[tuple[Tensor, ...], ...]

    @property
    def values(self) -> tuple[tuple[Tensor, ...], ...]:
        return tuple(call.values for call in self.calls)


class Method(Protocol):
    """What a method must say to be served: its passes, and what it makes of them."""

    strict: bool

    @property
    def title(self) -> str: ...

    @property
    def table(self) -> RuleTable: ...

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any, **options: Any
    ) -> Sequence[Pass]: ...

    def combine(self, inputs: Inputs, found: Sequence[PassResult], **options: Any) -> Any: ...


@dataclass(frozen=True)
class MethodCall:
    """A method with the options of one call."""

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class SolveResult:
    """The results of all jobs.

    Attributes:
        results: one for each job; with several targets their tensors have one more dimension
            after the batch.
        targets: the single targets that were explained.
        scores: for each of them, one score per example.
        output: all the model's scores.
        trace: what ran.
        refused: the reasons of jobs that were left out, by position; their result is `None`.
    """

    results: list[Any]
    targets: list[Any]
    scores: list[Tensor]
    output: Tensor
    trace: ForwardResult
    refused: dict[int, Message]


def solve(
    model: Forward,
    inputs: Inputs,
    target: Any,
    arguments: Sequence[Any],
    jobs: Sequence[MethodCall],
    *,
    key: OutputKey = None,
    skip_refused: bool = False,
    warns_of_zeros: bool = True,
) -> SolveResult:
    """Run the model once and every pass of every job for every target.

    Examples with a gradient of nothing but zeros are said in a :class:`DisconnectedWarning`, unless
    they are expected.

    Raises:
        DisconnectedError: no target of a job depends on what it attributes to, by the graph; with
            `skip_refused` the job is left out and the reason noted.
        TargetError: the target does not fit the output, or that does not have one row for each
            example.
        NoRuleMatched: the rules of a job found nothing to rewrite; with `skip_refused` the job is
            left out and the reason noted.
    """
    plans = [
        list(job.method.passes(inputs, arguments, target=target, **job.options)) for job in jobs
    ]
    passes = [one for plan in plans for one in plan]
    run = _Forward(model, inputs, target, arguments, passes, key)
    check = ConnectionCheck(run.trace, inputs, run.scores, run.why_disconnected)
    refused = _demand(run.trace, jobs, plans, check, skip_refused)
    kept = [number for number in range(len(jobs)) if number not in refused]
    passes = [one for number in kept for one in plans[number]]
    rounds = []
    for number in range(len(run.targets)):
        found = run.back(number, passes)
        rounds.append([_result(jobs[k], inputs, plans[k], found) for k in kept])
        # Rules may well leave nothing; of a gradient that is strange.
        for one in passes if warns_of_zeros else ():
            if not one.rules:
                check.note_zeros(one.name, found[id(one)].gradients)
    check.warn_of_zeros(
        lambda: _zeros_with_open_gates(model, inputs, target, arguments, passes, key)
    )
    results: list[Any] = [None] * len(jobs)
    for number, column in zip(kept, zip(*rounds, strict=True), strict=True):
        results[number] = _stacked(list(column)) if run.several else column[0]
    scores = [values.detach() for values in run.scores]
    return SolveResult(results, run.targets, scores, run.output.detach(), run.trace, refused)


class _Forward:
    """A forward that is ready for the passes of each target."""

    def __init__(
        self,
        model: Forward,
        inputs: Inputs,
        target: Any,
        arguments: Sequence[Any],
        passes: Sequence[Pass],
        key: OutputKey,
    ) -> None:
        self._model, self._inputs, self._arguments, self._key = model, inputs, arguments, key
        self._tables = _distinct([one.rules for one in passes])
        self._neuron = neuron_place(model, target)
        self.trace = self._traced(passes)
        self.output = per_example(self.trace.output, inputs, model, arguments, key)
        self.targets, self.several = _targets(target, self.output)
        self.scores = [self._scores(single) for single in self.targets]
        need_rows(self.scores, inputs)

    def back(self, number: int, passes: Sequence[Pass]) -> dict[int, PassResult]:
        """Run one backward for each table from one of the targets."""
        more = number + 1 < len(self.targets)
        of_output = self._neuron is None
        scores, inputs = self.scores[number], self._inputs
        return _run(
            self.trace, inputs, scores, passes, self._tables, more=more, of_output=of_output
        )

    def why_disconnected(self) -> str | None:
        """Return what cut the scores off from the inputs."""
        return why_disconnected(
            self._model,
            self._inputs.tensors,
            self._arguments,
            lambda output: select_output(output, self._key),
        )

    def _traced(self, passes: Sequence[Pass]) -> ForwardResult:
        places = [one.place for one in passes if one.place]
        wanted: dict[str, Any] = {
            "tables": self._tables,
            "places": list(dict.fromkeys(places + ([self._neuron] if self._neuron else []))),
            "key": self._key,
            # What a module takes may have other uses, too: their gradient counts, so the graph must
            # begin above all of them.
            "from_inputs": any(one.place is None or one.place.of_input for one in passes),
        }
        tensors = self._inputs.tensors
        if isinstance(self._model, Traceable):
            of_output = self._neuron is None
            return self._model.trace(tensors, self._arguments, **wanted, of_output=of_output)
        return Trace(self._model, tensors, self._arguments, **wanted)

    def _scores(self, target: Any) -> Tensor:
        # The caller may be in no_grad or inference mode, where picking would cut the graph off.
        with gradients():
            if self._neuron is None:
                return select_scores(self.output, target)
            return select_neuron(last_call(self.trace, self._neuron), target.selector)


class _Open(LayerRule):
    """Lets everything through: what comes back then is 0 only where nothing leads back."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad


_OPEN: RuleTable = {name: _Open() for name, one in OPERATIONS.items() if one.kind in GATES}


def _zeros_with_open_gates(
    model: Forward,
    inputs: Inputs,
    target: Any,
    arguments: Sequence[Any],
    passes: Sequence[Pass],
    key: OutputKey,
) -> dict[str, Tensor]:
    """Return for each place which examples get nothing back though every activation is open."""
    opened = list({one.name: Pass(_OPEN, one.place, one.name) for one in passes}.values())
    run = _Forward(model, inputs, target, arguments, opened, key)
    zeros: dict[str, list[Tensor]] = {one.name: [] for one in opened}
    for number in range(len(run.targets)):
        for one in run.back(number, opened).values():
            gradients = [gradient for call in one.gradients for gradient in call]
            zeros[one.name].append(zero_rows(gradients))
    return {name: torch.stack(rows, 1) for name, rows in zeros.items()}


def _result(
    job: MethodCall, inputs: Inputs, plan: Sequence[Pass], found: Mapping[int, PassResult]
) -> Any:
    return job.method.combine(inputs, [found[id(one)] for one in plan], **job.options)


def _demand(
    trace: ForwardResult,
    jobs: Sequence[MethodCall],
    plans: Sequence[Sequence[Pass]],
    check: ConnectionCheck,
    skip: bool,
) -> dict[int, Message]:
    reasons = [
        _refusal(trace, job, plan, check, skip) for job, plan in zip(jobs, plans, strict=True)
    ]
    return {number: reason for number, reason in enumerate(reasons) if reason}


def _refusal(
    trace: ForwardResult, job: MethodCall, plan: Sequence[Pass], check: ConnectionCheck, skip: bool
) -> Message | None:
    try:
        for one in plan:
            check.demand(job.method.title, one.name, _calls(trace, check.inputs, one))
            trace.coverage.demand(one.rules, job.method.title, strict=job.method.strict)
    except (NoRuleMatched, DisconnectedError) as reason:
        if not skip:
            raise
        return reason.message
    return None


def _targets(target: Any, output: Tensor) -> tuple[list[Any], bool]:
    return ([target], False) if isinstance(target, Neuron) else each(target, output)


def _run(
    trace: ForwardResult,
    inputs: Inputs,
    scores: Tensor,
    passes: Sequence[Pass],
    tables: Sequence[RuleTable],
    *,
    more: bool,
    of_output: bool,
) -> dict[int, PassResult]:
    """Run one backward for each table, reading all the passes that share it."""
    found: dict[int, PassResult] = {}
    for number, table in enumerate(tables):
        sharing = [one for one in passes if _same(one.rules, table)]
        calls = [_calls(trace, inputs, one) for one in sharing]
        edges = [edge for group in calls for call in group for edge in call.edges]
        keep = more or number + 1 < len(tables)
        gradients = iter(
            trace.gradients(scores, edges, table=number, keep=keep, of_output=of_output)
        )
        for one, group in zip(sharing, calls, strict=True):
            found[id(one)] = _found(one.name, group, gradients)
    return found


def _calls(trace: ForwardResult, inputs: Inputs, one: Pass) -> list[Captured]:
    if one.place is None:
        form = tuple(range(len(inputs.tensors)))
        return [Captured(inputs.tensors, tuple(trace.input_edges), form)]
    last_call(trace, one.place)
    return trace.calls(one.place)


def _found(name: str, calls: Sequence[Captured], remaining: Iterator[Tensor | None]) -> PassResult:
    gradients = []
    for call in calls:
        got = [next(remaining) for _ in call.edges]
        gradients.append(
            tuple(
                torch.zeros_like(value) if gradient is None else gradient
                for value, gradient in zip(call.values, got, strict=True)
            )
        )
    detached = [
        replace(call, values=tuple(value.detach() for value in call.values)) for call in calls
    ]
    return PassResult(name, tuple(detached), tuple(gradients))


def _distinct(tables: Sequence[RuleTable]) -> list[RuleTable]:
    found: list[RuleTable] = []
    for table in tables:
        if not any(_same(table, other) for other in found):
            found.append(table)
    return found


def _same(one: RuleTable, other: RuleTable) -> bool:
    return {name: _identity(rule) for name, rule in one.items()} == {
        name: _identity(rule) for name, rule in other.items()
    }


def _identity(rule: LayerRule) -> Any:
    return id(rule) if vars(rule) else type(rule)


def _stacked(results: list[Any]) -> Any:
    """Put the results of several targets side by side, in a dimension after the batch."""
    first = results[0]
    if isinstance(first, Tensor):
        return torch.stack(results, dim=1)
    if isinstance(first, dict):
        return {key: _stacked([result[key] for result in results]) for key in first}
    return tuple(_stacked(list(column)) for column in zip(*results, strict=True))
