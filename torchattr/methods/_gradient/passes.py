"""One forward that serves the backward passes of any number of methods and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from torchattr.core.arguments import check_model
from torchattr.core.device_faults import raise_if_lost
from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs
from torchattr.core.outputs import select_output
from torchattr.core.pytree import joined, with_tensors
from torchattr.core.targets import each
from torchattr.core.types import Forward, OutputKey
from torchattr.errors import DisconnectedError, Message, NoRuleMatched, TorchattrError
from torchattr.layers import (
    Captured,
    CheckedTable,
    GraphTrace,
    RuleTable,
    Tap,
    why_disconnected,
)
from torchattr.methods._gradient.backward_pass import (
    Pass,
    PassResult,
    calls_of,
    distinct_tables,
    edges_of,
    pass_results,
    same_rules,
)
from torchattr.methods._gradient.connections import OPEN_GATES, ConnectionCheck, zero_rows
from torchattr.methods._gradient.forward_result import ForwardResult
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._gradient.rounds import Round, seeds_of, targets_at_once
from torchattr.methods._gradient.rows import per_example, require_rows
from torchattr.methods._gradient.run_forward import run_forward
from torchattr.methods._gradient.target_reader import TargetReader


class Method(Protocol):
    """What `solve` needs of a method: its passes, and how it combines their results."""

    strict: bool

    @property
    def combines_at_once(self) -> bool: ...

    @property
    def title(self) -> str: ...

    @property
    def table(self) -> RuleTable: ...

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any, **options: Any
    ) -> Sequence[Pass]: ...

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any: ...


@dataclass(frozen=True)
class MethodCall:
    """A method, and the options of its `attribute` for one call.

    Attributes:
        method: the method.
        options: the options.
        allows_unused: whether layers that the target does not depend on get zeros.
    """

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)
    allows_unused: bool = False


@dataclass(frozen=True)
class SolveResult:
    """The results of all method calls.

    Attributes:
        results: the result of each call; with several targets, its tensors have one more dimension
            after the batch.
        targets: the single targets that were explained.
        scores: for each target, one score per example.
        output: all scores of the model.
        trace: the forward.
        refused: why calls were omitted, by position; their result is `None`.
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
    calls: Sequence[MethodCall],
    *,
    key: OutputKey = None,
    skip_refused: bool = False,
    warns_of_zeros: bool = True,
    memory: Memory = "auto",
) -> SolveResult:
    """Run the model forward once, and every pass of every method backward for every target.

    A :class:`DisconnectedWarning` names examples whose gradient is exactly zero everywhere, unless
    zeros are expected.

    Args:
        model: the model.
        inputs: its inputs.
        target: what is explained, of any kind.
        arguments: further arguments of the model.
        calls: the methods, with their options.
        key: which entry of the output holds the scores.
        skip_refused: omit the calls that raise :class:`NoRuleMatched` or
            :class:`DisconnectedError`, and record the reasons.
        warns_of_zeros: whether to warn of gradients of zeros.
        memory: how much the forward may remember.

    Raises:
        InputTypeError: the model cannot be called.
        DeviceLost: the GPU's context was lost in the forward or in a backward.
        DisconnectedError: the graph connects no target of a call with what it attributes to.
        TargetError: the target does not fit the output, or the output does not have one row for
            each example.
        NoRuleMatched: the rules of a call rewrote nothing.
    """
    check_model(model)
    problem = _Problem(model, inputs, target, arguments, key, memory)
    options = {"skip_refused": skip_refused, "warns_of_zeros": warns_of_zeros}
    try:
        return _solve(problem, calls, **options)
    except RuntimeError as error:
        raise_if_lost(error)
        if memory == "lean" or isinstance(error, TorchattrError):
            raise
    # PyTorch's own graph may be too large, or used up by gradients that the forward takes itself.
    return _solve(replace(problem, memory="lean"), calls, **options)


