"""The mode under which a model runs: it routes every known operation to the rules, and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from torchattr.core.functorch import is_transformed, unwrapped
from torchattr.core.torch_private import make_dual
from torchattr.core.types import Forward
from torchattr.kernels import Backend, Request, choose, requested_backend
from torchattr.layers.autograd import (
    BackwardState,
    Inside,
    OperationRules,
    Rewritten,
    mapped,
    may_be_mapped,
)
from torchattr.layers.coverage import COMPOSITES, Coverage, own_gradient
from torchattr.layers.operations.operation import Call
from torchattr.layers.operations.parsers import MaskOrigins, parse_call
from torchattr.layers.registry import RuleTable, default_rule
from torchattr.layers.rule import OwnGradient
from torchattr.layers.training import TrainingGuard


class RuleMode(TorchFunctionMode):
    """Runs a forward so that each known operation obeys a rule chosen at backward.

    Args:
        tables: the rules of each backward pass that may follow; `active.table` says which is in
            force. An operation that a table does not name keeps its gradient, remembered in the
            least memory.
        model: what runs, of which a refusal names the parts.
        prepared: for which gradients inside of the forward it runs; others stop it.
    """

    def __init__(
        self, tables: Sequence[RuleTable], model: Forward, prepared: Inside = Inside.NOTHING
    ) -> None:
        super().__init__()
        self.active = BackwardState(prepared)
        self.coverage = Coverage()
        self.counting = True
        self.hooked = False
        self._tables = tables
        self._training = TrainingGuard(model)
        self._masks = MaskOrigins()
        self._leaves: Any = WeakTensorKeyDictionary()
        self._asked = requested_backend()
        self._backends: dict[tuple[torch.device, torch.dtype], Backend] = {}
        self._plans: dict[str, OperationRules | None] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._training.watch(func, args, kwargs)
        understood = parse_call(func, args, kwargs, self._masks)
        if understood is None:
            return self._pass(func, args, kwargs)
        call, inputs = understood
        if call.arguments.get("training"):
            self._training.refuse(f"{call.operation.name} ({call.spelling})")
        if not (torch.is_grad_enabled() and self._any_in_graph(inputs)):
            return self._run(func, args, kwargs)
        plan = self._plan(call)
        if self.counting:
            self.coverage.count(call, served=plan is not None)
        if plan is None:
            return self._run(func, args, kwargs)
        call.backend = self._backend_for(call.device, call.dtype)
        if is_transformed():
            return mapped(plan, call, inputs[0])
        if call.is_masked:
            call.once = partial(func, *args, **kwargs)
        return Rewritten.apply(plan, call, *map(ordinary, inputs))

    def _pass(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run what is no operation; note what later calls must know of it."""
        if func in _TAKING and self.counting and not is_transformed():
            self.active.need(_taken(func, *args, **kwargs))
            # A part of the graph may be needed again, for the gradients of ours.
            kwargs = {**kwargs, **_TAKING[func]}
        # A hook of the model's own may keep a gradient.
        self.hooked = self.hooked or func in _HOOKING
        result = self._run(func, args, kwargs)
        self._masks.note(func, args, kwargs, result)
        if func in _MAKING_LEAVES and not self.counting:
            self._leaves[args[0]] = True
        if func in COMPOSITES:
            own_gradient(result, args[0])
        return result

    def _backend_for(self, device: torch.device, dtype: torch.dtype) -> Backend:
        if (device, dtype) not in self._backends:
            self._backends[device, dtype] = choose(Request(device, dtype), self._asked)
        return self._backends[device, dtype]

    def _plan(self, call: Call) -> OperationRules | None:
        """Give the rule of each table for this call; none if PyTorch's own gradient serves all."""
        if self.active.prepared is Inside.ANY or (is_transformed() and not may_be_mapped(call)):
            self.coverage.inside[call.operation.name] += self.counting
            return None
        if self._any_in_graph(call.arguments.values()):
            return None
        name = call.operation.name
        if name not in self._plans:
            self._plans[name] = self._plan_of(name)
        return self._plans[name]

    def _plan_of(self, name: str) -> OperationRules | None:
        default = default_rule(name)
        if default is None and not any(name in table for table in self._tables):
            return None
        fallback = default or OwnGradient()
        rules = [table.get(name, fallback) for table in self._tables]
        inside = [fallback] if self.active.prepared else []
        return OperationRules([*rules, *inside], self.active)

    def _run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a function as it is, but without graph to the model's parameters.

        Where a gradient is taken inside, it may be that of a parameter, so there they stay.
        """
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__") or self.active.prepared is Inside.ANY or is_transformed():
            return func(*args, **kwargs)
        frozen = {name: self._frozen(value) for name, value in kwargs.items()}
        return func(*(self._frozen(value) for value in args), **frozen)

    def _frozen(self, value: Any) -> Any:
        """Detach parameters: no gradient of theirs is ever computed, nothing remembered for it."""
        if isinstance(value, Tensor):
            frozen = value.requires_grad and value.is_leaf and value not in self._leaves
            return value.detach() if frozen else ordinary(value)
        if type(value) in (list, tuple) and any(isinstance(item, Tensor) for item in value):
            return type(value)(self._frozen(item) for item in value)
        return value

    def _any_in_graph(self, values: Iterable[Any]) -> bool:
        return any(isinstance(value, Tensor) and self._is_in_graph(value) for value in values)

    def _is_in_graph(self, tensor: Tensor) -> bool:
        held = unwrapped(tensor)
        return held.requires_grad and (not held.is_leaf or held in self._leaves)


def ordinary(value: Any) -> Any:
    """Return a tensor that autograd can remember in the place of one made in inference mode."""
    if isinstance(value, Tensor) and value.is_inference():
        return value.clone()
    return value


_HOOKING = (Tensor.register_hook, Tensor.retain_grad)

# What starts leaves of a graph: a part that runs again in backward goes down to some of its own.
_MAKING_LEAVES = (Tensor.requires_grad_, Tensor.requires_grad.__set__)  # type: ignore[attr-defined]

# What takes gradients, and what it is told besides.
_TAKING: Mapping[Any, Mapping[str, Any]] = {
    torch.autograd.grad: {"retain_graph": True},
    torch.autograd.backward: {"retain_graph": True},
    Tensor.backward: {"retain_graph": True},
    make_dual: {},
}


def _taken(func: Any, *args: Any, create_graph: bool = False, **kwargs: Any) -> Inside:
    """Say which gradient a call takes: a constant one with regard to tensors of our graph or any.

    Those of leaves need the graphs of parameters, which are cut off otherwise.
    """
    if func is not torch.autograd.grad or create_graph:
        return Inside.ANY
    wanted = kwargs.get("inputs", args[1] if len(args) > 1 else ())
    tensors = [wanted] if isinstance(wanted, Tensor) else wanted
    known = all(isinstance(one, Tensor) and not one.is_leaf for one in tensors)
    return Inside.CONSTANT if known else Inside.ANY
