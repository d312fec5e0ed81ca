"""The function mode under which a model runs: it routes each operation to its rules and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr.core.functorch import is_transformed, unwrapped
from torchattr.core.gradient_mode import gradients
from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.torch_private import make_dual, opened
from torchattr.core.types import Forward
from torchattr.core.undoing import Undo, undoing
from torchattr.kernels import Backend, Request, choose, requested_backend
from torchattr.layers.autograd import (
    OperationRules,
    Restated,
    RuleFunction,
    is_entrance,
    mapped,
    may_be_mapped,
)
from torchattr.layers.backward import BackwardState, InnerGradients
from torchattr.layers.composite import CheckedTable, Composite
from torchattr.layers.coverage import COMPOSITES, Coverage, own_gradient
from torchattr.layers.graph import nodes_of
from torchattr.layers.guards import enter_mode
from torchattr.layers.layouts.notes import TensorNotes
from torchattr.layers.ledger import LedgerBook
from torchattr.layers.operations.decompositions import Parts, parts_of
from torchattr.layers.operations.operation import OPERATIONS, Call
from torchattr.layers.operations.parsers import (
    MAKES_MASKS,
    MaskOrigins,
    ParsedCall,
    parse_call,
    parse_requested,
    writes_in_place,
)
from torchattr.layers.registry import RuleTable, default_rule
from torchattr.layers.rule import LayerRule, OwnGradient
from torchattr.layers.training import TrainingGuard


class RuleMode(TorchFunctionMode):
    """Runs a forward so that the backward of each known operation is that of a rule.

    Args:
        tables: the rules of each backward pass that may follow; `backward_state.table` is the
            position of the one in force. An operation that a table does not name keeps its
            gradient, with as little memory as possible.
        model: the model that runs, whose submodules error messages name.
        prepared: which gradients the forward may compute itself; any other stops it.
        book: measures where relevance stays, if that is wanted.
        written: the operations after which the model writes over what their rules save.

    Attributes:
        coverage: the counts of the calls.
        counting: whether calls are counted; a checkpointed part that runs again is not.
        hooked: whether the model registered a hook on a tensor.
        follows_modules: whether rules depend on the module that runs.
    """

    def __init__(
        self,
        tables: Sequence[RuleTable],
        model: Forward,
        prepared: InnerGradients = InnerGradients.NONE,
        book: LedgerBook | None = None,
        written: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        keeps_values = any(isinstance(table, (Composite, CheckedTable)) for table in tables)
        self.backward_state = BackwardState(prepared, written if keeps_values else None)
        self.book = self.backward_state.book = book
        self.coverage = Coverage()
        self.counting = True
        self.hooked = False
        self._tables = tables
        self._all_native = prepared is InnerGradients.ANY
        self._training = TrainingGuard(model)
        self._masks = MaskOrigins()
        self._leaves: TensorNotes[bool] = TensorNotes()
        self._requested = requested_backend()
        self._backends: dict[tuple[torch.device, torch.dtype], Backend] = {}
        self._rules: dict[tuple[str, str], OperationRules | None] = {}
        composites = [table for table in tables if isinstance(table, Composite)]
        self._inside = {name for table in composites for name in table.inside}
        self.follows_modules = any(table.inside or table.layers for table in composites)
        named = {name for table in tables for name in table}
        self._on_request = {name for name in named if OPERATIONS[name].on_request}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if kwargs is None:
            kwargs = {}
        if func in _READS_SIZES:
            return func(*args, **kwargs)
        self._training.watch(func, args, kwargs)
        parsed = parse_call(func, args, kwargs, self._masks)
        self._training.watch_parsed(parsed)
        if self._on_request:
            if func in OPENED:
                return undoing(partial(self._run_opened, func, args, kwargs))
            parsed = self._requested_instead(parsed, func, args, kwargs)
            parts = parts_of(func, self._on_request)
            if parts is not None and self._may_take_apart(parsed, args, kwargs):
                return self._run_in_parts(parts, func, args, kwargs)
        if parsed is None:
            return self._run_other(func, args, kwargs)
        call, inputs = parsed
        transformed = is_transformed()
        if not (torch.is_grad_enabled() and self._any_in_graph(inputs, transformed)):
            return self._run(func, args, kwargs)
        rules = self._rules_for(call, transformed)
        if self.counting:
            self.coverage.count(call, served=rules is not None)
        if rules is None:
            return self._run_measured(func, args, kwargs)
        if self.book is not None:
            call.layer = self.book.layers.current
        if self.counting:
            rules.group.add(call)
        call.backend = self._backend_for(call.device, call.dtype)
        if transformed:
            return mapped(rules, call, inputs[0])
        if call.is_masked:
            call.once = partial(func, *args, **kwargs)
        return RuleFunction.apply(rules, call, *map(self._frozen, inputs))

    def _requested_instead(
        self,
        parsed: ParsedCall | None,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> ParsedCall | None:
        """Return a call as a requested operation, unless another one that rules can serve."""
        if parsed is not None:
            call = parsed[0]
            if not only_refused(call) and not self._has_computed_arguments(call, is_transformed()):
                return parsed
        return parse_requested(func, args, kwargs, self._on_request) or parsed

    def _may_take_apart(
        self, parsed: ParsedCall | None, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> bool:
        """Whether a call has no rule of its own, and depends on the inputs."""
        if (
            parsed is not None
            and not only_refused(parsed[0])
            and not self._has_computed_arguments(parsed[0], is_transformed())
        ):
            return False
        given = tensors_of((list(args), dict(kwargs)))
        return (
            torch.is_grad_enabled() and not is_transformed() and self._any_in_graph(given, False)
        ) and kwargs.get("out") is None

    def _run_in_parts(
        self, parts: Parts, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run a function; its graph is that of the operations that it is made of."""
        kwargs = {name: value for name, value in kwargs.items() if name != "out"}
        is_written = writes_in_place(func)
        # What a function writes over must stay as it is for the backward of its parts.
        given = [args[0].clone(), *args[1:]] if is_written else args
        found = undoing(partial(self._parts, parts, given, kwargs))
        if found is None:
            return self._run_measured(func, args, kwargs)
        with gradients(False):
            held = Tensor.clone if is_written else Tensor.detach
            copied, named = with_tensors((list(given), kwargs), held)
            own = func(*copied, **named)
        if not isinstance(own, tuple):
            result = Restated.apply(found, [own])
            return args[0].copy_(result) if is_written else result
        results = [
            one if part is None else Restated.apply(part, [one])
            for one, part in zip(own, found, strict=True)
        ]
        return type(own)(results)

    def _parts(self, parts: Parts, args: Sequence[Any], kwargs: Any, undo: Undo) -> Any:
        enter_mode(undo, self)
        return parts(*args, **kwargs)

    def _run_opened(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], undo: Undo
    ) -> Any:
        """Run the body of a function of PyTorch under this mode."""
        enter_mode(undo, self)
        return opened(func)(*args, **kwargs)

    def _run_other(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a function that is not an operation, and record what later calls depend on."""
        if func not in _RECORDED:
            return self._run_measured(func, args, kwargs)
        if func in _TAKES_GRADIENTS and self.counting and not is_transformed():
            self.backward_state.require(_inner_gradients(func, *args, **kwargs))
            # Our own backwards may need the same part of the graph again.
            kwargs = {**kwargs, **_TAKES_GRADIENTS[func]}
        # The model's own hook may keep a gradient.
        self.hooked = self.hooked or func in _HOOKS_TENSORS
        result = self._run(func, args, kwargs)
        self._masks.note(func, args, kwargs, result)
        if func in _MAKES_LEAVES and not self.counting:
            self._leaves[args[0]] = True
        if func in COMPOSITES:
            own_gradient(result, args[0])
        return result

    def _run_measured(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a function unchanged; measure its relevance if that is wanted."""
        if self.book is None or is_transformed() or not self.book.wants(func, kwargs):
            return self._run(func, args, kwargs)
        return self.book.run(self._run, func, args, kwargs)

    def _backend_for(self, device: torch.device, dtype: torch.dtype) -> Backend:
        backend = self._backends.get((device, dtype))
        if backend is None:
            backend = choose(Request(device, dtype), self._requested)
            self._backends[device, dtype] = backend
        return backend

    def _rules_for(self, call: Call, transformed: bool) -> OperationRules | None:
        """Return the rules of this call; `None` if PyTorch's own gradient serves every table."""
        if self._all_native or (transformed and not may_be_mapped(call)):
            self.coverage.inside[call.operation.name] += self.counting
            return None
        if self._has_computed_arguments(call, transformed):
            return None
        key = call.operation.name, self._module()
        if key not in self._rules:
            self._rules[key] = self._make_rules(*key)
        return self._rules[key]

    def _module(self) -> str:
        """Return the name of the module that runs, if it has rules of its own."""
        running = self.book.layers.current if self._inside and self.book is not None else ""
        return running if running in self._inside else ""

    def _make_rules(self, name: str, module: str) -> OperationRules | None:
        default = default_rule(name)
        chosen = [_saving(table, name, module) for table in self._tables]
        if default is None and not any(chosen):
            return None
        fallback = default or OwnGradient()
        rules = [rule or fallback for rule in chosen]
        for_inner = [fallback] if self.backward_state.prepared else []
        return OperationRules([*rules, *for_inner], self.backward_state)

    def _run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a function unchanged, but without a graph to the model's parameters.

        If the forward computes gradients itself, the parameters stay in the graph: it may need
        theirs.
        """
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__") or self._all_native or is_transformed():
            return func(*args, **kwargs)
        frozen = {name: self._frozen(value) for name, value in kwargs.items()}
        return func(*(self._frozen(value) for value in args), **frozen)

    def _frozen(self, value: Any) -> Any:
        """Detach parameters: their gradients are never computed, so nothing is saved for them."""
        if isinstance(value, Tensor):
            frozen = value.requires_grad and value.is_leaf and not self._leaves.get(value)
            return value.detach() if frozen else ordinary(value)
        if type(value) in (list, tuple) and any(isinstance(item, Tensor) for item in value):
            return type(value)(self._frozen(item) for item in value)
        return value

    def _has_computed_arguments(self, call: Call, transformed: bool) -> bool:
        """Whether an argument depends on the inputs, so that no rule can serve a call.

        A table that an earlier forward computed from parameters and left on the model may still
        have its graph.
        """
        values = call.arguments.values()
        if not self._any_in_graph(values, transformed):
            return False
        if transformed or not self.counting:
            return True
        tensors = [value for value in values if isinstance(value, Tensor)]
        return any(is_entrance(node) for node in nodes_of(*tensors))

    def _any_in_graph(self, values: Iterable[Any], transformed: bool) -> bool:
        """Whether any value is in the graph; as one loop, since it runs twice a call."""
        for value in values:
            if isinstance(value, Tensor):
                plain = unwrapped(value) if transformed else value
                # Only the graph of a part that runs again begins at leaves.
                if plain.requires_grad and (
                    not plain.is_leaf or (not self.counting and self._leaves.get(plain))
                ):
                    return True
        return False


def _saving(table: RuleTable, operation: str, module: str) -> LayerRule | None:
    """Return a rule that saves what the table's rules for an operation in a module need."""
    if isinstance(table, Composite):
        return table.saving(operation, module)
    return table.get(operation)


def only_refused(call: Call) -> bool:
    """Whether a call is known only so that its dropout can be refused."""
    return call.operation.kind == "dropout"


def ordinary(value: Any) -> Any:
    """Return a tensor that autograd can save: a copy of one made in inference mode."""
    if isinstance(value, Tensor) and value.is_inference():
        return value.clone()
    return value


OPENED = (F.multi_head_attention_forward, F.local_response_norm, F.softmin)
"""Functions that hand themselves to a mode as a whole, although their bodies are operations."""

# What these return is no tensor.
_READS_SIZES = frozenset(
    (
        *(Tensor.dim, Tensor.size, Tensor.numel, Tensor.stride, Tensor.is_floating_point),
        Tensor.shape.__get__,  # type: ignore[attr-defined]
        Tensor.ndim.__get__,  # type: ignore[attr-defined]
        Tensor.dtype.__get__,  # type: ignore[attr-defined]
        Tensor.device.__get__,
        Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
    )
)

_HOOKS_TENSORS = (Tensor.register_hook, Tensor.retain_grad)

# Functions that create leaves: the graph of a checkpointed part that runs again ends at its own.
_MAKES_LEAVES = (Tensor.requires_grad_, Tensor.requires_grad.__set__)  # type: ignore[attr-defined]

# Functions that compute gradients, and the keywords added to such calls.
_TAKES_GRADIENTS: Mapping[Any, Mapping[str, Any]] = {
    torch.autograd.grad: {"retain_graph": True},
    torch.autograd.backward: {"retain_graph": True},
    Tensor.backward: {"retain_graph": True},
    make_dual: {},
}

_RECORDED = frozenset(
    (*_TAKES_GRADIENTS, *_HOOKS_TENSORS, *_MAKES_LEAVES, *COMPOSITES, *MAKES_MASKS)
)
"""Functions that are more than run."""


def _inner_gradients(
    func: Any, *args: Any, create_graph: bool = False, **kwargs: Any
) -> InnerGradients:
    """Return which gradients a call computes: constant ones of tensors inside our graph, or any.

    Gradients of leaves need the graph to parameters, which is otherwise cut.
    """
    if func is not torch.autograd.grad or create_graph:
        return InnerGradients.ANY
    wanted = kwargs.get("inputs", args[1] if len(args) > 1 else ())
    tensors = [wanted] if isinstance(wanted, Tensor) else wanted
    are_inner = all(isinstance(tensor, Tensor) and not tensor.is_leaf for tensor in tensors)
    return InnerGradients.CONSTANT if are_inner else InnerGradients.ANY
