"""Record the tape of a clean forward: every call that depends on the inputs, with its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from torchattr.incremental.arguments import Ref, map_tensors, refs, tensors_in
from torchattr.layers import writes_in_place

Function = Callable[..., Any]
T = TypeVar("T")


@dataclass
class TapeValue:
    """A tensor that depends on the inputs.

    Attributes:
        shape: its shape in the clean forward.
        dtype: its dtype.
        strides: its strides there.
        clean: its content there; `None` once released.
        readers: number of calls that read it; being the model's output counts as one more.
        version: the version counter of `clean` when it was kept.
    """

    shape: torch.Size
    dtype: torch.dtype
    strides: tuple[int, ...]
    clean: Tensor | None
    readers: int = 0
    version: int | None = None

    def keep(self, clean: Tensor | None) -> None:
        """Keep the current content of the value, or nothing."""
        self.clean = clean
        self.version = None if clean is None or clean.is_inference() else clean._version

    @property
    def is_as_kept(self) -> bool:
        """Whether the memory of `clean` was not written since, by its version counter."""
        return self.clean is None or self.version in (None, self.clean._version)


@dataclass(frozen=True)
class TapeEntry:
    """One call, with a :class:`Ref` for each value in its arguments and result.

    Attributes:
        function: the function called.
        args: its positional arguments.
        kwargs: its keyword arguments.
        result: what it returned.
        inputs: the values read, in the order of the arguments.
        outputs: the values returned.
        same: whether it returned its first input, modified in place or not.
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
    """The calls of a clean forward and their values, those of the inputs first."""

    entries: list[TapeEntry] = field(default_factory=list)
    values: list[TapeValue] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    """Values that were partly overwritten."""
    opaque: set[int] = field(default_factory=set)
    """Values that are not plain tensors: of a subclass, named, sparse, inside a vmap."""
    aliased: bool = False
    """Whether a value was read after it was overwritten through another tensor."""
    failed: str = ""
    """Why the tape is empty, if the forward could not be recorded."""


