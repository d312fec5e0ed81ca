"""Runs one example at a time and notes where its relevance stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs
from torchattr.core.outputs import select_output
from torchattr.core.targets import each
from torchattr.core.types import Forward, OutputKey
from torchattr.errors import InputError, ModelError
from torchattr.layers import (
    Captured,
    Composite,
    Coverage,
    LedgerBook,
    Trace,
    why_disconnected,
)
from torchattr.methods._gradient.backward_pass import (
    Pass,
    PassResult,
    calls_of,
    edges_of,
    pass_results,
)
from torchattr.methods._gradient.connections import ConnectionCheck
from torchattr.methods._gradient.rows import per_example, require_rows
from torchattr.methods._gradient.target_reader import TargetReader
from torchattr.methods._perturbation.memory_budget import has_fixed_batch
from torchattr.methods._relevance.batch_scores import BatchScores
from torchattr.methods._relevance.example import ExampleAlone
from torchattr.methods._relevance.ledger import Ledger


@dataclass(frozen=True)
class Accounted:
    """One example, or a batch that the forward aggregates, run once.

    Attributes:
        inputs: the example.
        results: what the backward from each target found at the inputs.
        ledgers: where the rest of each score went.
        several: whether there may be several targets.
        coverage: what ran and what was rewritten.
        unknown: the operations that took or added relevance and are neither linear nor known.
    """

    inputs: Inputs
    results: Sequence[PassResult]
    ledgers: list[Ledger]
    several: bool
    coverage: Coverage
    unknown: Sequence[str]


@dataclass(frozen=True)
class Accounting:
    """What is explained, and by which rules.

    Attributes:
        model: the model.
        composite: the rules.
        key: which entry of the output holds the scores.
        starts_at_one: whether each score counts as 1.
        title: what needs the graph to connect the target with the inputs, for messages.
    """

    model: Forward
    composite: Composite
    key: OutputKey
    starts_at_one: bool
    title: str

    def of_each(self, inputs: Inputs, target: Any, arguments: Sequence[Any]) -> list[Accounted]:
        """Run each example of a batch once, by itself.

        The batch runs without a graph before, which makes the choices of the target and shows
        whether the forward aggregates the batch: it then has one score, and one account.

        Raises:
            DisconnectedError: the graph does not connect the target with the inputs.
            InputError: a score that counts as 1 is 0.
            ModelError: the model does not take single examples.
            TargetError: the target does not fit the output.
        """
        count = inputs.batch_size
        if count < 2:
            return [self.of_example(inputs, target, arguments)] if count else []
        batch = BatchScores.of(self.model, inputs, target, arguments, self.key)
        if batch.aggregates:
            return [self.of_example(inputs, target, arguments)]
        if has_fixed_batch(self.model):
            raise ModelError(
                f"a ledger runs each of the {count} examples by itself, but the model was exported"
                " for batches of one size; export it with a batch of any size (dynamic_shapes)"
            )
        found = []
        for number in range(count):
            one = ExampleAlone(number, count)
            alone = replace(self, composite=self.composite.of_example(number, count))
            of_one = one.of_target(batch.target), one.of_arguments(arguments)
            found.append(alone.of_example(one.of_inputs(inputs), *of_one))
        batch.compare([[result.scores for result in one.results] for one in found])
        return found

    def of_example(self, example: Inputs, target: Any, arguments: Sequence[Any]) -> Accounted:
        """Run one example.

        Raises:
            DisconnectedError: as :meth:`of_each`.
            InputError: as :meth:`of_each`.
            TargetError: the output does not have one row for the example.
        """
        book = LedgerBook(whole=True)
        reader = TargetReader(self.model, target)
        trace = Trace(
            self.model,
            example.tensors,
            arguments,
            tables=[self.composite],
            taps=reader.taps,
            key=self.key,
            book=book,
        )
        output = per_example(trace.output, example, self.model, arguments, self.key)
        targets, several = each(target, output)
        with gradients():
            scores = [reader.read(trace, output, one) for one in targets]
        require_rows(scores, example)
        self._demand_connection(trace, example, arguments, scores)
        asked = Pass(self.composite)
        calls = [trace.factors(call, 0) for call in calls_of(trace, example, asked)]
        results, ledgers, unknown = list[PassResult](), list[Ledger](), list[str]()
        for number, score in enumerate(scores):
            found = trace.gradients(
                score,
                edges_of([calls]),
                keep=number + 1 < len(scores),
                of_output=reader.reads_output,
            )
            result = pass_results([asked], [calls], found, score.detach())[asked]
            results.append(result)
            ledgers.append(self._ledger(result, book))
            unknown += trace.unknown
        return Accounted(example, results, ledgers, several, trace.coverage, unknown)

    def _demand_connection(
        self, trace: Trace, example: Inputs, arguments: Sequence[Any], scores: Sequence[Tensor]
    ) -> None:
        check = ConnectionCheck(
            trace,
            example,
            scores,
            lambda: why_disconnected(
                self.model,
                example.tensors,
                arguments,
                lambda output: select_output(output, self.key),
            ),
        )
        form = tuple(range(len(example.tensors)))
        inputs = Captured(example.tensors, tuple(trace.input_edges), form)
        check.demand(self.title, "the inputs", [inputs])

    def _ledger(self, result: PassResult, book: LedgerBook) -> Ledger:
        score = result.scores
        pairs = zip(result.values[0], result.gradients[0], strict=True)
        shares = [factor * grad for factor, grad in pairs]
        if self.starts_at_one:
            refuse_zero(score, "start='one'", "use start='score'")
        unit = float(score) if self.starts_at_one else 1.0
        reached = sum(float(share.double().sum()) for share in shares)
        entries = tuple(entry.scaled(1 / unit) for entry in book.entries if entry.amount)
        return Ledger(float(score) / unit, reached / unit, entries)


def refuse_zero(scores: Tensor, setting: str, way_out: str) -> None:
    """Check that no score that shall count as 1 is 0.

    Args:
        scores: the scores.
        setting: what makes them count as 1.
        way_out: what to do instead.

    Raises:
        InputError: one is.
    """
    if bool((scores == 0).any()):
        raise InputError(
            f"{setting} divides by the score, which is 0 for at least one example; {way_out}"
        )
