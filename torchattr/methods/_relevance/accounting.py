"""Runs one example at a time and notes where its relevance stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs, map_batched
from torchattr.core.targets import each, plain
from torchattr.core.types import Forward, OutputKey
from torchattr.layers import Captured, Composite, LedgerBook, Trace, gradients
from torchattr.methods._gradient.rows import per_example
from torchattr.methods._gradient.target_reader import TargetReader
from torchattr.methods._relevance.ledger import Ledger


@dataclass(frozen=True)
class Accounting:
    """What is explained, and by which rules.

    Attributes:
        model: the model.
        composite: the rules.
        key: which entry of the output holds the scores.
        starts_at_one: whether each score counts as 1.
    """

    model: Forward
    composite: Composite
    key: OutputKey
    starts_at_one: bool

    def ledgers(self, inputs: Inputs, target: Any, arguments: Sequence[Any]) -> list[Any]:
        """Return the ledger of each example; for several targets, a list of them."""
        found = []
        for number in range(inputs.batch_size):
            one = slice(number, number + 1)
            example = Inputs(tuple(tensor[one] for tensor in inputs.tensors), inputs.is_tuple)
            given = map_batched(arguments, inputs.batch_size, itemgetter(one))
            of_one = list(self._of_example(example, _of_row(target, number), given))
            found.append(of_one if len(of_one) > 1 else of_one[0])
        return found

    def _of_example(
        self, example: Inputs, target: Any, arguments: Sequence[Any]
    ) -> Iterator[Ledger]:
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
        with gradients():
            scores = [reader.read(trace, output, one) for one in each(target, output)[0]]
        given = Captured(example.tensors, tuple(trace.input_edges))
        factors = trace.factors(given, 0).values
        for score in scores:
            found = trace.gradients(score, trace.input_edges, of_output=reader.reads_output)
            yield self._ledger(float(score.detach()), factors, found, book)

    def _ledger(
        self,
        score: float,
        factors: Sequence[Tensor],
        found: Sequence[Tensor | None],
        book: LedgerBook,
    ) -> Ledger:
        pairs = zip(factors, found, strict=True)
        shares = [factor * grad for factor, grad in pairs if grad is not None]
        unit = score if self.starts_at_one else 1.0
        reached = sum(float(share.double().sum()) for share in shares)
        entries = tuple(entry.scaled(1 / unit) for entry in book.entries if entry.amount)
        return Ledger(score / unit, reached / unit, entries)


def _of_row(target: Any, number: int) -> Any:
    """Return the target of one example of a batch."""
    target = plain(target)
    has_rows = isinstance(target, list) or (isinstance(target, Tensor) and target.dim() > 0)
    return target[number : number + 1] if has_rows else target
