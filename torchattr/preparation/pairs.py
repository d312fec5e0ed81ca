"""Which batch-norms can be folded: found by what a forward really runs, not by names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchattr.core.pytree import tree_leaves
from torchattr.core.undoing import undone
from torchattr.inspect import ModuleStack
from torchattr.layers import Call, MaskOrigins, any_acts, enter_mode, parse_call
from torchattr.preparation.folding import CONVOLUTIONS, normalises_by


@dataclass(frozen=True)
class Pair:
    """The names of a convolution and of the batch-norm that can be folded into it."""

    conv: str
    norm: str


@dataclass(frozen=True)
class Pairs:
    """What one forward showed.

    Attributes:
        foldable: the pairs.
        left: for each batch-norm that stays, by name, the reason.
    """

    foldable: tuple[Pair, ...]
    left: Mapping[str, str]


def find_pairs(model: nn.Module, forward: Callable[[Callable[..., Any]], Any]) -> Pairs:
    """Run a model once and find which batch-norms take what one convolution alone gives.

    Args:
        model: the model.
        forward: called with a function like the model; runs it on the example inputs.
    """
    names = dict(model.named_modules())
    seen = _Readers(names)
    forward(seen.around(model))
    normalised = seen.normalised()
    left = {name: seen.reason(name) for name in normalised}
    pairs = [Pair(seen.source(name), name) for name in normalised if left[name] is None]
    return Pairs(tuple(pairs), {name: why for name, why in left.items() if why is not None})


class _Givers:
    """Notes how often each module ran, and which convolution gave a tensor."""

    def __init__(self, names: Mapping[str, nn.Module]) -> None:
        self.runs: Counter[str] = Counter()
        self._names = names
        # Tensors are known by `id`, so those that convolutions gave are kept while this lives.
        self._kept: list[Tensor] = []
        self._givers: dict[int, str] = {}

    def given(self, name: str, output: Any) -> None:
        self.runs[name] += 1
        if isinstance(self._names[name], CONVOLUTIONS) and isinstance(output, Tensor):
            self._kept.append(output)
            self._givers[id(output)] = name

    def of(self, tensor: Tensor) -> str:
        """Give the name of the convolution that gave a tensor; empty if none did."""
        return self._givers.get(id(tensor), "")


class _Readers(TorchFunctionMode):
    """Notes who gave each batch-norm's input, and who else reads it."""

    def __init__(self, names: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._names = names
        self._givers = _Givers(names)
        self._paths = ModuleStack(names, self._givers.given)
        self._reads: dict[str, list[str]] = {}
        self._taken: dict[str, str] = {}
        self._normalised: set[str] = set()
        self._weights: Counter[int] = Counter()
        self._masks = MaskOrigins()

    def around(self, model: nn.Module) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with self._paths.following(), undone() as undo:
                enter_mode(undo, self)
                output = model(*args, **kwargs)
            self._read(output, "the model returns it")
            return output

        return run

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        understood = parse_call(func, args, kwargs, self._masks)
        operation = understood[0].operation.name if understood else None
        if understood and operation in ("conv", "linear"):
            self._weights[id(understood[0].weight)] += 1
        here = self._names.get(self._paths.current)
        if understood and func is F.batch_norm and is_norm(here):
            self._normalise(self._paths.current, *understood)
        elif understood or not _only_looks(func):
            self._read((args, kwargs), _named(func))
        output = func(*args, **kwargs)
        self._masks.note(func, args, kwargs, output)
        return output

    def _normalise(self, name: str, call: Call, inputs: Sequence[Tensor]) -> None:
        self._taken[name] = self._givers.of(inputs[0])
        if normalises_by(call, self._names[name]):
            self._normalised.add(name)

    def _read(self, value: Any, reader: str) -> None:
        for item in tree_leaves(value):
            giver = self._givers.of(item)
            if giver:
                self._reads.setdefault(giver, []).append(reader)

    def normalised(self) -> list[str]:
        """Give the names of all batch-norms: those that ran in their order, then the others."""
        ran = [name for name in self._givers.runs if is_norm(self._names[name])]
        rest = [name for name, part in self._names.items() if is_norm(part)]
        return list(dict.fromkeys((*ran, *rest)))

    def source(self, name: str) -> str:
        """Give the name of the convolution whose output a batch-norm took."""
        return self._taken.get(name, "")

    def reason(self, name: str) -> str | None:
        """Say why a batch-norm is left as it is."""
        own = self._reason_of_norm(name)
        if own is not None:
            return own
        conv = self.source(name)
        if not conv:
            return "its input is not what a convolution or linear layer gave"
        return self._reason_of_conv(conv)

    def _reason_of_norm(self, name: str) -> str | None:
        norm: Any = self._names[name]
        if norm.running_mean is None:
            return "it keeps no running statistics"
        if norm.training:
            return "it is in training mode"
        if not self._givers.runs[name]:
            return "it did not run on the example inputs"
        if self._givers.runs[name] > 1:
            return f"it ran {self._givers.runs[name]} times"
        if name not in self._normalised:
            return (
                f"a {type(norm).__name__} does not call batch_norm with the numbers that it holds"
            )
        return "it has hooks on its input" if any_acts(norm._forward_pre_hooks) else None

    def _reason_of_conv(self, name: str) -> str | None:
        conv = self._names[name]
        if type(conv) not in CONVOLUTIONS:
            return f"{name} is a {type(conv).__name__}, not one of PyTorch's own"
        weight = conv._parameters.get("weight")
        if weight is None or any_acts(conv._forward_pre_hooks):
            return f"the weight or input of {name} is made anew before each forward"
        if any_acts(conv._forward_hooks):
            return f"{name} has hooks on its output"
        if self._givers.runs[name] > 1:
            return f"{name} ran {self._givers.runs[name]} times"
        if self._weights[id(weight)] > 1:
            return f"the weight of {name} is used {self._weights[id(weight)]} times"
        if type(weight) is not nn.Parameter:
            return f"the weight of {name} is a {type(weight).__name__}"
        readers = dict.fromkeys(self._reads.get(name, ()))
        return f"what {name} gives has other readers: {', '.join(readers)}" if readers else None


def is_norm(part: Any) -> bool:
    """Whether a module is a batch-norm, or holds what one holds."""
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return isinstance(part, nn.modules.batchnorm._BatchNorm)
    names = ("running_mean", "running_var", "eps")
    return isinstance(part, nn.Module) and all(hasattr(part, name) for name in names)


def _only_looks(func: Any) -> bool:
    """Tell whether a function gives no value of the tensor, only what it is like."""
    return getattr(func, "__name__", "") in ("__get__", "dim", "size", "__len__")


def _named(func: Any) -> str:
    return str(getattr(func, "__name__", func))
