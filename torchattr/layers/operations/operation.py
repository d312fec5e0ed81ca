"""The operations that rules can be written for, and calls of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from torchattr.core.gradient_mode import gradients
from torchattr.core.torch_private import aten_nn
from torchattr.errors import RuleError
from torchattr.kernels import Backend, Order
from torchattr.layers.operations.place import Place

OperationKind = Literal[
    "rectifier",
    "activation",
    "linear",
    "pool",
    "norm",
    "merge",
    "dropout",
    "elementwise",
    "product",
    "attention",
    "reduction",
    "resampling",
]


@dataclass(frozen=True)
class Operation:
    """One operation, for all of its spellings.

    Attributes:
        name: its name in rules and messages.
        kind: its group in coverage reports. A `rectifier` is zero below zero and is rewritten by
            the rules for `relu`; an `activation` is rewritten only on request.
        extras: number of outputs after the first that rules see, under every spelling.
        on_request: whether its calls are recognised and counted only where a method or user has a
            rule for it.
    """

    name: str
    kind: OperationKind
    extras: int = 0
    on_request: bool = False


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation("relu", "rectifier"),
        Operation("leaky_relu", "activation"),
        Operation("prelu", "activation"),
        Operation("rrelu", "activation"),
        Operation("elu", "activation"),
        Operation("celu", "activation"),
        Operation("selu", "activation"),
        Operation("gelu", "activation"),
        Operation("silu", "activation"),
        Operation("mish", "activation"),
        Operation("hardswish", "activation"),
        Operation("softplus", "activation"),
        Operation("conv", "linear"),
        Operation("linear", "linear"),
        Operation("max_pool", "pool", extras=1),
        Operation("avg_pool", "pool"),
        Operation("adaptive_avg_pool", "pool"),
        Operation("adaptive_max_pool", "pool", extras=1),
        Operation("batch_norm", "norm"),
        Operation("layer_norm", "norm"),
        Operation("group_norm", "norm"),
        Operation("instance_norm", "norm"),
        Operation("add", "merge"),
        Operation("cat", "merge"),
        Operation("dropout", "dropout"),
        Operation("sigmoid", "elementwise", on_request=True),
        Operation("tanh", "elementwise", on_request=True),
        Operation("elementwise", "elementwise", on_request=True),
        Operation("mul", "product", on_request=True),
        Operation("matmul", "product", on_request=True),
        Operation("div", "product", on_request=True),
        Operation("reciprocal", "product", on_request=True),
        Operation("softmax", "attention", on_request=True),
        Operation("attention", "attention", on_request=True),
        Operation("rms_norm", "norm", on_request=True),
        Operation("normalize", "norm", on_request=True),
        Operation("mean", "reduction", on_request=True),
        Operation("sum", "reduction", on_request=True),
        Operation("amax", "reduction", on_request=True),
        Operation("vector_norm", "reduction", on_request=True),
        Operation("logsumexp", "reduction", on_request=True),
        Operation("interpolate", "resampling", on_request=True),
    )
}


def register_operation(operation: Operation) -> None:
    """Add an operation to :data:`torchattr.OPERATIONS`; parsers and rules for it may follow.

    Raises:
        RuleError: the name is taken by another operation.
    """
    if OPERATIONS.setdefault(operation.name, operation) != operation:
        raise RuleError(
            f"an operation called {operation.name!r} exists already"
            f" ({OPERATIONS[operation.name]}); choose another name"
        )


@dataclass(frozen=True)
class _Slot:
    """Placeholder of a differentiable input among the arguments of a call."""

    position: int


class CallGroup:
    """The calls of one operation in one forward, which may compute a constant of each together.

    One pass over the parameters of all calls takes a fraction of the time of one pass a call.
    """

    def __init__(self) -> None:
        self._arguments: list[Mapping[str, Any]] = []
        self._constants: list[Tensor] = []

    def add(self, call: Call) -> None:
        """Add a call of the forward that is running."""
        call.group, call.position = self, len(self._arguments)
        self._arguments.append(call.arguments)

    def constant(
        self, position: int, compute: Callable[[Sequence[Mapping[str, Any]]], Sequence[Tensor]]
    ) -> Tensor:
        """Return the constant of one call, computed for all calls from their arguments once."""
        known = len(self._constants)
        if position >= known:  # A forward that takes gradients itself makes calls after the first.
            self._constants += compute(self._arguments[known:])
        return self._constants[position]


class GradientReaders(ABC):
    """The readers of the gradient that arrives at a call."""

    @property
    @abstractmethod
    def is_sole(self) -> bool:
        """Whether only the call's own backward reads it."""


