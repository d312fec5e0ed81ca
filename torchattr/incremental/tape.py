"""The tape of a clean forward: every call that depends on the inputs, and what it gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from inspect import signature
from math import inf
from types import FunctionType
from typing import Any, TypeVar
from weakref import finalize

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode

from torchattr.core.torch_private import DisableTorchFunction, is_functorch_wrapped_tensor
from torchattr.layers import writes_in_place

Function = Callable[..., Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Ref:
    """Stands on the tape for a value that depends on the inputs."""

    value: int


@dataclass
class TapeValue:
    """A tensor that depends on the inputs.

    Attributes:
        shape: its shape in the clean forward.
        dtype: its type.
        strides: how it lay in memory there.
        clean: what it held there; `None` once nobody needs it.
        readers: how many calls took it, and whether it is the model's output, as one more.
        version: how often `clean` had been written over when it was kept.
    """

    shape: torch.Size
    dtype: torch.dtype
    strides: tuple[int, ...]
    clean: Tensor | None
    readers: int = 0
    version: int | None = None

    def keep(self, clean: Tensor | None) -> None:
        """Note what the value holds now, if anybody needs it."""
        self.clean = clean
        self.version = None if clean is None or clean.is_inference() else clean._version

    @property
    def is_as_kept(self) -> bool:
        """Whether nothing wrote over the memory of `clean` since, as far as PyTorch counts."""
        return self.clean is None or self.version in (None, self.clean._version)


@dataclass(frozen=True)
class TapeEntry:
    """One call, in whose arguments and result a :class:`Ref` stands for each value.

    Attributes:
        function: what the model called.
        args: its positional arguments.
        kwargs: its keywords.
        result: what it gave.
        inputs: the values that it took, in the order of the arguments.
        outputs: the values that it gave.
        same: whether it gave the very tensor that it took first, written over or as it was.
    """

    function: Function
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    same: bool


@dataclass
class Tape:
    """What a clean forward did with its inputs, whose values come first."""

    entries: list[TapeEntry] = field(default_factory=list)
    values: list[TapeValue] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    """Values of which parts were written over."""
    opaque: set[int] = field(default_factory=set)
    """Values that are no plain tensors: of a class of their own, named, sparse, inside a vmap."""
    aliased: bool = False
    """Whether something was read that was written over through another tensor."""
    failed: str = ""
    """Why there is nothing else on it, if the run could not be written down."""


class TapeMode(TorchFunctionMode):
    """Writes down the calls that depend on some tensors, while a model runs.

    The model runs as it would alone: each call is made once, with what it was given, and whatever
    goes wrong in writing it down ends the recording only.

    Args:
        inputs: these tensors, in the order of their values.
        most: bytes of clean values that are kept; where there are more, nothing is.

    Attributes:
        tape: what was written down.
        is_full: whether there were more than that; the tape is of no use then.
    """

    def __init__(self, inputs: Sequence[Tensor], most: float = inf) -> None:
        super().__init__()
        self.tape = Tape()
        self.is_full = False
        self._left = most
        self._inputs = len(inputs)
        self._known: dict[int, int] = {}
        self._stale: set[int] = set()
        for tensor in inputs:
            self._write_down(partial(self._add, tensor))

    def finish(self, output: Any) -> None:
        """Note that what the model gives is read, too."""
        self._write_down(partial(self._finish, output))
        self._known.clear()

    def _finish(self, output: Any) -> None:
        for index in refs(self._without_tensors(output)):
            self.tape.values[index].readers += 1
        seen = all(value.is_as_kept for value in self.tape.values)
        self.tape.aliased = self.tape.aliased or not seen

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        call = self._write_down(partial(self._before, func, args, kwargs)) if self._known else None
        result = func(*args, **kwargs)
        if call is not None:
            self._write_down(partial(self._after, call, result))
        return result

    def _write_down(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - the model must not notice
            self._stop(f"the model could not be followed ({type(error).__name__}: {error})")
            return None

    def _before(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Call | None:
        """Note what a call takes, and save what it writes over."""
        taken = self._without_tensors((args, kwargs))
        inputs = tuple(refs(taken))
        if not inputs or func in ABOUT_SHAPE:
            return None
        if self._left < 0:
            self.is_full = True
            self._stop("its clean values do not fit into memory")
            return None
        self.tape.aliased = self.tape.aliased or not self._stale.isdisjoint(inputs)
        for index in inputs:
            self.tape.values[index].readers += 1
        wrote = list(refs(_written(func, taken[0], taken[1])))
        if wrote:
            self._save(inputs)
        return _Call(func, taken[0], taken[1], inputs, wrote)

    def _after(self, call: _Call, result: Any) -> None:
        """Note what a call gave."""
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors_in(result)):
            self._stop("the model builds a graph of its own, for gradients inside its forward")
            return
        inputs, wrote = call.inputs, call.wrote
        same = isinstance(result, Tensor) and self._known.get(id(result)) == inputs[0]
        # What was written over without being given back is known under its old name only.
        if wrote and not same:
            self.tape.lost.add(wrote[0])
        self.tape.aliased = self.tape.aliased or (bool(wrote) and wrote != [inputs[0]])
        given = map_tensors(result, self._add)
        self.tape.entries.append(
            TapeEntry(
                call.function, call.args, call.kwargs, given, inputs, tuple(refs(given)), same
            )
        )

    def _stop(self, why: str) -> None:
        """Keep nothing but why there is nothing."""
        self.tape = Tape(values=self.tape.values[: self._inputs], failed=why)
        for value in self.tape.values:
            value.keep(None)
        self._known.clear()

    def _add(self, tensor: Tensor) -> Ref:
        """Make a value of a tensor; one that was written over becomes a new value."""
        index, key = len(self.tape.values), id(tensor)
        with DisableTorchFunction():
            if _is_plain(tensor):
                value = TapeValue(tensor.shape, tensor.dtype, tensor.stride(), None)
                value.keep(tensor.detach())
                self._left -= tensor.nbytes
            else:
                value = TapeValue(torch.Size(()), torch.float32, (), None)
                self.tape.opaque.add(index)
        self.tape.values.append(value)
        if key not in self._known:
            # Once it is gone it may lend its identity to another one.
            finalize(tensor, self._known.pop, key, None).atexit = False
        self._known[key] = index
        return Ref(index)

    def _save(self, inputs: Sequence[int]) -> None:
        """Copy what is about to be written over, where somebody may still ask for it."""
        index = inputs[0]
        value = self.tape.values[index]
        alone = value.readers == 1 == len(inputs)
        with DisableTorchFunction():
            for other in self._shown_with(index):
                shown = self.tape.values[other]
                shown.keep(None if shown.clean is None else shown.clean.clone())
                self._stale.add(other)
            value.keep(None if alone or value.clean is None else value.clean.clone())

    def _shown_with(self, index: int) -> list[int]:
        """Return the other values that lie in the memory of one."""
        clean = self.tape.values[index].clean
        if clean is None:
            return []
        place = clean.untyped_storage().data_ptr()
        return [
            other
            for other, value in enumerate(self.tape.values)
            if other != index
            and value.clean is not None
            and value.clean.untyped_storage().data_ptr() == place
        ]

    def _without_tensors(self, arguments: Any) -> Any:
        return map_tensors(
            arguments,
            lambda tensor: Ref(self._known[id(tensor)]) if id(tensor) in self._known else tensor,
        )


@dataclass(frozen=True)
class _Call:
    """A call that is about to be made: as for :class:`TapeEntry`, and the values it writes over."""

    function: Function
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    inputs: tuple[int, ...]
    wrote: list[int]


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is its shape, type and memory, and nothing else."""
    return (
        type(tensor) in (Tensor, Parameter)
        and not is_functorch_wrapped_tensor(tensor)
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_nested or any(getattr(tensor, "names", ())))
        and not (tensor.is_conj() or tensor.is_neg())
    )