def _solve(
    problem: _Problem, calls: Sequence[MethodCall], *, skip_refused: bool, warns_of_zeros: bool
) -> SolveResult:
    inputs, arguments, target = problem.inputs, problem.arguments, problem.target
    asked = [
        list(call.method.passes(inputs, arguments, target=target, **call.options)) for call in calls
    ]
    forward = _Forward(problem, [request for passes in asked for request in passes])
    check = ConnectionCheck(forward.trace, inputs, forward.scores, forward.why_disconnected)
    reasons = [
        _refusal(forward.trace, call, passes, check, skip=skip_refused)
        for call, passes in zip(calls, asked, strict=True)
    ]
    served = [number for number, reason in enumerate(reasons) if reason is None]
    passes = [request for number in served for request in asked[number]]
    demanding = (number for number in served if not calls[number].allows_unused)
    # In order: of two passes of one name, the later one tells which examples are disconnected.
    used = list(dict.fromkeys(request for number in demanding for request in asked[number]))
    parts: dict[int, list[Any]] = {number: [] for number in served}
    for one in forward.rounds(passes):
        for k in served:
            parts[k] += _combined(calls[k], inputs, one, asked[k], several=forward.several)
        # Rules may legitimately leave only zeros; a plain gradient of zeros is suspicious.
        for request in used if warns_of_zeros else ():
            if request.required and not request.rules:
                check.note_zeros(request.name, one.results[request].gradients, one.count)
    check.warn_of_zeros(lambda: _zeros_with_open_gates(problem, used))
    results: list[Any] = [None] * len(calls)
    for number, of_call in parts.items():
        results[number] = _joined(of_call, several=forward.several)
    scores = [values.detach() for values in forward.scores]
    output = forward.output.detach()
    refused = {number: reason for number, reason in enumerate(reasons) if reason is not None}
    return SolveResult(results, forward.targets, scores, output, forward.trace, refused)


@dataclass(frozen=True)
class _Problem:
    """The model, its inputs and the target."""

    model: Forward
    inputs: Inputs
    target: Any
    arguments: Sequence[Any]
    key: OutputKey
    memory: Memory


class _Forward:
    """A forward that is ready for the given passes, from each single target."""

    def __init__(self, problem: _Problem, passes: Sequence[Pass]) -> None:
        self._problem = problem
        self._tables = distinct_tables([request.rules for request in passes])
        self._reader = TargetReader(problem.model, problem.target)
        self.trace = self._traced(passes)
        self.output = per_example(
            self.trace.output, problem.inputs, problem.model, problem.arguments, problem.key
        )
        self.targets, self.several = each(problem.target, self.output)
        # The caller may be in no_grad or inference mode, where indexing would leave the graph.
        with gradients():
            self.scores = [
                self._reader.read(self.trace, self.output, single) for single in self.targets
            ]
        require_rows(self.scores, problem.inputs)

    def rounds(self, passes: Sequence[Pass]) -> Iterator[Round]:
        """Run the backwards from all targets, several at once where that is possible."""
        done = 0
        if len(self.targets) > 1 and isinstance(self.trace, GraphTrace):
            for one in self._together(self.trace, passes):
                done += one.count or 1
                yield one
        for number in range(done, len(self.targets)):
            yield Round(self.back(number, passes))

    def _together(self, trace: GraphTrace, passes: Sequence[Pass]) -> Iterator[Round]:
        """Run backwards from several targets each, up to the first that cannot be run so."""
        size = self._at_once(trace, passes)
        seeds = seeds_of(self.output, self.targets) if size > 1 else None
        # Out of memory, or code of the model's that runs in the backward: one at a time.
        try:
            for number, some in enumerate(() if seeds is None else seeds.split(size)):
                yield self._back_together(trace, some, passes, number * size)
        except RuntimeError as error:
            raise_if_lost(error)

    def back(self, number: int, passes: Sequence[Pass]) -> dict[Pass, PassResult]:
        """Run one backward for each rule table from one of the targets."""
        results: dict[Pass, PassResult] = {}
        for position, sharing in self._by_table(passes):
            last = position + 1 == len(self._tables) and number + 1 == len(self.targets)
            calls = self._calls(sharing)
            found = self.trace.gradients(
                self.scores[number],
                edges_of(calls),
                table=position,
                keep=not last,
                of_output=self._reader.reads_output,
            )
            calls = self._factors(calls, position)
            results |= pass_results(sharing, calls, found, self.scores[number].detach())
        return results

    def _back_together(
        self, trace: GraphTrace, seeds: Tensor, passes: Sequence[Pass], first: int
    ) -> Round:
        """Run one backward for each rule table from several gradients of the output.

        Args:
            trace: the forward.
            seeds: the gradients.
            passes: the passes.
            first: the number of the first target.
        """
        results: dict[Pass, PassResult] = {}
        scores = torch.stack([one.detach() for one in self.scores[first : first + len(seeds)]])
        for position, sharing in self._by_table(passes):
            calls = self._calls(sharing)
            edges = edges_of(calls)
            found = trace.gradients_of_several(self.output, seeds, edges, table=position)
            calls = self._factors(calls, position)
            results |= pass_results(sharing, calls, found, scores, (len(seeds),))
        return Round(results, len(seeds))

    def _at_once(self, trace: GraphTrace, passes: Sequence[Pass]) -> int:
        """Return the number of targets that one backward of each table can serve."""
        if not self._reader.reads_output:
            return 1
        largest = 1
        for position, sharing in self._by_table(passes):
            size = trace.largest_gradient(edges_of(self._calls(sharing)), position)
            if size is None:
                return 1
            largest = max(largest, size)
        return targets_at_once(largest, self.output.device)

    def _by_table(self, passes: Sequence[Pass]) -> list[tuple[int, list[Pass]]]:
        """Return the passes that share a backward, by the position of their table."""
        shared = [
            (position, [request for request in passes if same_rules(request.rules, table)])
            for position, table in enumerate(self._tables)
        ]
        return [(position, sharing) for position, sharing in shared if sharing]

    def _calls(self, passes: Sequence[Pass]) -> list[list[Captured]]:
        return [calls_of(self.trace, self._problem.inputs, request) for request in passes]

    def _factors(self, calls: list[list[Captured]], table: int) -> list[list[Captured]]:
        """Return calls with what their gradients are multiplied by where that is not the values."""
        return [[self.trace.factors(call, table) for call in group] for group in calls]

    def why_disconnected(self) -> str | None:
        """Return what disconnected the scores from the inputs."""
        return why_disconnected(
            self._problem.model,
            self._problem.inputs.tensors,
            self._problem.arguments,
            lambda output: select_output(output, self._problem.key),
        )

    def _traced(self, passes: Sequence[Pass]) -> ForwardResult:
        taps: list[Tap] = [request.tap for request in passes if request.tap]
        taps += self._reader.taps
        model, tensors, arguments = (
            self._problem.model,
            self._problem.inputs.tensors,
            self._problem.arguments,
        )
        return run_forward(
            model,
            tensors,
            arguments,
            tables=self._tables,
            taps=list(dict.fromkeys(taps)),
            key=self._problem.key,
            # A module's input may have other uses, too: their gradient counts, so the graph must
            # begin above all of them.
            from_inputs=any(request.tap is None or request.tap.of_input for request in passes)
            # The reference of a comparison was run from the inputs on.
            or any(isinstance(table, CheckedTable) for table in self._tables),
            of_output=self._reader.reads_output,
            memory=self._problem.memory,
        )