class Call:
    """One call of an operation, without its differentiable inputs.

    The operation's own arguments are attributes under their names: `call.weight`, `call.stride`,
    ... Further attributes are:

    * `operation`, `function` and `spelling`: the operation, the function that the model called, and
      its name;
    * `inplace`: whether it wrote over its first input;
    * `shape`, `dtype` and `device` of the first input, and the `shapes` of all of them;
    * `order`: the dimensions of the output from the slowest to the fastest in memory;
    * `backend`: where the hot operations run;
    * `place`, in backward: its neighbours in the graph, as far as known (:class:`Place`);
    * `notes`: what its rules noted in the forward beside the tensors that they saved;
    * `layer`: the name of the module that made it, where a ledger is kept;
    * `owns_grad`, in backward: whether nothing else reads the gradient that arrives, so that a rule
      may write over it.
    """

    # A forward makes many: slots instead of a dictionary halve what they cost.
    __slots__ = (
        *("operation", "inplace", "shape", "shapes", "dtype", "device", "order", "backend"),
        *("arguments", "readers", "drop_extras", "is_masked", "once", "_args", "_function"),
        *("group", "layer", "place", "position", "notes"),
        *("_kwargs", "_led", "_original", "function", "_stride", "__weakref__"),
    )

    order: Order
    backend: Backend
    place: Place

    def __init__(
        self,
        operation: Operation,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[Tensor],
        inplace: bool,
        arguments: Mapping[str, Any],
        spelling: Callable[..., Any],
    ) -> None:
        self.operation = operation
        self.inplace = inplace
        self.arguments = arguments
        self.drop_extras = self.is_masked = False
        self.readers: GradientReaders | None = None
        self.once: Callable[[], Any] | None = None
        self.group: CallGroup | None = None
        self.position = 0
        self.layer = ""
        self.notes: Any = None
        self._original: Call | None = None
        self._function = function
        self.function = spelling
        self._set_inputs(inputs)
        self._led = len(inputs) == 1 and bool(args) and args[0] is inputs[0]
        if self._led:
            self._args, self._kwargs = args[1:], kwargs
        else:
            self._args, self._kwargs = _without_inputs(args, kwargs, inputs)

    def _set_inputs(self, inputs: Sequence[Tensor]) -> None:
        first = inputs[0]
        self.shape = shape = first.shape
        self.dtype, self.device, self._stride = first.dtype, first.device, first.stride()
        self.shapes = (shape,) if len(inputs) == 1 else tuple([one.shape for one in inputs])

    def of(self, *inputs: Tensor) -> Call:
        """Return the same call on other inputs."""
        other = copy(self)
        other._original = self.original
        other._set_inputs(inputs)
        return other

    @property
    def original(self) -> Call:
        """The call as the model made it."""
        return self._original or self

    def __getattr__(self, name: str) -> Any:
        if name == "place":
            return Place()
        if name in ("arguments", "operation"):  # A copy that is being made has neither.
            raise AttributeError(name)
        if name in self.arguments:
            return self.arguments[name]
        raise AttributeError(f"a call of {self.operation.name} has no argument {name!r}")

    @property
    def owns_grad(self) -> bool:
        return self.readers is not None and self.readers.is_sole

    @property
    def spelling(self) -> str:
        return spelled(self.function)

    def run(self, *inputs: Tensor) -> Any:
        """Run the model's own function the first time, even if rules see it as another one."""
        if self.once is None:
            return self.compute(*inputs)
        once, self.once = self.once, None
        output = once()
        return inputs[0] if self.inplace else output

    def compute(self, *inputs: Tensor) -> Any:
        """Run the operation as the model called it, on other inputs."""
        if self._led:
            return self._function(*inputs, *self._args, **self._kwargs)
        args = [_fill(argument, inputs) for argument in self._args]
        kwargs = {name: _fill(argument, inputs) for name, argument in self._kwargs.items()}
        return self._function(*args, **kwargs)

    def vjp(self, grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return PyTorch's own gradient with respect to each of `inputs`."""
        # Hooks on what is saved belong to the model's own graph: a checkpointed part drops it.
        with gradients(), saved_tensors_hooks(_itself, _itself):
            fresh = [tensor.detach().requires_grad_() for tensor in inputs]
            # An in-place spelling must not write over a leaf, nor over tensors that a rule saved.
            given = [leaf.clone() for leaf in fresh] if self.inplace else fresh
            output = self.compute(*given)
            first = output if isinstance(output, Tensor) else output[0]
            return torch.autograd.grad(first, fresh, grad)

    def blank(self, like: Tensor) -> Tensor:
        """Return a tensor of the first input's shape and strides whose values nobody reads.

        PyTorch's own backward functions take their input but use only its shape. Memory that is
        never touched costs nothing on a CPU; on other devices one element is expanded.
        """
        if like.device.type == "cpu":
            return torch.empty_strided(self.shape, self._stride, dtype=like.dtype)
        return like.new_empty(1).expand(self.shape)


def _itself(saved: Tensor) -> Tensor:
    return saved


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `tensor.to(dtype)`; a tensor of that dtype itself, which takes a tenth of the time."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in single precision, if it has less."""
    return in_dtype(tensor, torch.promote_types(tensor.dtype, torch.float32))


def factors_of(call: Call) -> tuple[int, int]:
    """Return which inputs of a product are its factors: the first two, unless it says otherwise."""
    factors: tuple[int, int] = call.arguments.get("factors", (0, 1))
    return factors


@cache
def spelled(function: Callable[..., Any]) -> str:
    """Return a readable name of a function that a model called."""
    module = getattr(function, "__module__", None) or "torch.Tensor"
    owner = getattr(function, "__objclass__", None)
    name = getattr(function, "__name__", str(function))
    return f"Tensor.{name}" if owner is not None else f"{_PUBLIC.get(module, module)}.{name}"


_PUBLIC = {aten_nn.__name__: "torch.nn.functional"}
"""The module from which models take the functions of a private one."""


def _without_inputs(
    args: Sequence[Any], kwargs: Mapping[str, Any], inputs: Sequence[Tensor]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Replace the inputs by slots, so that a call keeps none of them alive."""
    waiting = list(enumerate(inputs))
    without = [_with_slots(argument, waiting) for argument in args]
    return without, {name: _with_slots(argument, waiting) for name, argument in kwargs.items()}


def _with_slots(argument: Any, waiting: list[tuple[int, Tensor]]) -> Any:
    """Replace an input by its slot; the two uses of `x` in `x + x` get a slot each."""
    if isinstance(argument, Tensor):
        for index, (position, tensor) in enumerate(waiting):
            if tensor is argument:
                del waiting[index]
                return _Slot(position)
    if type(argument) in (list, tuple):
        return [_with_slots(item, waiting) for item in argument]
    return argument


def _fill(argument: Any, inputs: Sequence[Tensor]) -> Any:
    if isinstance(argument, _Slot):
        return inputs[argument.position]
    if type(argument) is list:
        return [_fill(item, inputs) for item in argument]
    return argument
