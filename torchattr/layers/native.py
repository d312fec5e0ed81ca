"""A forward without any mode, whose rules hang on the graph that PyTorch's own nodes make.

Nothing runs in Python but the model itself, so that small batches do not wait for it; PyTorch
remembers what its own gradients need, which is several times what the rules need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from torchattr.core.functorch import is_transformed
from torchattr.core.torch_private import AccumulateGrad, function_mode_stack
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo
from torchattr.layers.capture import TapPoint
from torchattr.layers.coverage import Coverage
from torchattr.layers.graph_trace import GraphTrace
from torchattr.layers.guards import named_modules_of, random_state, refuse_scripted
from torchattr.layers.nodes import UnknownNode, operation_of
from torchattr.layers.operations.operation import OPERATIONS
from torchattr.layers.registry import RuleTable, default_rule
from torchattr.layers.rule import has_native_form, hook_of

_Nodes: TypeAlias = Mapping[str, list[Any]]


class NotNative(Exception):
    """The model, its graph or a rule needs the mode; the message says why.

    Args:
        reason: why, as a clause.
        is_of_graph: whether it lies in what the model runs, so that it will be so again.
    """

    def __init__(self, reason: str, *, is_of_graph: bool = False) -> None:
        super().__init__(reason)
        self.is_of_graph = is_of_graph


class NativeTrace(GraphTrace):
    """Runs the model as it is, and hangs rules on the nodes of its graph.

    Args:
        model: the module or function to run.
        inputs: its attributed inputs.
        arguments: its further positional arguments, which are not attributed.
        tables: the rules of each backward that may follow.
        taps: modules whose inputs or outputs are recorded.
        key: which entry of the model's output holds the scores.
        from_inputs: follow gradients down to the inputs; otherwise only down to the first tap
            point, unless its values have uses beside what it gives.

    Raises:
        ScriptedModelError: a part of the model hides its operations.
        NotNative: it is not certain that this would be what :class:`Trace` gives.
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
    ) -> None:
        refuse_scripted(model)
        super().__init__(model, inputs, arguments, taps=taps, key=key)
        _require_native_rules(tables)
        _require_plain_model(model, taps)
        if not all(tensor.is_floating_point() for tensor in inputs):
            raise NotNative("some input has no gradient, so the graph does not begin at the inputs")
        self._tables = tables
        draw_again = random_state(inputs)
        try:
            # The graph begins at the parameters in any case, so it costs nothing to begin it at the
            # inputs: what has uses elsewhere is found then.
            self.output = self._run(follow=True)
            graph = _read_graph(self._ends(), self._sources(from_inputs), tables)
        except (UnknownNode, RuntimeError) as reason:
            draw_again()
            is_of_graph = isinstance(reason, UnknownNode)
            raise NotNative(str(reason), is_of_graph=is_of_graph) from reason
        self.coverage, self._nodes, above = graph
        self._above_inputs = above if from_inputs else frozenset()

    def _ends(self) -> list[Any]:
        """Return the nodes where gradients may start."""
        tensors = [self.output, *self._recorder.recorded()]
        return [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]

    def _sources(self, from_inputs: bool) -> set[Any]:
        """Return the nodes where gradients may be read."""
        edges = (
            self.input_edges if from_inputs else [e for _, call in self.order for e in call.edges]
        )
        return {edge.node for edge in edges if edge is not None}

    def connected(self, scores: Tensor, edges: Sequence[GradientEdge | None]) -> tuple[bool, ...]:
        # With one entry to the graph, what depends on any depends on it.
        if edges == self.input_edges and len(edges) == 1 and scores.grad_fn in self._above_inputs:
            return (True,)
        return super().connected(scores, edges)

    def _run_until_complete(self, follow: bool, draw_again: Any) -> None:
        self.output = self._run(follow)
        if not follow and self._recorder.may_miss_uses():
            draw_again()
            self.output = self._run(follow=True)

    def _watch_forward(self, undo: Undo) -> None:
        """Leave the model alone."""

    def _apply_rules(
        self, undo: Undo, table: int, wanted: Sequence[GradientEdge], of_output: bool
    ) -> None:
        for operation, rule in self._tables[table].items():
            hook = hook_of(rule)
            if hook is not None:
                handles = [hook(node) for node in self._nodes.get(operation, ())]
                undo.later(partial(_remove, handles))


def _remove(handles: Sequence[Any]) -> None:
    for handle in handles:
        handle.remove()


def _require_native_rules(tables: Sequence[RuleTable]) -> None:
    for table in tables:
        for operation, rule in table.items():
            if not has_native_form(rule):
                raise NotNative(
                    f"the rule {type(rule).__name__} for {operation} has no native form"
                )
    for operation in OPERATIONS:
        default = default_rule(operation)
        if default is not None and not has_native_form(default):
            raise NotNative(f"the default rule of {operation} has no native form")


def _require_plain_model(model: Forward, taps: Sequence[TapPoint]) -> None:
    if is_transformed() or function_mode_stack():
        raise NotNative("a function mode or transform of the caller's is active")
    parts = named_modules_of(model)
    if not parts:
        raise NotNative("the modules of a function are not known, so one may be in training mode")
    for name, part in parts:
        if part.training or isinstance(part, (torch.jit.ScriptModule, nn.RNNBase)):
            raise NotNative(f"{name or type(part).__name__} hides what it runs, or is in training")


def _read_graph(
    ends: Sequence[Any], sources: set[Any], tables: Sequence[RuleTable]
) -> tuple[Coverage, _Nodes, frozenset[Any]]:
    """Return what ran between some nodes, the sources, and others, the ends.

    Returns:
        the counts; the nodes of each operation; all nodes that lead to a source, and the sources.

    Raises:
        UnknownNode: some node does not tell its operation.
    """
    coverage, nodes, above = Coverage(), dict[str, list[Any]](), set(sources)
    for node, below in _oldest_first(ends):
        uses = sum(one in above for one in below)
        if uses:
            above.add(node)
            operation = operation_of(node)
            if operation is not None:
                nodes.setdefault(operation, []).append(node)
                # A factor that depends on the inputs is no parameter.
                own = uses > 1 and OPERATIONS[operation].kind == "linear"
                _count(coverage, operation, type(node).__name__, own=own)
    for operation, found in nodes.items():
        if default_rule(operation) is None and not any(operation in table for table in tables):
            coverage.own[operation] = len(found)
    return coverage, nodes, frozenset(above)


def _count(coverage: Coverage, operation: str, spelling: str, *, own: bool) -> None:
    coverage.calls[operation] += 1
    coverage.spellings[operation, spelling] += 1
    if own:
        coverage.own[operation] += 1


def _oldest_first(ends: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """Return the nodes below some others, each after those below it, with these.

    Leaves are left out: they are parameters.
    """
    waiting = list(ends)
    found: dict[Any, list[Any]] = {}
    while waiting:
        node = waiting.pop()
        if node not in found:
            below = [n for n, _ in node.next_functions if n and type(n) is not AccumulateGrad]
            found[node] = below
            waiting += below
    return sorted(found.items(), key=_age)


def _age(entry: tuple[Any, list[Any]]) -> int:
    number: int = entry[0]._sequence_nr()
    return number
