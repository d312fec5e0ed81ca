"""What is checked, and set for a while, before a model runs under interception."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from torchattr.errors import ScriptedModelError


def modules_behind(forward: Any) -> list[nn.Module]:
    """Give the modules that a model is or that a function can reach by itself.

    These are the owner of a method, what a partial or a closure holds, and the global modules
    that a function names. A module that it gets in another way stays unknown.
    """
    found: list[nn.Module] = []
    _collect(forward, found, set())
    return found


def _collect(value: Any, found: list[nn.Module], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        found.append(value)
    for held in _held(value):
        _collect(held, found, seen)


def _held(value: Any) -> list[Any]:
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__self__]
    if not isinstance(value, FunctionType):
        return []
    cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    named = (value.__globals__.get(name) for name in value.__code__.co_names)
    return [*cells, *(one for one in named if isinstance(one, nn.Module))]


def _is_filled(cell: CellType) -> bool:
    """Tell whether a closure's variable has a value yet."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _parts_of(forward: Any) -> list[tuple[str, nn.Module]]:
    return [part for module in modules_behind(forward) for part in module.named_modules()]


def refuse_scripted(forward: Any) -> None:
    """Raise if the model, or a part of it, is scripted or traced.

    Raises:
        ScriptedModelError: naming the part and the way out.
    """
    if isinstance(forward, (torch.jit.ScriptFunction, torch._C.ScriptMethod)):
        _refuse("the model")
    for name, part in _parts_of(forward):
        if isinstance(part, torch.jit.ScriptModule):
            _refuse(f"its part {name!r}" if name else "the model")


def _refuse(what: str) -> None:
    raise ScriptedModelError(
        f"{what} is scripted or traced (torch.jit), which hides its operations; pass the Python"
        " module that it was made from, or a torch.export'ed one"
    )


def training_buffers(forward: Any) -> dict[int, str]:
    """Give the buffers that a module in training mode may update, by `id`, with its name."""
    return {
        id(buffer): name
        for name, part in _parts_of(forward)
        if part.training
        for buffer in part.buffers(recurse=False)
    }


_DIFFER_IN_TRAINING = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._NormBase,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RReLU,
)


def training_parts(forward: Any) -> list[str]:
    """Give the names of the modules in training mode, those first whose results differ there."""
    parts = _parts_of(forward)
    training = [(name or type(part).__name__, part) for name, part in parts if part.training]
    differing = [name for name, part in training if isinstance(part, _DIFFER_IN_TRAINING)]
    return differing or [name for name, _ in training]


class _EagerStance:
    """Makes compiled code run eagerly while any attribution runs, in whatever thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._stance: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._stance = torch.compiler.set_stance("force_eager")
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._stance.__exit__(None, None, None)


_stance = _EagerStance()


@contextmanager
def eager() -> Iterator[None]:
    """Run compiled models eagerly, so that every operation is seen.

    Nothing is compiled unless TorchDynamo is loaded, and loading it takes seconds.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    _stance.enter()
    try:
        yield
    finally:
        _stance.leave()


@contextmanager
def uncached_autocast() -> Iterator[None]:
    """Keep autocast from handing on the copies of weights that it makes meanwhile.

    They are made without a graph. In some versions of torch, a training step later in the same
    `with torch.autocast(...)` block would take them and give the weights no gradient.
    """
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)
