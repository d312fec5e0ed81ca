"""A forward without any mode, whose rules hang on the graph that PyTorch's own nodes make.

Nothing runs in Python but the model itself, so that small batches do not wait for it; PyTorch
remembers what its own gradients need, which is several times what the rules need.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from torchattr.core.functorch import is_transformed
from torchattr.core.torch_private import function_mode_stack
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo
from torchattr.layers.graph_trace import ForwardCall, GraphTrace, Tap
from torchattr.layers.guards import RandomState, has_hidden_modules, modules_of, refuse_scripted
from torchattr.layers.native_graph import NativeGraph
from torchattr.layers.nodes import UnknownNode
from torchattr.layers.registry import RuleTable, default_rules
from torchattr.layers.rule import has_native_form, hook_of
from torchattr.layers.stride_guard import guard_strides


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
        taps: Sequence[Tap] = (),
        key: OutputKey = None,
        from_inputs: bool = True,
    ) -> None:
        modules = modules_of(model)
        refuse_scripted(model, modules)
        super().__init__(taps)
        _require_native_rules(tables)
        require_plain_modules(model, modules)
        if not all(tensor.is_floating_point() for tensor in inputs):
            raise NotNative("some input has no gradient, so the graph does not begin at the inputs")
        self._tables = tables
        draws, buffers = RandomState(inputs), _buffers(modules)
        versions = [buffer._version for buffer in buffers]
        try:
            # The graph begins at the parameters in any case, so it costs nothing to begin it at the
            # inputs: what has uses elsewhere is found then.
            self.output = self._run(ForwardCall(model, inputs, arguments, key), follow=True)
            self._graph = NativeGraph(self._ends(), self._sources(from_inputs), tables)
        except (UnknownNode, RuntimeError) as reason:
            draws.restore()
            is_of_graph = isinstance(reason, UnknownNode)
            raise NotNative(str(reason), is_of_graph=is_of_graph) from reason
        if draws.has_changed() or versions != [buffer._version for buffer in buffers]:
            draws.restore()
            raise NotNative("the model draws random numbers or counts its calls", is_of_graph=True)
        self.coverage = self._graph.coverage
        self._is_from_inputs = from_inputs

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
        if self._is_from_inputs and len(edges) == 1 and edges == self.input_edges:
            return (self._graph.leads_to_source(scores.grad_fn),)
        return super().connected(scores, edges)

    def _watch_forward(self, model: Forward, undo: Undo) -> None:
        """Leave the model alone."""

    def _apply_rules(
        self,
        undo: Undo,
        table: int,
        wanted: Sequence[GradientEdge],
        *,
        of_output: bool,
        keep: bool,
    ) -> None:
        handles = [guard_strides(node) for node in self._graph.ambiguous]
        for operation, rule in self._tables[table].items():
            hook = hook_of(rule)
            if hook is not None:
                handles += [hook(node) for node in self._graph.nodes.get(operation, ())]
        # The last backward takes the nodes with it.
        if keep:
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
    for operation, default in default_rules().items():
        if not has_native_form(default):
            raise NotNative(f"the default rule of {operation} has no native form")


def require_plain_modules(model: Forward, modules: Sequence[nn.Module]) -> None:
    """Check that a model may run without the mode, which would see training mode by its calls.

    Raises:
        NotNative: it may not.
    """
    if is_transformed() or function_mode_stack():
        raise NotNative("a function mode or transform of the caller's is active")
    if not modules:
        raise NotNative("the modules of a function are not known, so one may be in training mode")
    if any([module.training for module in modules]):  # noqa: C419 - faster as a list
        raise NotNative("a module is in training mode")
    if any(issubclass(kind, _HIDING) for kind in set(map(type, modules))):
        raise NotNative("a recurrent module hides what it runs")
    if has_hidden_modules(model, modules):
        raise NotNative(
            "a module keeps others in a list or dictionary, one of which may be in training mode",
            is_of_graph=True,
        )


def _buffers(modules: Sequence[nn.Module]) -> list[Tensor]:
    """Return the buffers of modules that count how often they are written."""
    buffers = [
        buffer for module in modules for buffer in module._buffers.values() if buffer is not None
    ]
    # Those made in inference mode do not; then all of a model usually are.
    if any(map(Tensor.is_inference, buffers)):
        return [buffer for buffer in buffers if not buffer.is_inference()]
    return buffers


_HIDING = (nn.RNNBase, nn.RNNCellBase)
"""Modules that run several operations as one node."""
