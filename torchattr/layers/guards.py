"""Checks and temporary settings around a model that runs under interception."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import partial
from itertools import islice
from threading import RLock
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from torchattr.core.by_model import ByModel
from torchattr.core.torch_private import (
    ScriptMethod,
    TorchDispatchMode,
    dynamo_stance,
    function_mode_stack,
    pop_function_mode,
    python_dispatch,
    set_dynamo_stance,
    top_saved_tensors_hooks,
)
from torchattr.core.undoing import Undo
from torchattr.errors import ScriptedModelError


def modules_behind(forward: Any) -> list[nn.Module]:
    """Return the module itself, or the modules that a function can reach.

    These are the owner of a method, what a partial, a closure or a callable object holds, even in
    lists and dictionaries, and the globals that a function names. Modules that it reaches in other
    ways stay unknown.
    """
    modules: list[nn.Module] = []
    _collect(forward, modules, set())
    return modules


def _collect(value: Any, modules: list[nn.Module], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        modules.append(value)
        return
    for held in _held(value):
        _collect(held, modules, seen)


def _held(value: Any) -> list[Any]:
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, FunctionType):
        return _named_by(value)
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return list(islice(value.values() if isinstance(value, dict) else value, _MOST_ENTRIES))
    if isinstance(value, (type, ModuleType, Tensor)):
        return []
    return _attributes(value) if callable(value) or is_dataclass(value) else []


_MOST_ENTRIES = 1000
"""Number of entries of a container that are searched: a longer one holds data."""


def _named_by(function: FunctionType) -> list[Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    named = (function.__globals__.get(name) for name in function.__code__.co_names)
    return [*cells, *(value for value in named if not isinstance(value, (FunctionType, type)))]


def _attributes(value: Any) -> list[Any]:
    """Return the attributes of an object, and the functions that make it callable."""
    kinds = type(value).__mro__
    slots = [name for kind in kinds for name in getattr(kind, "__slots__", ())]
    held = [getattr(value, name, None) for name in slots if not name.startswith("__")]
    called = [vars(kind).get("__call__") for kind in kinds]
    return [*getattr(value, "__dict__", {}).values(), *held, *called]


def _is_filled(cell: CellType) -> bool:
    """Whether a closure's variable has been assigned."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def named_modules_of(forward: Any) -> list[tuple[str, nn.Module]]:
    """Return all modules of a model or function, each with its name."""
    return [named for module in modules_behind(forward) for named in module.named_modules()]


def modules_of(forward: Any) -> list[nn.Module]:
    """Return all modules of a model or function; far faster than with their names."""
    waiting = [forward] if isinstance(forward, nn.Module) else modules_behind(forward)
    found = dict.fromkeys(waiting)
    while waiting:
        for module in waiting.pop()._modules.values():
            if module is not None and module not in found:
                found[module] = None
                waiting.append(module)
    return list(found)


def has_hidden_modules(forward: Any, modules: Sequence[nn.Module]) -> bool:
    """Whether a module keeps further ones in a plain container, where `eval()` misses them.

    Args:
        forward: the model or function, searched once in its life.
        modules: its modules, as :func:`modules_of` returns them.
    """
    known = _hides_modules.get(forward)
    if known is None:
        known = _hides_modules[forward] = _hides_any(modules)
    return known


_hides_modules = ByModel[bool]()


def _hides_any(modules: Sequence[nn.Module]) -> bool:
    found: list[nn.Module] = []
    seen = {id(module._modules) for module in modules}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, (list, tuple, set, frozenset, dict)):
                _collect(value, found, seen)
    return not set(found) <= set(modules)


def refuse_scripted(forward: Any, modules: Sequence[nn.Module] | None = None) -> None:
    """Raise if the model or one of its submodules is scripted or traced.

    Args:
        forward: the model or function.
        modules: its modules, if they are known already.

    Raises:
        ScriptedModelError: names the submodule and the way out.
    """
    if isinstance(forward, (torch.jit.ScriptFunction, ScriptMethod)):
        _refuse("the model")
    kinds = set(map(type, modules_of(forward) if modules is None else modules))
    if any(issubclass(kind, torch.jit.ScriptModule) for kind in kinds):
        named = named_modules_of(forward)
        name = next(name for name, part in named if isinstance(part, torch.jit.ScriptModule))
        _refuse(f"its part {name!r}" if name else "the model")


def _refuse(what: str) -> None:
    raise ScriptedModelError(
        f"{what} is scripted or traced (torch.jit), which hides its operations; pass the Python"
        " module that it was made from, or a torch.export'ed one"
    )


class _EagerStance:
    """Makes compiled code run eagerly while an attribution runs in any thread."""

    def __init__(self) -> None:
        # A thread that was interrupted while it held the lock can take it again and release it.
        self._lock = RLock()
        self._users: set[object] = set()
        self._before: Any = None
        self._eager: Any = None
        self._is_forced = False

    def enter(self, user: object) -> None:
        try:
            self._lock.acquire()
            self._users.add(user)
            if not self._is_forced:
                self._note_stance()
                self._is_forced = True
                self._force_eager()
        finally:
            self._release()

    def leave(self, user: object) -> None:
        try:
            self._lock.acquire()
            self._users.discard(user)
            if not self._users and self._is_forced:
                set_dynamo_stance(self._before)
                self._is_forced = False
        finally:
            self._release()

    def _note_stance(self) -> None:
        """Note the stance to return to, which is never that of an attribution.

        `torch.compiler.set_stance` in another thread that began during an attribution and ended
        after the last one has put the latter's stance back.
        """
        current = dynamo_stance()
        if current is not self._eager:
            self._before = current

    def _force_eager(self) -> None:
        if self._eager is not None:
            set_dynamo_stance(self._eager)
            return
        # Ten times as slow, so only once.
        torch.compiler.set_stance("force_eager")
        self._eager = dynamo_stance()

    def _release(self) -> None:
        while self._lock._is_owned():  # type: ignore[attr-defined]
            self._lock.release()


