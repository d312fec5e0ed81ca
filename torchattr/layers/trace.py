"""A forward whose operations all run under the rule mode, in the least memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo
from torchattr.layers.arrangement import Currency, arrange
from torchattr.layers.autograd import runs_rules
from torchattr.layers.backward import GradientInside, InnerGradients
from torchattr.layers.capture import Captured
from torchattr.layers.composite import CheckedTable, Composite
from torchattr.layers.graph import needs_copies, nodes_of, prepare_backward, readers_of
from torchattr.layers.graph_trace import ForwardCall, GraphTrace, Tap
from torchattr.layers.guards import RandomState, enter_mode, refuse_scripted
from torchattr.layers.layouts.tracker import LayoutTracker
from torchattr.layers.ledger import LedgerBook, refuse_unknown
from torchattr.layers.mode import RuleMode
from torchattr.layers.registry import RuleTable


class Trace(GraphTrace):
    """Runs the model once under the rule mode, in the least memory.

    Args:
        model: the module or function to run.
        inputs: its attributed inputs.
        arguments: its further positional arguments, which are not attributed.
        tables: the rules of each backward that may follow.
        taps: tap points whose values are recorded.
        key: which entry of the model's output holds the scores.
        from_inputs: whether gradients reach the inputs; otherwise they end at the first tap point,
            unless its values have other uses than its output, or a table is a composite: the places
            of its rules are those in the whole graph.
        differentiable: whether to build a graph at all.
        tracked: called with the layout tracker when the forward begins.
        book: notes where relevance stays; without one, operations that are not known are measured
            where a table is a composite.

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
        taps: Sequence[Tap] = (),
        key: OutputKey = None,
        from_inputs: bool = True,
        differentiable: bool = True,
        tracked: Callable[[LayoutTracker], None] | None = None,
        book: LedgerBook | None = None,
    ) -> None:
        if differentiable or taps:
            refuse_scripted(model)
        super().__init__(taps, differentiable=differentiable)
        self._tables = tables
        composites = [table for table in tables if isinstance(table, Composite)]
        self._book = LedgerBook(whole=False) if composites and book is None else book
        self._currencies: dict[int, Currency] = {}
        self._run_until_complete(
            ForwardCall(model, inputs, arguments, key, tracked),
            (from_inputs or bool(composites)) and differentiable,
        )
        self.coverage = self._mode.coverage
        if differentiable:
            self._inspect_graph(model)
        else:
            self.coverage.total()

    def _inspect_graph(self, model: Forward) -> None:
        """Count what ran, and prepare the backwards."""
        if self.output.grad_fn is None:
            self.coverage.total()
            return
        recorded, readers = self._recorder.recorded(), self._readers()
        self.coverage.inspect(nodes_of(self.output) if recorded else readers)
        self.coverage.total(readers)
        self._arrange(model)
        for table in self._tables:
            if isinstance(table, CheckedTable):
                table.check((self.output, *recorded))
        if not self._mode.hooked:
            prepare_backward(self.output, readers)

    def _readers(self) -> dict[Any, list[Any]]:
        """Return the readers of each node's gradient; `None` where it may be read."""
        readers = readers_of(self.output, *self._recorder.recorded())
        for node in self._recorder.edge_nodes():
            if node in readers:
                readers[node].append(None)
        return readers

    def _arrange(self, model: Forward) -> None:
        """Tell the rules of composites about their places."""
        for number, table in enumerate(self._tables):
            if isinstance(table, Composite):
                state = self._mode.backward_state
                self._currencies[number] = arrange(self.output, number, table, model, state)

    def factors(self, call: Captured, table: int) -> Captured:
        """Return a call with factors instead of values: times gradients they are relevance.

        Under a table that is no composite they are the values.

        Args:
            call: a recorded call, with its values.
            table: the position of the rules among `tables`.
        """
        currency = self._currencies.get(table)
        if currency is None:
            return call
        found = tuple(map(currency.factor, call.values, call.edges))
        return replace(call, values=found)

    def _run_until_complete(self, call: ForwardCall, follow: bool) -> None:
        """Run forward, again if it takes gradients itself or its graph must begin further up."""
        # Without a graph of ours, the forward may still take gradients of its own.
        inside = InnerGradients.NONE if self._differentiable else InnerGradients.ANY
        draws, written = RandomState(call.inputs), frozenset[str]()
        while True:
            self._mode = RuleMode(self._tables, call.model, inside, self._book, written)
            with suppress(GradientInside):
                self.output = self._run(call, follow)
            if self._mode.backward_state.inner is not inside:
                inside = self._mode.backward_state.inner
            elif self._differentiable and not follow and self._recorder.may_miss_uses():
                follow = True
            elif self._written_over() <= written:
                break
            else:
                written |= self._written_over()
            draws.restore()
        # A checkpointed part runs again in each backward.
        self._mode.counting = False

    def _written_over(self) -> frozenset[str]:
        """Return the operations after which the model wrote over what their rules saved."""
        if self._mode.backward_state.written is None:
            return frozenset()
        readers = self._readers()
        readers.setdefault(self.output.grad_fn, []).append(None)
        called = [node for node in nodes_of(self.output) if runs_rules(node)]
        written = [node.state.call for node in called if needs_copies(node, readers)]
        return frozenset(call.operation.name for call in written)

    def _watch_forward(self, model: Forward, undo: Undo) -> None:
        enter_mode(undo, self._mode)
        if self._book is not None and (self._book.whole or self._mode.follows_modules):
            self._book.layers.follow(undo, model)

    def _apply_rules(
        self,
        undo: Undo,
        table: int,
        wanted: Sequence[GradientEdge],
        *,
        of_output: bool,
        keep: bool,
    ) -> None:
        backward, nodes = self._mode.backward_state, [edge.node for edge in wanted]
        backward.table, backward.readers_known = table, of_output
        backward.keep = keep
        undo.later(backward.arrivals.clear)
        if self._book is not None:
            currency = self._currencies.get(table)
            self._book.begin(() if currency is None else currency.paid_out)
            if self._mode.follows_modules:
                self._book.layers.repeat(undo)
        backward.read = frozenset(id(node.state.call.readers) for node in nodes if runs_rules(node))
        enter_mode(undo, self._mode)

    def _check(self, table: int) -> None:
        rules = self._tables[table]
        if self._book is None or not isinstance(rules, Composite):
            return
        self._book.end()
        if self.unknown and not self._book.whole:
            refuse_unknown(self.unknown, strict=rules.strict)

    @property
    def unknown(self) -> list[str]:
        """What took or added relevance in the last backward and is neither linear nor known."""
        measured = [] if self._book is None else self._book.unknown
        custom = [f"the custom function {name}" for name in self.coverage.custom]
        return [entry.operation for entry in measured] + custom
