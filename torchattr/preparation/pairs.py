"""Find the batch-norms that can be folded, from the operations that a forward runs."""

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
    """The pairs that one forward ran.

    Attributes:
        foldable: those that can be folded.
        left: by name, why each remaining batch-norm cannot.
    """

    foldable: tuple[Pair, ...]
    left: Mapping[str, str]


def find_pairs(model: nn.Module, forward: Callable[[Callable[..., Any]], Any]) -> Pairs:
    """Run a model once and find the batch-norms that alone consume a convolution's output.

    Args:
        model: the model.
        forward: runs a callable like the model on the example inputs.
    """
    names = dict(model.named_modules())
    consumers = _Consumers(names)
    forward(consumers.around(model))
    norms = consumers.norms()
    left = {name: consumers.reason(name) for name in norms}
    pairs = [Pair(consumers.source(name), name) for name in norms if left[name] is None]
    return Pairs(tuple(pairs), {name: why for name, why in left.items() if why is not None})


class _Producers:
    """Records how often each module ran, and which convolution produced a tensor."""

    def __init__(self, names: Mapping[str, nn.Module]) -> None:
        self.runs: Counter[str] = Counter()
        self._names = names
        # Tensors are keyed by `id`, so outputs of convolutions are kept alive.
        self._kept: list[Tensor] = []
        self._producers: dict[int, str] = {}

    def record(self, name: str, output: Any) -> None:
        self.runs[name] += 1
        if isinstance(self._names[name], CONVOLUTIONS) and isinstance(output, Tensor):
            self._kept.append(output)
            self._producers[id(output)] = name

    def of(self, tensor: Tensor) -> str:
        """Return the name of the convolution that produced a tensor; empty if none did."""
        return self._producers.get(id(tensor), "")


class _Consumers(TorchFunctionMode):
    """Records what produced each batch-norm's input, and what else consumes it."""

    def __init__(self, names: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._names = names
        self._producers = _Producers(names)
        self._paths = ModuleStack(names, self._producers.record)
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
            self._read(output, "the caller, since the model returns it")
            return output

        return run

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        parsed = parse_call(func, args, kwargs, self._masks)
        operation = parsed[0].operation.name if parsed else None
        if parsed and operation in ("conv", "linear"):
            self._weights[id(parsed[0].weight)] += 1
        here = self._names.get(self._paths.current)
        if parsed and func is F.batch_norm and is_norm(here):
            self._normalise(self._paths.current, *parsed)
        elif parsed or not _reads_metadata_only(func):
            self._read((args, kwargs), _named(func))
        output = func(*args, **kwargs)
        self._masks.note(func, args, kwargs, output)
        return output

    def _normalise(self, name: str, call: Call, inputs: Sequence[Tensor]) -> None:
        self._taken[name] = self._producers.of(inputs[0])
        if normalises_by(call, self._names[name]):
            self._normalised.add(name)

    def _read(self, value: Any, reader: str) -> None:
        for item in tree_leaves(value):
            producer = self._producers.of(item)
            if producer:
                self._reads.setdefault(producer, []).append(reader)

    def norms(self) -> list[str]:
        """Return the names of all batch-norms: those that ran, in order, then the others."""
        ran = [name for name in self._producers.runs if is_norm(self._names[name])]
        rest = [name for name, part in self._names.items() if is_norm(part)]
        return list(dict.fromkeys((*ran, *rest)))

    def source(self, name: str) -> str:
        """Return the name of the convolution whose output a batch-norm consumed."""
        return self._taken.get(name, "")

    def reason(self, name: str) -> str | None:
        """Return why a batch-norm cannot be folded; `None` if it can."""
        own = self._reason_of_norm(name)
        if own is not None:
            return own
        conv = self.source(name)
        if not conv:
            return "its input is not the output of a convolution or linear layer"
        return self._reason_of_conv(conv)

    def _reason_of_norm(self, name: str) -> str | None:
        norm: Any = self._names[name]
        if norm.running_mean is None:
            return "it keeps no running statistics"
        if norm.training:
            return "it is in training mode"
        if not self._producers.runs[name]:
            return "it did not run on the example inputs"
        if self._producers.runs[name] > 1:
            return f"it ran {self._producers.runs[name]} times"
        if name not in self._normalised:
            return f"a {type(norm).__name__} does not normalise by its own statistics and weights"
        return "it has hooks on its input" if any_acts(norm._forward_pre_hooks) else None

    def _reason_of_conv(self, name: str) -> str | None:
        conv = self._names[name]
        if type(conv) not in CONVOLUTIONS:
            return f"{name} is a {type(conv).__name__}, not one of PyTorch's own"
        weight = conv._parameters.get("weight")
        if weight is None or any_acts(conv._forward_pre_hooks):
            return f"the weight or input of {name} is recomputed before each forward"
        if any_acts(conv._forward_hooks):
            return f"{name} has hooks on its output"
        if self._producers.runs[name] > 1:
            return f"{name} ran {self._producers.runs[name]} times"
        if self._weights[id(weight)] > 1:
            return f"the weight of {name} is used {self._weights[id(weight)]} times"
        if type(weight) is not nn.Parameter:
            return f"the weight of {name} is a {type(weight).__name__}"
        readers = dict.fromkeys(self._reads.get(name, ()))
        return f"the output of {name} is also read by {', '.join(readers)}" if readers else None


def is_norm(part: Any) -> bool:
    """Whether a module is a batch-norm, or has the attributes of one."""
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return isinstance(part, nn.modules.batchnorm._BatchNorm)
    names = ("running_mean", "running_var", "eps")
    return isinstance(part, nn.Module) and all(hasattr(part, name) for name in names)


def _reads_metadata_only(func: Any) -> bool:
    """Whether a function reads the metadata of a tensor, and none of its values."""
    return getattr(func, "__name__", "") in ("__get__", "dim", "size", "__len__")


def _named(func: Any) -> str:
    return str(getattr(func, "__name__", func))
