"""Where relevance stays on its way from the score to the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.select import original_name
from torchattr.core.types import Forward
from torchattr.core.undoing import Undo
from torchattr.core.warn import warn
from torchattr.errors import CoverageWarning, Hint, Message, NoRuleMatched, WayOut
from torchattr.layers.guards import hook_forward, named_modules_of
from torchattr.layers.hooks import ThreadHook
from torchattr.layers.operations.names import base_name
from torchattr.layers.operations.operation import spelled, wide
from torchattr.layers.operations.parsers import writes_in_place

Reason = Literal["bias", "constant", "stabiliser", "dead", "softmax", "unknown"]
"""Why relevance stays at an operation.

* `bias`: the share of an additive parameter of the operation.
* `constant`: the share of a summand or token that does not depend on the inputs.
* `stabiliser`: what the ε of a denominator takes.
* `dead`: relevance of outputs to which nothing contributed, so that the denominator is 0.
* `softmax`: what the gradient of attention weights does not conserve.
* `unknown`: what an operation that is neither linear nor known took or added.
"""


@dataclass(frozen=True)
class LedgerEntry:
    """The relevance that stayed at one call.

    Attributes:
        layer: the name of the module that made the call; empty outside of all.
        operation: the name of the function.
        reason: why it stayed.
        amount: how much; negative where the operation added relevance.
    """

    layer: str
    operation: str
    reason: Reason
    amount: float

    def scaled(self, factor: float) -> LedgerEntry:
        """Return the same entry in another unit."""
        return replace(self, amount=self.amount * factor)


def relevance_of(values: Tensor, grad: Tensor) -> Tensor:
    """Return `x · g` of each element, in float64.

    An infinite value, with which masks and paddings rule elements out, has none where `g` is 0.
    """
    return torch.where(grad == 0, 0, values.double() * grad.double())


def total(values: Tensor) -> Tensor:
    """Return the sum of all values.

    In their own precision, single at least: PyTorch adds in blocks, so that the error is that of a
    few additions, and a copy in double precision would take longer than the sum.
    """
    return wide(values).sum().double()


def share_of_each(values: Tensor, signal: Tensor, dim: int) -> Tensor:
    """Return the relevance of values of which each belongs to an index of one dimension.

    Args:
        values: the values, `(C,)`.
        signal: what each is multiplied by wherever it occurs.
        dim: the dimension of `signal` that has the size `C`.
    """
    others = [other for other in range(signal.dim()) if other != dim % signal.dim()]
    sums = wide(signal).sum(others) if others else signal
    return torch.dot(sums.double(), values.double())


class LedgerBook:
    """The entries of one backward.

    Args:
        whole: whether to note all that stays, not only what operations took that are not known.
    """

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.entries: list[LedgerEntry] = []
        self.layers = LayerStack()
        self._paid_out: set[int] = set()
        self._meters: list[_Meter] = []

    def begin(self, paid_out: Iterable[Any] = ()) -> None:
        """Forget the entries of an earlier backward.

        Args:
            paid_out: the nodes of the graph at which relevance itself arrives.
        """
        self.entries.clear()
        # By identity: the nodes themselves refer to the meters.
        self._paid_out.clear()
        self._paid_out.update(map(id, paid_out))
        for meter in self._meters:
            meter.clear()

    def end(self) -> None:
        """Note what measured calls took."""
        for meter in self._meters:
            entry = meter.entry()
            if entry is not None:
                self.entries.append(entry)

    @property
    def unknown(self) -> list[LedgerEntry]:
        """What operations took or added that are neither linear nor known."""
        return [entry for entry in self.entries if entry.reason == "unknown"]

    def note(self, layer: str, operation: str, absorbed: Mapping[Reason, Tensor]) -> None:
        """Note what a rule says that stayed at its call."""
        for reason, amount in absorbed.items():
            self.entries.append(LedgerEntry(layer, operation, reason, float(amount)))

    def wants(self, func: Any, kwargs: Mapping[str, Any]) -> bool:
        """Whether a call of a function that is no known operation must be measured."""
        name = base_name(func)
        if name in _CONSERVING:
            return kwargs.get("rounding_mode") is not None  # Of a quotient, which is then a step.
        return self.whole or name not in _AFFINE

    def run(
        self, run: Callable[..., Any], func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run a function, and measure what passes it in the backward."""
        if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors_of(args))):
            return run(func, args, kwargs)
        meter = _Meter(self.layers.current, func, self._paid_out)
        self._meters.append(meter)
        probed = with_tensors(list(args), meter.probed)
        result = run(func, probed, {name: meter.probed_in(it) for name, it in kwargs.items()})
        if not writes_in_place(func):
            for tensor in tensors_of(result):
                meter.watch(tensor)
            return result
        meter.watch(probed[0])
        args[0].copy_(probed[0])
        return args[0]


