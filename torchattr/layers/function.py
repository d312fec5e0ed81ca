"""The one autograd function that runs any rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        self.rules = rules
        self.active = active
        self._places: dict[Any, slice] = {}

    @property
    def fresh(self) -> bool:
        return all(rule.fresh for rule in self.rules)

    @property
    def rule(self) -> LayerRule:
        """The one in force."""
        return self.rules[self.active.table]

    def consists_of(self, kind: type[LayerRule]) -> bool:
        return all(type(rule) is kind for rule in self.rules)

    def run(self, call: Call, inputs: Sequence[Tensor]) -> tuple[tuple[Any, ...], list[Tensor]]:
        """Run the operation; give its outputs and what all the rules need of it."""
        saving = {_saving(rule): rule for rule in self.rules if _remembers(rule)}
        if len(saving) == 1:
            ((key, rule),) = saving.items()
            done = rule.run(call, *inputs)
            if done is not None:
                output, saved = done
                call.order = order_of(output)
                self._places[key] = slice(0, len(saved))
                return (output,), list(saved)
        before = inputs
        if call.inplace and any(rule.needs_input for rule in saving.values()):
            before = (inputs[0].clone(), *inputs[1:])
        result = call.compute(*inputs)
        outputs = result if isinstance(result, tuple) else (result,)
        call.order = order_of(outputs[0])
        return outputs, self._save(saving, call, before, outputs)

    def _save(
        self,
        saving: Mapping[Any, LayerRule],
        call: Call,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
    ) -> list[Tensor]:
        x: Any = inputs[0] if len(inputs) == 1 else tuple(inputs)
        saved: list[Tensor] = []
        for key, rule in saving.items():
            new = rule.save(call, x, *outputs[: 1 + call.operation.extras])
            self._places[key] = slice(len(saved), len(saved) + len(new))
            saved.extend(new)
        return saved

    def backward(self, call: Call, grad: Tensor, saved: Sequence[Tensor]) -> tuple[Tensor, ...]:
        rule = self.rule
        result = rule.backward(call, grad, *saved[self._places.get(_saving(rule), _NOTHING)])
        results = result if isinstance(result, tuple) else (result,)
        _check(rule, call, results)
        return results


class Rewritten(torch.autograd.Function):
    """Runs an operation as the model spelled it; its backward is that of the rule in force."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, call: Call, *inputs: Tensor) -> Any:
        if call.inplace:
            ctx.mark_dirty(inputs[0])
        outputs, saved = plan.run(call, inputs)
        ctx.plan, ctx.call, ctx.droppable = plan, call, saved
        ctx.sole_reader, ctx.is_done_above = False, False
        ctx.rectifier, ctx.norm = None, None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*saved)
        if len(outputs) == 1 or call.drop_extras:
            return outputs[0]
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *extras: Any) -> Any:
        call = ctx.call
        if grad is None:
            return (None, None, *(None for _ in call.shapes))
        if ctx.is_done_above:
            return None, None, grad
        # A checkpointed part runs again here, under the mode; the rules themselves need no mode.
        saved = ctx.saved_tensors
        call.owns_grad = ctx.plan.active.is_sole_reader(ctx)
        call.norm = ctx.norm
        call.gate = ctx.rectifier.rule.gate if ctx.rectifier else None
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


def is_rewritten(node: Any) -> TypeGuard[Any]:
    """Tell whether a node of a graph is a call that rules go back through."""
    return isinstance(node, Rewritten._backward_cls)


_NOTHING = slice(0, 0)


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
