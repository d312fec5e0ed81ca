"""The one autograd function that runs any rule."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import Tensor

from torchattr.core.functorch import VmapFunction, is_only_mapped
from torchattr.core.torch_private import DisableTorchFunction
from torchattr.errors import RuleError
from torchattr.kernels import order_of
from torchattr.layers.fusion import GraphStep
from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule

SavedTensors: TypeAlias = tuple[Tensor, ...]
"""What one `save` gave."""


class Inside(IntEnum):
    """Which gradients a forward takes itself, before any backward of ours.

    `CONSTANT` ones are not differentiated in their turn: rules hold beside them. `ANY` needs
    PyTorch's own operations throughout, since a rule has no derivative.
    """

    NOTHING = 0
    CONSTANT = 1
    ANY = 2


class GradientInside(BaseException):
    """The forward takes a gradient that it was not prepared for, and must run once more.

    No `Exception`, so that a model that catches its own errors does not catch this one.
    """


class BackwardState:
    """What each backward is about; set before it.

    Attributes:
        table: the position of the rule table in force; before the first backward of ours, of the
            gradients that the forward itself takes: the last.
        inside: which gradients the forward takes itself, as far as is known.
        prepared: for which of them it runs.
        all_known: whether gradients flow only as the graph of the output says.
        read: the nodes, by `id`, at which gradients are results of this backward.
    """

    def __init__(self, prepared: Inside = Inside.NOTHING) -> None:
        self.table = -1
        self.inside = self.prepared = prepared
        self.all_known = False
        self.read: frozenset[int] = frozenset()

    def need(self, inside: Inside) -> None:
        """Stop the forward if it is not prepared for such a gradient.

        Raises:
            GradientInside: it must run once more.
        """
        self.inside = max(self.inside, inside)
        if self.inside > self.prepared:
            raise GradientInside

    def is_sole_reader(self, node: Any) -> bool:
        """Tell whether nobody but this node reads the gradient that comes to it."""
        return self.all_known and node.step.sole_reader and id(node) not in self.read


class OperationRules:
    """The rule of each table for one operation, and what is remembered for them of each call.

    Rules that share their `save` (and have no parameters) share what is saved, as one part.
    """

    def __init__(self, rules: Sequence[LayerRule], active: BackwardState) -> None:
        self.rules = rules
        self.active = active
        self.fresh = all(rule.fresh for rule in rules)
        savers = {_saving(rule): rule for rule in rules if _remembers(rule)}
        self._savers = list(savers.values())
        self._needs_input = any(rule.needs_input for rule in self._savers)
        keys = list(savers)
        self._parts = [keys.index(_saving(rule)) if _remembers(rule) else None for rule in rules]

    @property
    def rule(self) -> LayerRule:
        """The one in force."""
        return self.rules[self.active.table]

    def run(
        self, call: Call, inputs: Sequence[Tensor]
    ) -> tuple[tuple[Any, ...], list[SavedTensors]]:
        """Run the operation; give its outputs, and each part of what the rules need of it."""
        if len(self._savers) == 1:
            done = self._savers[0].run(call, *inputs)
            if done is not None:
                output, part = done
                call.order = order_of(output)
                return (output,), [part]
        before = inputs
        if call.inplace and self._needs_input:
            before = (inputs[0].clone(), *inputs[1:])
        result = call.run(*inputs)
        outputs = result if isinstance(result, tuple) else (result,)
        call.order = order_of(outputs[0])
        return outputs, self._save(call, before, outputs)

    def _save(
        self, call: Call, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> list[SavedTensors]:
        x: Any = inputs[0] if len(inputs) == 1 else tuple(inputs)
        shown = outputs[: 1 + call.operation.extras]
        return [rule.save(call, x, *shown) for rule in self._savers]

    def backward(
        self, step: GraphStep, grad: Tensor, saved: Sequence[Tensor], sizes: Sequence[int]
    ) -> tuple[Tensor, ...]:
        """Send a gradient back by the rule in force, or through two calls in one pass."""
        part = self._parts[self.active.table]
        if part is None:
            saved = ()
        else:
            before = sum(sizes[:part])
            saved = saved[before : before + sizes[part]]
        if step.fusion is not None and step.partner is not None:
            table = self.active.table
            return (step.fusion.backward(step, step.partner, table, grad, *saved),)
        rule = self.rule
        result = rule.backward(step.call, grad, *saved)
        results = result if isinstance(result, tuple) else (result,)
        _check(rule, step.call, results)
        return results


class Rewritten(torch.autograd.Function):
    """Runs an operation as the model spelled it; its backward is that of the rule in force."""

    @staticmethod
    def forward(ctx: Any, rules: OperationRules, call: Call, *inputs: Tensor) -> Any:
        if call.inplace:
            ctx.mark_dirty(inputs[0])
        outputs, parts = rules.run(call, inputs)
        outputs = tuple(_owned(output, inputs) for output in outputs)
        saved = [tensor for part in parts for tensor in part]
        ctx.rules, ctx.sizes = rules, [*map(len, parts)]
        ctx.step = GraphStep(call, rules.rules, saved)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*saved)
        if len(outputs) == 1 or call.drop_extras:
            return outputs[0]
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *extras: Any) -> Any:
        step, rules = ctx.step, ctx.rules
        call = step.call
        if rules.active.table < 0:
            rules.active.need(Inside.ANY if torch.is_grad_enabled() else Inside.CONSTANT)
        if grad is None:
            return (None, None, *(None for _ in call.shapes))
        if step.is_done_above:
            return None, None, grad
        # A checkpointed part runs again here, under the mode; the rules themselves need no mode.
        saved = ctx.saved_tensors
        call.owns_grad = rules.active.is_sole_reader(ctx)
        with DisableTorchFunction():
            results = rules.backward(step, grad, saved, ctx.sizes)
            return (None, None, *[result.to(call.dtype) for result in results])


def _owned(output: Any, inputs: Sequence[Tensor]) -> Any:
    """Return a tensor that may be written over, in the place of a view of something made inside.

    Autograd forbids to write over views that a function gives, as some of PyTorch's operations do
    (`F.linear` of a batch of sequences is a view of a matrix product).
    """
    if not isinstance(output, Tensor) or output._base is None:
        return output
    if any(output is one or output._base is one or output._base is one._base for one in inputs):
        return output
    place = (output.storage_offset(), output.shape, output.stride())
    return output.new_empty(0).set_(output.untyped_storage(), *place)


def may_be_mapped(call: Call) -> bool:
    """Whether `vmap` alone runs, and does not matter to a call, which treats each element alike."""
    alike = call.operation.kind in ("rectifier", "activation") and call.operation.name != "prelu"
    return alike and is_only_mapped() and (call.is_masked or not call.arguments.get("of_two"))


def mapped(rules: OperationRules, call: Call, tensor: Tensor) -> Any:
    """Run an operation by its rules inside of `vmap`, on what holds all the examples."""

    def run(held: Tensor) -> Any:
        # Nothing may write over it while `vmap` looks at it.
        return Rewritten.apply(rules, call.of(held), held.clone() if call.inplace else held)

    result = VmapFunction.apply(run, tensor)
    return tensor.copy_(result) if call.inplace else result


class Enter(torch.autograd.Function):
    """Starts the graph: a copy of a tensor that requires a gradient and is no leaf.

    The user's own tensor stays as it is, also when the model writes over its input.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, tensor: Tensor) -> Tensor:
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        return None, None


