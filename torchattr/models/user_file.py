"""Load a model that a function in a user's Python file returns."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from torchattr.core.paths import expanded
from torchattr.core.registry import suggest
from torchattr.core.undoing import undone
from torchattr.errors import ModelError, TorchattrWarning, WeightsError
from torchattr.models.cropping import Transform
from torchattr.models.loaded import LoadedModel, in_eval_mode
from torchattr.models.weights import RANDOM, fit_weights, read_weights

USER_FILE = "_torchattr_user_"
"""Prefix of the module names of users' files."""

_PACKAGE = Path(__file__).parents[1]


class TransformWarning(TorchattrWarning):
    """A model came without preprocessing, so ImageNet's is used."""


def load(
    path: Path, function: str, weights: str | Path | None, device: torch.device
) -> LoadedModel:
    """Run a file, call one of its functions without arguments and return the model it returns.

    Exceptions of that code reach the caller unchanged.
    """
    with _siblings_importable(path):
        made = _without_arguments(_function(path, function), f"{path}:{function}")()
    loaded = _as_loaded(made, f"{path.name}:{function}")
    if weights == RANDOM:
        raise WeightsError(
            f"{path.name}:{function} makes its own weights, so they cannot be random from outside;"
            " let the function do without loading any"
        )
    if weights is not None:
        fit_weights(loaded.model, read_weights(weights), str(weights))
    return replace(loaded, model=in_eval_mode(loaded.model).to(device))


def imagenet_transform(name: str, size: int = 224) -> Transform:
    """Return ImageNet's usual preprocessing, with a warning that it is assumed."""
    from torchvision.transforms._presets import ImageClassification

    warnings.warn(
        f"{name} comes without its preprocessing; ImageNet's is used (short side to "
        f"{round(size / 0.875)}, centre crop of {size} pixels, ImageNet mean and deviation). "
        "To set its own, return (model, transform) from path/to/file.py:FUNCTION",
        TransformWarning,
        stacklevel=4,
    )
    return ImageClassification(crop_size=size, resize_size=round(size / 0.875))


def run_file(given: str | Path) -> ModuleType:
    """Run a file for what it registers; exceptions of its code reach the caller unchanged.

    Raises ``ModelError`` if there is no such Python file.
    """
    path = expanded(given, ModelError)
    with _siblings_importable(path):
        return _run(path)


@contextmanager
def _siblings_importable(path: Path) -> Iterator[None]:
    """Make modules next to the file importable, as when it is run by ``python file.py``."""
    folder = str(path.resolve().parent)
    with undone() as undo:
        undo.later(partial(_leave_on_path, folder, sys.path.count(folder)))
        sys.path.insert(0, folder)
        yield


def _leave_on_path(folder: str, times: int) -> None:
    while sys.path.count(folder) > times:
        sys.path.remove(folder)


def _function(path: Path, name: str) -> Callable[[], Any]:
    module = _run(path)
    function = getattr(module, name, None)
    if callable(function):
        return function
    own = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    raise ModelError(f"{path} has no function {name!r}; {suggest(name, sorted(own), cutoff=0.3)}")


def _without_arguments(function: Callable[..., Any], name: str) -> Callable[[], Any]:
    needed = ", ".join(_needed(function))
    if needed:
        raise ModelError(
            f"{name} is called without arguments, but requires {needed}; add defaults, or write a"
            " function that calls it"
        )
    return function


def _needed(function: Callable[..., Any]) -> list[str]:
    """Return the required arguments of a function, as far as they are known."""
    try:
        given = inspect.signature(function).parameters.values()
    except ValueError:
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in given if one.default is one.empty and one.kind not in optional]


def blamed(error: BaseException) -> str | None:
    """Describe an error raised in a user's file and its line; `None` if it was raised elsewhere."""
    places = frames_of_user(error)
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}, line {error.lineno}"
    elif places:
        place = f"{places[-1].filename}, line {places[-1].lineno}, in {places[-1].name}"
    else:
        return None
    message = str(error.msg if isinstance(error, SyntaxError) else error)
    return f"{place}: {type(error).__name__}{': ' if message else ''}{message}"


def frames_of_user(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the calls that led to an error in a user's file and in the modules beside it."""
    folder, found = None, []
    calls = list(traceback.walk_tb(error.__traceback__))
    for (frame, _), summary in zip(calls, traceback.extract_tb(error.__traceback__), strict=True):
        file = Path(summary.filename)
        if str(frame.f_globals.get("__name__", "")).startswith(USER_FILE):
            folder = file.parent
        if folder is not None and _is_beside(file, folder):
            found.append(summary)
    return found


def _is_beside(file: Path, folder: Path) -> bool:
    """Whether a file is the user's: neither of this package nor installed."""
    own = {"site-packages", "dist-packages"}.isdisjoint(file.parts)
    return file.is_relative_to(folder) and own and not file.is_relative_to(_PACKAGE)


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"{USER_FILE}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look the module up by name while it runs.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _as_loaded(made: Any, name: str) -> LoadedModel:
    if isinstance(made, LoadedModel):
        return made
    parts: tuple[Any, ...] = made if isinstance(made, tuple) else (made,)
    if len(parts) > 3 or not parts or not isinstance(parts[0], nn.Module):
        got = f"({', '.join(type(part).__name__ for part in parts)})"
        raise ModelError(
            f"{name} must return an nn.Module, (model, transform), "
            f"(model, transform, class_names) or a LoadedModel, got {got}"
        )
    transform = parts[1] if len(parts) > 1 and parts[1] is not None else imagenet_transform(name)
    return LoadedModel(name, parts[0], transform, _names(parts[2]) if len(parts) == 3 else None)


def _names(given: Any) -> tuple[str, ...] | None:
    if isinstance(given, (str, Mapping)) or not isinstance(given, (Iterable, type(None))):
        raise ModelError(
            f"class_names must be a list of names in the order of the scores, got {given!r}"
        )
    return tuple(map(str, () if given is None else given)) or None