def refuse_unknown(names: Iterable[str], *, strict: bool) -> None:
    """Raise or warn because operations carried relevance that are neither linear nor known.

    Raises:
        NoRuleMatched: `strict`; otherwise a :class:`CoverageWarning`.
    """
    named = list(dict.fromkeys(names))
    shown = ", ".join(named[:3]) + (", ..." if len(named) > 3 else "")
    message = Message(
        f"relevance passed {shown}, which is neither linear nor has a rule, so it is not conserved",
        Hint(ways_out=[WayOut("explain a value before it"), LENIENT]),
    )
    if strict:
        raise NoRuleMatched(message)
    warn(message, CoverageWarning)


class LayerStack:
    """The modules that run at present, by name."""

    def __init__(self) -> None:
        self._names: list[str] = []
        # What keeps a trace may be the model itself.
        self._followed: list[tuple[str, ReferenceType[nn.Module]]] = []

    @property
    def current(self) -> str:
        """The name of the innermost module that has one."""
        return self._names[-1] if self._names else ""

    def follow(self, undo: Undo, model: Forward) -> None:
        """Follow the modules of a model, until that is undone."""
        named = [(original_name(name), module) for name, module in named_modules_of(model)]
        self._followed = [(name, ref(module)) for name, module in named if name]
        self.repeat(undo)

    def repeat(self, undo: Undo) -> None:
        """Follow the same modules while a backward runs, which may run checkpointed ones again."""
        for name, module in self._followed:
            running = module()
            if running is not None:
                hook_forward(undo, running, ThreadHook(self._entering(name)), before=True)
                hook_forward(undo, running, ThreadHook(self._leaving), before=False)

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, *args: Any) -> None:
            self._names.append(name)

        return enter

    def _leaving(self, module: nn.Module, *args: Any) -> None:
        if self._names:
            self._names.pop()


class _Meter:
    """Compares the relevance that arrives at a call with what leaves it.

    Both in the currency of gradients and in that of relevance itself: which of them it is, is known
    where it leaves.
    """

    def __init__(self, layer: str, func: Any, paid_out: Set[int]) -> None:
        self._layer = layer
        self._func = func
        self._paid_out = paid_out
        self.clear()

    def clear(self) -> None:
        self._of_products, self._of_gradients = _Balance(), _Balance()
        self._is_paid_out = False
        self._eps = 0.0

    def probed(self, tensor: Tensor) -> Tensor:
        """Return a copy of an input, whose relevance counts as leaving the call."""
        return Probe.apply(self, tensor) if tensor.requires_grad else tensor

    def probed_in(self, value: Any) -> Any:
        return with_tensors(value, self.probed)

    def watch(self, output: Tensor) -> None:
        """Count the relevance of an output as arriving."""
        if output.requires_grad:
            values = output.detach().clone()
            output.register_hook(lambda grad: self.count(values, grad, 1))

    def leaves(self, node: Any, values: Tensor, grad: Tensor | None) -> None:
        """Count the relevance that leaves through an input."""
        self._is_paid_out = id(node) in self._paid_out
        self.count(values, grad, -1)

    def count(self, values: Tensor, grad: Tensor | None, sign: int) -> None:
        """Add the relevance of values that arrives, or with a negative sign leaves."""
        if grad is None:  # Nothing flows: a rule sent zeros.
            return
        self._of_products.add(relevance_of(values, grad), sign)
        if self._paid_out:
            self._of_gradients.add(grad.double(), sign)
        self._eps = torch.finfo(values.dtype).eps

    def entry(self) -> LedgerEntry | None:
        balance = self._of_gradients if self._is_paid_out else self._of_products
        if abs(balance.leak) <= _ROUNDING * self._eps * balance.size:
            return None
        reason: Reason = "constant" if base_name(self._func) in _AFFINE else "unknown"
        return LedgerEntry(self._layer, spelled(self._func), reason, balance.leak)


