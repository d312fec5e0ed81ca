"""The one autograd function that runs any rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

from torchattr.errors import RuleError
from torchattr.kernels import order_of
from torchattr.layers.ops import Call
from torchattr.layers.rule import LayerRule


class Active:
    """What each backward is about; set before it.

    Attributes:
        table: the position of the rule table in force.
        all_known: whether gradients flow only as the graph of the output says.
        read: the nodes, by `id`, at which gradients are results of this backward.
    """

    def __init__(self) -> None:
        self.table = 0
        self.all_known = False
        self.read: frozenset[int] = frozenset()

    def is_sole_reader(self, node: Any) -> bool:
        """Tell whether nobody but this node reads the gradient that comes to it."""
        return self.all_known and node.sole_reader and id(node) not in self.read


class Plan:
    """The rule of each table for one call, and where each finds what it saved.

    Rules that share their `save` (and have no parameters) share what is saved.
    """

    def __init__(self, rules: Sequence[LayerRule], active: Active) -> None:
        self._rules = rules
        self.active = active
        self._places: dict[Any, slice] = {}

    @property
    def needs_input(self) -> bool:
        return any(rule.needs_input for rule in self._rules)

    @property
    def fresh(self) -> bool:
        return all(rule.fresh for rule in self._rules)

    def save(self, call: Call, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
        x: Any = inputs[0] if len(inputs) == 1 else tuple(inputs)
        saved: list[Tensor] = []
        for rule in self._rules:
            if _saving(rule) not in self._places:
                new = rule.save(call, x, *outputs) if _remembers(rule) else ()
                self._places[_saving(rule)] = slice(len(saved), len(saved) + len(new))
                saved.extend(new)
        return saved

    def backward(self, call: Call, grad: Tensor, saved: Sequence[Tensor]) -> tuple[Tensor, ...]:
        rule = self._rules[self.active.table]
        result = rule.backward(call, grad, *saved[self._places[_saving(rule)]])
        results = result if isinstance(result, tuple) else (result,)
        _check(rule, call, results)
        return results


class Rewritten(torch.autograd.Function):
    """Runs an operation as the model spelled it; its backward is that of the rule in force."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, call: Call, *inputs: Tensor) -> Any:
        before = inputs
        if call.inplace:
            ctx.mark_dirty(inputs[0])
            if plan.needs_input:
                before = (inputs[0].clone(), *inputs[1:])
        result = call.compute(*inputs)
        outputs = result if isinstance(result, tuple) else (result,)
        call.order = order_of(outputs[0])
        ctx.plan, ctx.call, ctx.sole_reader = plan, call, False
        ctx.set_materialize_grads(False)
        shown = outputs[: 1 + call.operation.extras]
        ctx.save_for_backward(*plan.save(call, before, shown))
        if len(outputs) == 1 or call.drop_extras:
            return outputs[0]
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *extras: Any) -> Any:
        call = ctx.call
        if grad is None:
            return (None, None, *(None for _ in call.shapes))
        # A checkpointed part runs again here, under the mode; the rules themselves need no mode.
        saved = ctx.saved_tensors
        call.owns_grad = ctx.plan.active.is_sole_reader(ctx)
        with torch._C.DisableTorchFunction():
            results = ctx.plan.backward(call, grad, saved)
            return (None, None, *(result.to(call.dtype) for result in results))


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


def _is_ours(node: Any) -> TypeGuard[Any]:
    return isinstance(node, Rewritten._backward_cls)


def note_sole_readers(nodes: Sequence[Any]) -> None:
    """Note which calls alone read a gradient that the rule above them has just made."""
    above: dict[Any, list[Any]] = {}
    for node in nodes:
        for below, _ in node.next_functions:
            above.setdefault(below, []).append(node)
    for node in nodes:
        if _is_ours(node):
            users = above.get(node, [])
            node.sole_reader = len(users) == 1 and _makes_new(users[0])


def _makes_new(node: Any) -> bool:
    return _is_ours(node) and node.plan.fresh


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