def writes(entry: TapeEntry) -> bool:
    """Whether a call wrote over the first of the values that it took."""
    return _written(entry.function, entry.args, entry.kwargs) == Ref(entry.inputs[0])


def writes_elsewhere(entry: TapeEntry) -> bool:
    """Whether a call wrote over a tensor that did not depend on the inputs."""
    written = _written(entry.function, entry.args, entry.kwargs)
    return written is not None and not writes(entry)


def _written(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what a call writes over, if anything."""
    if kwargs.get("out") is not None:
        return kwargs["out"]
    if not (writes_in_place(function) or _asked_to(function, args, kwargs)):
        return None
    named = kwargs.get("input", kwargs.get("self"))
    return args[0] if args else next(iter(kwargs.values()), None) if named is None else named


def _asked_to(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    place = _place_of_inplace(function)
    asked = args[place] if place is not None and place < len(args) else kwargs.get("inplace")
    return isinstance(asked, int) and bool(asked)


@cache
def _place_of_inplace(function: Function) -> int | None:
    """Return which positional argument asks for writing in place."""
    if not isinstance(function, FunctionType):
        return None
    try:
        names = list(signature(function).parameters)
    except (ValueError, TypeError):
        return None  # It wraps a function of C, which has no such argument.
    return names.index("inplace") if "inplace" in names else None


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return nested tuples, lists and dicts with each tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        items = [map_tensors(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else _like(value, items)
    if isinstance(value, dict):
        items = [map_tensors(item, change) for item in value.values()]
        changed = any(new is not old for new, old in zip(items, value.values(), strict=True))
        return _dict_like(value, dict(zip(value, items, strict=True))) if changed else value
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors that stand in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def _like(value: Any, items: list[Any]) -> Any:
    try:
        return type(value)(items)
    except TypeError:
        return tuple(items)


def _dict_like(value: dict[Any, Any], items: dict[Any, Any]) -> Any:
    """Return a dict, or whatever the model made of one, with other entries."""
    if type(value) is dict:
        return items
    try:
        return type(value)(**items)
    except TypeError:
        return items


def refs(value: Any) -> Iterator[int]:
    """Return the values that stand in nested tuples, lists and dicts, in their order."""
    if isinstance(value, Ref):
        yield value.value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from refs(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs(item)


def fill(value: Any, give: Callable[[int], Any]) -> Any:
    """Put something in the place of every reference in nested tuples, lists and dicts."""
    if isinstance(value, Ref):
        return give(value.value)
    if isinstance(value, (tuple, list)):
        items = [fill(item, give) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else _like(value, items)
    if type(value) is dict:
        return {name: fill(item, give) for name, item in value.items()}
    return value


_ATTRIBUTES = ("shape", "dtype", "device", "ndim", "layout", "is_leaf", "requires_grad", "grad_fn")
_KINDS = ("is_cuda", "is_cpu", "is_mps", "is_quantized", "is_sparse", "is_meta", "itemsize")

ABOUT_SHAPE = frozenset(
    [
        *(getattr(Tensor, name).__get__ for name in (*_ATTRIBUTES, *_KINDS)),
        *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.nelement, Tensor.ndimension),
        *(Tensor.is_floating_point, Tensor.is_complex, Tensor.__len__, Tensor.get_device),
        *(torch.is_floating_point, torch.is_complex, torch.numel, Tensor.element_size),
        *(torch.is_tensor, Tensor.is_contiguous),
    ]
)
"""Calls whose answer does not depend on what a tensor holds."""