def enter(tensor: Tensor) -> Tensor:
    """Give a copy of `tensor` from which gradients can be asked."""
    anchor = torch.zeros((), requires_grad=True)
    copy: Tensor = Enter.apply(anchor, tensor.detach())
    return copy


def is_rewritten(node: Any) -> TypeGuard[Any]:
    """Tell whether a node of a graph is a call that rules go back through."""
    return isinstance(node, Rewritten._backward_cls)


def _remembers(rule: LayerRule) -> bool:
    return type(rule).save is not LayerRule.save


def _saving(rule: LayerRule) -> Any:
    return id(rule) if vars(rule) else type(rule).save


def _check(rule: LayerRule, call: Call, results: tuple[Any, ...]) -> None:
    if len(results) == len(call.shapes) and all(map(_fits, results, call.shapes)):
        return
    got = [tuple(r.shape) if isinstance(r, Tensor) else type(r).__name__ for r in results]
    wanted = [tuple(shape) for shape in call.shapes]
    raise RuleError(
        f"the rule {type(rule).__name__} sent back {got} through {call.spelling}, whose inputs"
        f" have the shapes {wanted}; backward must return one tensor of each shape"
    )


def _fits(result: Any, shape: torch.Size) -> bool:
    return isinstance(result, Tensor) and result.shape == shape