_stance = _EagerStance()


def run_eagerly(undo: Undo) -> None:
    """Run compiled models eagerly, so that every operation is intercepted.

    Nothing is done unless TorchDynamo is loaded: nothing is compiled then, and loading it takes
    seconds.
    """
    if dynamo_stance() is not None:
        user = object()
        undo.later(partial(_stance.leave, user))
        _stance.enter(user)


def keep_no_casts(undo: Undo) -> None:
    """Disable autocast's cache of cast weights.

    The casts are made without a graph here. In some versions of torch, a training step later in the
    same `with torch.autocast(...)` block would reuse them, and the weights would get no gradient.
    """
    before = torch.is_autocast_cache_enabled()
    undo.later(partial(torch.set_autocast_cache_enabled, before), of_thread=True)
    torch.set_autocast_cache_enabled(False)


def autocast(undo: Undo, device: str, dtype: torch.dtype) -> None:
    """Autocast to a dtype on a device type, without caching cast weights."""
    before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    undo.later(partial(torch.set_autocast_enabled, device, before[0]), of_thread=True)
    undo.later(partial(torch.set_autocast_dtype, device, before[1]), of_thread=True)
    keep_no_casts(undo)
    torch.set_autocast_dtype(device, dtype)
    torch.set_autocast_enabled(device, True)


class _Watch(TorchFunctionMode):
    """Passes every call to a mode until that is detached.

    While a mode acts, PyTorch removes it from the stack and restores it, and after an interrupt,
    Python may restore it only after everything else was undone.
    """

    def __init__(self, mode: TorchFunctionMode) -> None:
        super().__init__()
        self.mode: TorchFunctionMode | None = mode

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.mode is None:
            return func(*args, **(kwargs or {}))
        return self.mode.__torch_function__(func, types, args, kwargs)


def enter_mode(undo: Undo, mode: TorchFunctionMode) -> None:
    """Push a function mode onto this thread's stack."""
    _drop_leftovers()
    watch = _Watch(mode)
    undo.later(partial(_drop_mode, watch), of_thread=True)
    undo.later(partial(setattr, watch, "mode", None))
    watch.__enter__()


def _drop_mode(watch: _Watch) -> None:
    """Remove a mode from the stack, if it is there, and any leftovers above it."""
    while watch in function_mode_stack():
        pop_function_mode()


def _drop_leftovers() -> None:
    """Remove modes from the stack that an interrupted call left on it."""
    while (stack := function_mode_stack()) and _is_over(stack[-1]):
        pop_function_mode()


def _is_over(mode: TorchFunctionMode) -> bool:
    return isinstance(mode, _Watch) and mode.mode is None


def enter_dispatch_mode(undo: Undo, mode: TorchDispatchMode) -> None:
    """Push a dispatch mode onto this thread's stack.

    Its own `__enter__` does more, but only for compiled code, which runs eagerly here.
    """
    undo.later(partial(_drop_dispatch_mode, mode), of_thread=True)
    python_dispatch._push_mode(mode)


def _drop_dispatch_mode(mode: TorchDispatchMode) -> None:
    while mode in python_dispatch._get_current_dispatch_mode_stack():
        python_dispatch._pop_mode()


def pack_saved(undo: Undo, hooks: saved_tensors_hooks) -> None:
    """Install hooks on the tensors that this thread saves for backward."""
    undo.later(partial(_drop_saved_hooks, hooks), of_thread=True)
    hooks.__enter__()


def _drop_saved_hooks(hooks: saved_tensors_hooks) -> None:
    top = top_saved_tensors_hooks(True)
    if top is not None and top[0] is hooks.pack_hook:
        hooks.__exit__()


def hook_forward(
    undo: Undo, module: nn.Module, hook: Any, *, before: bool = False, always: bool = False
) -> None:
    """Register a forward hook, or with `before` a pre-hook; `always` calls it on errors, too."""
    hooks = module._forward_pre_hooks if before else module._forward_hooks
    flags = module._forward_pre_hooks_with_kwargs if before else module._forward_hooks_with_kwargs
    undo.later(partial(_unhook, hook, hooks, [flags, module._forward_hooks_always_called]))
    if before:
        module.register_forward_pre_hook(hook, with_kwargs=True)
    else:
        module.register_forward_hook(hook, always_call=always)


def _unhook(hook: Any, hooks: dict[int, Any], flags: Sequence[dict[int, bool]]) -> None:
    for key in [key for key, registered in list(hooks.items()) if registered is hook]:
        for flag in flags:
            flag.pop(key, None)
        hooks.pop(key, None)


class RandomState:
    """The random state before a forward, so that another one draws the same numbers."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self._devices = {tensor.device for tensor in inputs if tensor.device.type == "cuda"}
        if self._devices and torch.cuda.is_current_stream_capturing():
            # A captured graph draws from an offset of its own, whose state cannot be queried.
            self._devices.clear()
        self._states = self._read()

    def has_changed(self) -> bool:
        """Whether anything was drawn since."""
        return not all(map(torch.equal, self._states, self._read()))

    def restore(self) -> None:
        """Reset the random state."""
        torch.set_rng_state(self._states[0])
        for device, state in zip(self._devices, self._states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]
