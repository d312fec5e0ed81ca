"""The mode under which a model runs: it routes every known operation to the rules, and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr._types import Forward
from torchattr.errors import TrainingModeError
from torchattr.kernels import Backend, Request, asked, choose
from torchattr.layers.coverage import Coverage
from torchattr.layers.function import Active, Plan, Rewritten
from torchattr.layers.guards import training_buffers, training_parts
from torchattr.layers.ops import Call
from torchattr.layers.registry import RuleTable, default_rule
from torchattr.layers.rule import OwnGradient
from torchattr.layers.spellings import understand, writes_in_place


class Intercept(TorchFunctionMode):
    """Runs a forward so that each known operation obeys a rule chosen at backward.

    Args:
        tables: the rules of each backward pass that may follow; `active.table` says which is in
            force. An operation that a table does not name keeps its gradient, remembered in the
            least memory. Without any, no backward follows, and all runs as it would alone.
        model: what runs, of which a refusal names the parts.
    """

    def __init__(self, tables: Sequence[RuleTable], model: Forward) -> None:
        super().__init__()
        self.active = Active()
        self.coverage = Coverage()
        self.counting = True
        self.hooked = False
        self._tables = tables
        self._model = model
        self._guarded = training_buffers(model)
        self._asked = asked()
        self._backends: dict[tuple[torch.device, torch.dtype], Backend] = {}
        self._plans: dict[str, Plan | None] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._guarded:
            self._refuse_update(func, args, kwargs)
        understood = understand(func, args, kwargs)
        if understood is None:
            # A hook of the model's own may keep a gradient.
            self.hooked = self.hooked or func in _HOOKING
            return self._run(func, args, kwargs) if self._tables else func(*args, **kwargs)
        call, inputs = understood
        if call.arguments.get("training"):
            self._refuse_training(f"{call.operation.name} ({call.spelling})")
        if not self._tables:
            # No backward of ours follows, but one of the model's own may run inside its forward.
            return func(*args, **kwargs)
        if not (torch.is_grad_enabled() and _any_in_graph(inputs)):
            return self._run(func, args, kwargs)
        plan = self._plan(call)
        if self.counting:
            self.coverage.count(call, served=plan is not None)
        if plan is None:
            return self._run(func, args, kwargs)
        call.backend = self._backend_for(call.device, call.dtype)
        return Rewritten.apply(plan, call, *inputs)

    def _backend_for(self, device: torch.device, dtype: torch.dtype) -> Backend:
        if (device, dtype) not in self._backends:
            self._backends[device, dtype] = choose(Request(device, dtype), self._asked)
        return self._backends[device, dtype]

    def _plan(self, call: Call) -> Plan | None:
        """Give the rule of each table for this call; none if PyTorch's own gradient serves all."""
        if _any_in_graph(call.arguments.values()):
            return None
        name = call.operation.name
        if name not in self._plans:
            self._plans[name] = self._plan_of(name)
        return self._plans[name]

    def _plan_of(self, name: str) -> Plan | None:
        default = default_rule(name)
        if default is None and not any(name in table for table in self._tables):
            return None
        fallback = default or OwnGradient()
        return Plan([table.get(name, fallback) for table in self._tables], self.active)

    @staticmethod
    def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a function as it is, but without graph to the model's parameters."""
        if getattr(func, "__name__", "") in ("__get__", "__set__"):
            return func(*args, **kwargs)
        frozen = {name: _frozen(value) for name, value in kwargs.items()}
        return func(*(_frozen(value) for value in args), **frozen)

    def _refuse_update(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        written = args[0] if args and writes_in_place(func) else kwargs.get("out")
        if id(written) in self._guarded:
            self._refuse_training(f"the update of a buffer of {self._guarded[id(written)]!r}")

    def _refuse_training(self, what: str) -> None:
        parts = training_parts(self._model)
        way_out = (
            f"call model.eval() first (in training mode: {', '.join(map(repr, parts[:8]))}"
            f"{', ...' if len(parts) > 8 else ''})"
            if parts
            else "no module is in training mode, so the call itself must say training=False"
        )
        raise TrainingModeError(
            f"{what} was about to run in training mode, where the same input gives different"
            f" results; {way_out}. It was stopped before it changed anything"
        )


_HOOKING = (Tensor.register_hook, Tensor.retain_grad)


def _any_in_graph(values: Iterable[Any]) -> bool:
    for value in values:
        if isinstance(value, Tensor) and value.requires_grad and not value.is_leaf:
            return True
    return False


def _frozen(value: Any) -> Any:
    """Detach parameters: no gradient of theirs is ever computed, nothing remembered for it."""
    if isinstance(value, Tensor):
        return value.detach() if value.requires_grad and value.is_leaf else value
    if type(value) in (list, tuple) and any(isinstance(item, Tensor) for item in value):
        return type(value)(_frozen(item) for item in value)
    return value
