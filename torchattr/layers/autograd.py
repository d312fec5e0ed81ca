"""The one autograd function that runs any rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import Tensor

from torchattr.core.functorch import VmapFunction, is_only_mapped
from torchattr.core.torch_private import DisableTorchFunction
from torchattr.errors import RuleError
from torchattr.kernels import order_of
from torchattr.layers.backward import BackwardState, InnerGradients
from torchattr.layers.fusion import FusedPair, NodeState, Versions
from torchattr.layers.operations.operation import Call, CallGroup, in_dtype
from torchattr.layers.operations.place import Place
from torchattr.layers.rule import LayerRule

SavedTensors: TypeAlias = tuple[Tensor, ...]
"""Result of one `save`."""


class OperationRules:
    """The rule of each table for one operation.

    Rules without parameters that share their `save` share the tensors that it saves.

    Args:
        rules: the rule of each table.
        backward_state: holds which table is in force.
    """

    def __init__(self, rules: Sequence[LayerRule], backward_state: BackwardState) -> None:
        self.rules = rules
        self.backward_state = backward_state
        self.group = CallGroup()
        self.fresh = all(rule.fresh for rule in rules)
        savers = {_saving(rule): rule for rule in rules if _saves(rule)}
        self._savers = list(savers.values())
        self._only_saver = self._savers[0] if len(savers) == 1 else None
        self._needs_input = any(rule.needs_input for rule in self._savers)
        self.reads_rectified = all(rule.reads_rectified for rule in self._savers)
        keys = list(savers)
        self._groups = [keys.index(_saving(rule)) if _saves(rule) else None for rule in rules]

    def run(self, call: Call, inputs: Sequence[Tensor]) -> tuple[Any, Sequence[SavedTensors]]:
        """Run the operation; return its result, and the tensors that each group of rules saved."""
        if self._only_saver is not None:
            run_and_saved = self._only_saver.run(call, *inputs)
            if run_and_saved is not None:
                output, saved = run_and_saved
                call.order = order_of(output)
                return output, (saved,)
        before = inputs
        if self._needs_input and call.inplace:
            before = (inputs[0].clone(), *inputs[1:])
        result = call.run(*inputs)
        call.order = order_of(result[0] if isinstance(result, tuple) else result)
        return result, self._save(call, before, result) if self._savers else ()

    def _save(self, call: Call, inputs: Sequence[Tensor], result: Any) -> list[SavedTensors]:
        outputs = result if isinstance(result, tuple) else (result,)
        x: Any = inputs[0] if len(inputs) == 1 else tuple(inputs)
        visible = outputs[: 1 + call.operation.extras]
        return [rule.save(call, x, *visible) for rule in self._savers]

    def backward(
        self, state: NodeState, grad: Tensor, saved: Sequence[Tensor]
    ) -> Sequence[Tensor | None]:
        """Propagate a gradient by the rule in force, or through both calls of a fused pair."""
        table = self.backward_state.table
        own = saved
        if saved and self._only_saver is None:
            own = _of_group(self._groups[table], saved, state.sizes)
        elif saved and self._groups[table] is None:
            own = ()
        author: LayerRule | FusedPair
        if state.partner is None:
            author, call = state.rules[table], state.call
            result = self._by_rule(author, call, state.places.get(table), grad, own)
        else:
            author, below = state.partner
            call = below.call
            result = author.backward(state, below, table, grad, *own)
        if isinstance(result, Tensor) and (result.shape,) == call.shapes:
            return (in_dtype(result, call.dtype),)
        results = result if isinstance(result, tuple) else (result,)
        _check(author, call, results)
        return [None if one is None else in_dtype(one, call.dtype) for one in results]

    def _by_rule(
        self,
        rule: LayerRule,
        call: Call,
        place: Place | None,
        grad: Tensor,
        own: Sequence[Tensor],
    ) -> Any:
        """Propagate a gradient by one rule, which knows the call's place meanwhile."""
        book = self.backward_state.book
        # Not longer: a place refers to those of other calls.
        if place is not None:
            call.place = place
        try:
            if book is not None and book.whole:
                book.note(call.layer, call.spelling, rule.absorbed(call, grad, *own))
            return rule.backward(call, grad, *own)
        finally:
            if place is not None:
                del call.place

    def saved_by(self, rule: LayerRule, state: NodeState) -> Sequence[Tensor]:
        """Return what a rule saved at a call of the forward that is running."""
        if not state.saved or rule not in self._savers:
            return ()
        return _of_group(self._savers.index(rule), state.saved, state.sizes)