def _zeros_with_open_gates(problem: _Problem, passes: Sequence[Pass]) -> dict[str, Tensor]:
    """Return for each tap point which examples get only zeros although every activation is open."""
    taps = {request.name: request.tap for request in passes}
    opened = [Pass(OPEN_GATES, tap, name) for name, tap in taps.items()]
    forward = _Forward(problem, opened)
    zeros: dict[str, list[Tensor]] = {request.name: [] for request in opened}
    for number in range(len(forward.targets)):
        for result in forward.back(number, opened).values():
            zeros[result.name].append(zero_rows([g for call in result.gradients for g in call]))
    return {name: torch.stack(rows, 1) for name, rows in zeros.items()}


def _combined(
    call: MethodCall, inputs: Inputs, one: Round, asked: Sequence[Pass], *, several: bool
) -> list[Any]:
    """Return a call's results for the targets of one round, as :meth:`Round.combined` does."""
    combine = partial(call.method.combine, inputs, **call.options)
    parts = one.combined(combine, asked, at_once=call.method.combines_at_once)
    if several and one.count is None:
        return [with_tensors(part, lambda tensor: tensor.unsqueeze(1)) for part in parts]
    return parts


def _refusal(
    trace: ForwardResult,
    call: MethodCall,
    passes: Sequence[Pass],
    check: ConnectionCheck,
    *,
    skip: bool,
) -> Message | None:
    """Return why a call cannot be served, if so; raise unless it may be skipped."""
    try:
        for request in passes:
            if request.required and not call.allows_unused:
                found = calls_of(trace, check.inputs, request)
                check.demand(call.method.title, request.name, found)
            trace.coverage.demand(request.rules, call.method.title, strict=call.method.strict)
    except (NoRuleMatched, DisconnectedError) as reason:
        if not skip:
            raise
        return reason.message
    return None


def _joined(parts: Sequence[Any], *, several: bool) -> Any:
    """Put the results of all targets side by side; the only one has no such dimension."""
    return joined(parts, lambda tensors: torch.cat(tensors, dim=1)) if several else parts[0]