class _Balance:
    """What arrived less what left, and the size of both."""

    def __init__(self) -> None:
        self.leak = 0.0
        self.size = 0.0

    def add(self, relevance: Tensor, sign: int) -> None:
        """Add relevance that arrives, or with a negative sign leaves."""
        self.leak += sign * float(relevance.sum())
        self.size += float(relevance.abs().sum())


class Probe(torch.autograd.Function):
    """A copy whose gradient shows which relevance leaves a call through one of its inputs."""

    @staticmethod
    def forward(ctx: Any, meter: _Meter, tensor: Tensor) -> Tensor:
        # A copy: the model may write over its own tensor, and over the one returned here.
        ctx.meter, ctx.values = meter, tensor.detach().clone()
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        ctx.meter.leaves(ctx, ctx.values, grad)
        return None, grad


LENIENT = WayOut("to lower this to a warning, pass {setting}", "strict", False)

_ROUNDING = 64
"""Rounding errors, in units of the dtype's, that a sum of relevance may have."""

_CONSERVING = frozenset(
    (
        # Elements elsewhere, or more of them.
        *("alias", "as_strided", "broadcast_to", "chunk", "clone", "contiguous", "detach"),
        *("diagonal", "dsplit", "expand", "expand_as", "flatten", "flip", "fliplr", "flipud"),
        *("fold", "col2im", "unfold", "im2col", "gather", "getitem", "hsplit", "index_select"),
        *("movedim", "moveaxis", "narrow", "permute", "pixel_shuffle", "pixel_unshuffle", "ravel"),
        *("repeat", "repeat_interleave", "tile", "reshape", "reshape_as", "roll", "rot90"),
        *("select", "slice", "split", "split_with_sizes", "squeeze", "swapaxes", "swapdims", "t"),
        *("T", "mT", "H", "mH", "transpose", "unbind", "unflatten", "unsqueeze", "view"),
        *("view_as", "vsplit", "channel_shuffle", "native_channel_shuffle", "real", "imag"),
        *("float", "double", "half", "bfloat16", "to", "type", "type_as", "cpu", "cuda"),
        # Refused in training, and nothing at inference.
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"),
        *("feature_alpha_dropout", "native_dropout"),
        # Sums, and products with a number: those of two tensors are operations.
        *("neg", "negative", "sum", "mean", "cumsum", "mul", "multiply", "imul", "rmul", "div"),
        *("divide", "true_divide", "truediv", "itruediv", "interpolate", "upsample"),
        # In training they are refused.
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"),
        *("feature_alpha_dropout", "native_dropout"),
        # No result that relevance could pass.
        *("is_nested", "assert", "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "zeros_like", "ones_like"),
        *("empty_like", "full_like", "argmax", "argmin", "any", "all"),
        *("requires_grad", "retain_grad", "register_hook", "set", "get", "data", "numpy", "dim"),
        *("size", "numel", "stride", "shape", "dtype", "device", "is_floating_point", "ndim"),
        *("layout", "item", "tolist", "is_contiguous", "storage_offset", "untyped_storage"),
        *("data_ptr", "element_size", "is_complex"),
    )
)
"""Functions that are linear in what depends on the inputs, so that their gradient conserves
relevance, and functions that return no tensor."""

_AFFINE = frozenset(
    (
        *("add", "sub", "subtract", "rsub", "radd", "iadd", "isub", "cat", "concat", "concatenate"),
        *("stack", "hstack", "vstack", "dstack", "where", "masked_fill", "masked_scatter"),
        *("index_put", "index_fill", "index_copy", "index_add", "scatter", "scatter_add"),
        *("setitem", "pad", "constant_pad_nd", "copy", "baddbmm", "addmm"),
    )
)
"""Functions that may have a constant summand."""