class RuleFunction(torch.autograd.Function):
    """Runs an operation as the model called it; its backward is that of the rule in force."""

    @staticmethod
    def forward(ctx: Any, rules: OperationRules, call: Call, *inputs: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        if call.inplace:
            ctx.mark_dirty(inputs[0])
        written = rules.backward_state.written
        entered = () if written is None else [tensor._version for tensor in inputs]
        result, groups = rules.run(call, inputs)
        saved: Sequence[Tensor] = ()
        sizes: Sequence[int] = ()
        if groups:
            saved, sizes = _flat(groups)
            if written and call.operation.name in written:
                saved = [tensor.clone() for tensor in saved]
            # The walk over the graph decides whether they are what the rules need.
            kept = [tensor.data for tensor in saved] if rules.reads_rectified else saved
            ctx.save_for_backward(*kept)
        ctx.rules, ctx.state = rules, NodeState(call, rules.rules, saved, sizes)
        results = result if isinstance(result, tuple) else (result,)
        outputs = tuple(_owned(output, inputs) for output in results)
        if written is not None:
            ctx.state.versions = Versions.of(call, entered, outputs[0], saved)
        if len(outputs) == 1 or call.drop_extras:
            return outputs[0]
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *extras: Any) -> Any:
        state, rules = ctx.state, ctx.rules
        call = state.call
        if rules.backward_state.table < 0:
            grad_mode = torch.is_grad_enabled()
            inner = InnerGradients.ANY if grad_mode else InnerGradients.CONSTANT
            rules.backward_state.require(inner)
        if grad is None:
            return (None, None, *(None for _ in call.shapes))
        if state.is_done_above:
            return None, None, grad
        # A checkpointed part runs again here, under the mode; the rules themselves need no mode.
        saved = ctx.saved_tensors
        with DisableTorchFunction():
            return None, None, *rules.backward(state, grad, saved)


def _of_group(group: int | None, saved: Sequence[Tensor], sizes: Sequence[int]) -> Sequence[Tensor]:
    """Return what one group of rules saved."""
    if group is None:
        return ()
    if len(sizes) == 1:
        return saved
    start = sum(sizes[:group])
    return saved[start : start + sizes[group]]


def _flat(groups: Sequence[SavedTensors]) -> tuple[Sequence[Tensor], Sequence[int]]:
    """Return all saved tensors, and how many each group saved."""
    if len(groups) == 1:
        return groups[0], (len(groups[0]),)
    return [tensor for group in groups for tensor in group], [*map(len, groups)]


def _owned(output: Any, inputs: Sequence[Tensor]) -> Any:
    """Return a view of an intermediate result as a tensor that owns its memory.

    Autograd forbids in-place operations on views that a custom function returns, and some of
    PyTorch's operations return such views (`F.linear` of a batch of sequences is a view of a matrix
    product).
    """
    base = output._base if isinstance(output, Tensor) else None
    if base is None:
        return output
    if any(output is x or base is x or base is x._base for x in inputs):
        return output
    geometry = (output.storage_offset(), output.shape, output.stride())
    return output.new_empty(0).set_(output.untyped_storage(), *geometry)


def may_be_mapped(call: Call) -> bool:
    """Whether rules can serve a call inside `vmap`: it is elementwise, in no other transform."""
    kind, name = call.operation.kind, call.operation.name
    is_elementwise = kind in ("rectifier", "activation") and name != "prelu"
    return (
        is_elementwise and is_only_mapped() and (call.is_masked or not call.arguments.get("of_two"))
    )


def mapped(rules: OperationRules, call: Call, tensor: Tensor) -> Any:
    """Run an operation by its rules inside `vmap`, on the tensor that holds the whole batch."""

    def run(batch: Tensor) -> Any:
        # Nothing may write over it while `vmap` reads it.
        return RuleFunction.apply(rules, call.of(batch), batch.clone() if call.inplace else batch)

    result = VmapFunction.apply(run, tensor)
    return tensor.copy_(result) if call.inplace else result


class Enter(torch.autograd.Function):
    """Starts the graph: a copy of a tensor that requires a gradient and is not a leaf.

    The caller's own tensor is unchanged, even if the model writes over its input.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, tensor: Tensor) -> Tensor:
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        return None, None


class Restated(torch.autograd.Function):
    """The value of a function with the graph of the operations that it is made of."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, own: Sequence[Tensor]) -> Tensor:
        return own[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def enter(tensor: Tensor) -> Tensor:
    """Return a copy of `tensor` that requires a gradient."""
    anchor = torch.zeros((), requires_grad=True)
    copy: Tensor = Enter.apply(anchor, tensor.detach())
    return copy


def is_entrance(node: Any) -> bool:
    """Whether a node of the graph is where a tensor entered it."""
    return isinstance(node, Enter._backward_cls)


def runs_rules(node: Any) -> TypeGuard[Any]:
    """Whether a node of the graph is a call whose backward is that of a rule."""
    return isinstance(node, RuleFunction._backward_cls)


def _saves(rule: LayerRule) -> bool:
    return type(rule).save is not LayerRule.save


def _saving(rule: LayerRule) -> Any:
    return id(rule) if vars(rule) else type(rule).save


def _check(author: LayerRule | FusedPair, call: Call, results: Sequence[Any]) -> None:
    shapes = call.shapes
    if len(results) == len(shapes) and all(map(_fits, results, shapes)):
        return
    kind = "rule" if isinstance(author, LayerRule) else "fused pair"
    got = [tuple(r.shape) if isinstance(r, Tensor) else type(r).__name__ for r in results]
    expected = [tuple(shape) for shape in call.shapes]
    raise RuleError(
        f"the {kind} {type(author).__name__} sent back {got} through {call.spelling}, whose inputs"
        f" have the shapes {expected}; backward must return one tensor of each shape"
    )


def _fits(result: Any, shape: torch.Size) -> bool:
    return result is None or (isinstance(result, Tensor) and result.shape == shape)