class TapeMode(TorchFunctionMode):
    """Records the calls that depend on some tensors while a model runs.

    The model is unaffected: each call is made once, unchanged, and an error in recording only ends
    the recording.

    Args:
        inputs: these tensors, in the order of their values.
        most: maximum bytes of clean values; beyond that recording stops.

    Attributes:
        tape: the recording.
        is_full: whether the maximum was exceeded; the tape is then unusable.
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
            self._guarded(partial(self._add, tensor))

    def index_of(self, tensor: Tensor) -> int | None:
        """Return the value that a tensor now has on the tape; `None` if it is not known."""
        return self._known.get(id(tensor))

    def finish(self, output: Any) -> None:
        """Count the model's output as read, and end the recording."""
        self._guarded(partial(self._finish, output))
        self._known.clear()

    def _finish(self, output: Any) -> None:
        for index in self._without_tensors(output)[1]:
            self.tape.values[index].readers += 1
        seen = all(value.is_as_kept for value in self.tape.values)
        self.tape.aliased = self.tape.aliased or not seen

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        call = self._guarded(partial(self._before, func, args, kwargs)) if self._known else None
        result = func(*args, **kwargs)
        if call is not None:
            self._guarded(partial(self._after, call, result))
        return result

    def _guarded(self, step: Callable[[], T]) -> T | None:
        try:
            # No mode may see what the recording itself asks of tensors.
            with DisableTorchFunction():
                return step()
        except Exception as error:  # noqa: BLE001 - recording must not affect the model
            self._stop(f"the model could not be recorded ({type(error).__name__}: {error})")
            return None

    def _before(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Call | None:
        """Record what a call reads, and save what it overwrites."""
        if func in ABOUT_SHAPE:
            return None
        taken, inputs = self._without_tensors((args, kwargs))
        if not inputs:
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
        """Record what a call returned."""
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors_in(result)):
            self._stop("the model computes gradients inside its forward")
            return
        inputs, wrote = call.inputs, call.wrote
        same = isinstance(result, Tensor) and self._known.get(id(result)) == inputs[0]
        # A value overwritten but not returned keeps its old index.
        if wrote and not same:
            self.tape.lost.add(wrote[0])
        self.tape.aliased = self.tape.aliased or (bool(wrote) and wrote != [inputs[0]])
        first = len(self.tape.values)
        given = map_tensors(result, self._add)
        outputs = tuple(range(first, len(self.tape.values)))
        self.tape.entries.append(
            TapeEntry(call.function, call.args, call.kwargs, given, inputs, outputs, same)
        )

    def _stop(self, why: str) -> None:
        """Discard the recording, and keep the reason."""
        self.tape = Tape(values=self.tape.values[: self._inputs], failed=why)
        for value in self.tape.values:
            value.keep(None)
        self._known.clear()

    def _add(self, tensor: Tensor) -> Ref:
        """Add a value for a tensor; a tensor modified in place becomes a new value."""
        index, key = len(self.tape.values), id(tensor)
        if _is_plain(tensor):
            value = TapeValue(tensor.shape, tensor.dtype, tensor.stride(), None)
            value.keep(tensor.detach())
            self._left -= tensor.nbytes
        else:
            value = TapeValue(torch.Size(()), torch.float32, (), None)
            self.tape.opaque.add(index)
        self.tape.values.append(value)
        if key not in self._known:
            # Once it is freed, another tensor may get its `id`.
            finalize(tensor, self._known.pop, key, None).atexit = False
        self._known[key] = index
        return Ref(index)

    def _save(self, inputs: Sequence[int]) -> None:
        """Copy what is about to be overwritten, where it may still be read."""
        index = inputs[0]
        value = self.tape.values[index]
        alone = value.readers == 1 == len(inputs)
        for other in self._sharing_memory_with(index):
            shown = self.tape.values[other]
            shown.keep(None if shown.clean is None else shown.clean.clone())
            self._stale.add(other)
        value.keep(None if alone or value.clean is None else value.clean.clone())

    def _sharing_memory_with(self, index: int) -> list[int]:
        """Return the other values in the same storage."""
        clean = self.tape.values[index].clean
        if clean is None:
            return []
        storage = clean.untyped_storage().data_ptr()
        return [
            other
            for other, value in enumerate(self.tape.values)
            if other != index
            and value.clean is not None
            and value.clean.untyped_storage().data_ptr() == storage
        ]

    def _without_tensors(self, arguments: Any) -> tuple[Any, tuple[int, ...]]:
        """Return arguments with references in place of known tensors, and which were referenced."""
        found: list[int] = []

        def referenced(tensor: Tensor) -> Tensor | Ref:
            index = self._known.get(id(tensor))
            if index is None:
                return tensor
            found.append(index)
            return Ref(index)

        return map_tensors(arguments, referenced), tuple(found)


@dataclass(frozen=True)
class _Call:
    """A call about to be made: as for :class:`TapeEntry`, and the values that it overwrites."""

    function: Function
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    inputs: tuple[int, ...]
    wrote: list[int]


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is fully described by its shape, dtype, strides and memory."""
    return (
        type(tensor) in (Tensor, Parameter)
        and not is_functorch_wrapped_tensor(tensor)
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_nested or any(getattr(tensor, "names", ())))
        and not (tensor.is_conj() or tensor.is_neg())
    )


def writes_input(entry: TapeEntry) -> bool:
    """Whether a call overwrote its first input."""
    return _written(entry.function, entry.args, entry.kwargs) == Ref(entry.inputs[0])


def writes_elsewhere(entry: TapeEntry) -> bool:
    """Whether a call overwrote a tensor that does not depend on the inputs."""
    written = _written(entry.function, entry.args, entry.kwargs)
    return written is not None and not writes_input(entry)


def _written(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what a call overwrites, if anything."""
    if kwargs.get("out") is not None:
        return kwargs["out"]
    if not (writes_in_place(function) or _is_inplace(function, args, kwargs)):
        return None
    named = kwargs.get("input", kwargs.get("self"))
    return args[0] if args else next(iter(kwargs.values()), None) if named is None else named


def _is_inplace(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    position = _position_of_inplace(function)
    inplace = (
        args[position] if position is not None and position < len(args) else kwargs.get("inplace")
    )
    return isinstance(inplace, int) and bool(inplace)


@cache
def _position_of_inplace(function: Function) -> int | None:
    """Return the position of the `inplace` argument, if there is one."""
    if not isinstance(function, FunctionType):
        return None
    try:
        names = list(signature(function).parameters)
    except (ValueError, TypeError):
        return None  # It wraps a C function, which has no such argument.
    return names.index("inplace") if "inplace" in names else None


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
"""Calls whose result does not depend on the content of a tensor."""
