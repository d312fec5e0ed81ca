"""Every exception and warning that torchattr raises on purpose."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TypeAlias

from torchattr.undoing import undone

_PACKAGE = str(Path(__file__).parent)


class TorchattrError(Exception):
    """Base of all errors of this package."""


class InputError(TorchattrError, ValueError):
    """An input, baseline or mask that cannot be attributed as it is."""


class InputTypeError(TorchattrError, TypeError):
    """An argument of a type that the call does not take."""


class ShapeError(InputError):
    """A tensor or array whose shape does not fit the others."""


class TargetError(TorchattrError, ValueError):
    """A target that does not name one value of the output for each example."""


class OutputError(TorchattrError, ValueError):
    """A model output from which no tensor of scores could be taken."""


class LayerError(TorchattrError, ValueError):
    """A layer that is unknown, did not run, or has no usable output."""


class ModelError(TorchattrError, ValueError):
    """A model that cannot be loaded, or cannot be run under interception."""


class TrainingModeError(ModelError):
    """Dropout or batch-norm was about to run in training mode."""


class ScriptedModelError(ModelError):
    """A scripted or traced module hides its operations."""


class WeightsError(TorchattrError, ValueError):
    """Weights that cannot be read, downloaded or fitted to the model."""


class ImageError(TorchattrError, ValueError):
    """A picture that cannot be found or read."""


class FolderError(TorchattrError, OSError):
    """A folder that results cannot be written to."""


class PackageError(TorchattrError, ImportError):
    """An optional package that is asked for and not installed."""


class RuleError(TorchattrError, ValueError):
    """A rule, operation or method that is unknown or registered twice."""


class NoRuleMatched(TorchattrError, RuntimeError):
    """A rule-based method rewrote nothing, or missed an operation that it must rewrite."""


class DisconnectedError(TorchattrError, RuntimeError):
    """A target that does not depend on the inputs, or the layer, by the graph."""


class BackendError(TorchattrError, RuntimeError):
    """A backend asked for by name that cannot serve the call."""


class OutOfMemory(TorchattrError, MemoryError):
    """Not even a single perturbation fits into memory."""


class TorchattrWarning(UserWarning):
    """Base of all warnings of this package."""


class CoverageWarning(TorchattrWarning):
    """Some activations keep their own gradient under a rule-based method."""


class DisconnectedWarning(TorchattrWarning):
    """Some inputs, examples or targets get zeros because nothing leads back to them."""


class NoPlacesWarning(TorchattrWarning):
    """An input without places gets an empty tensor where a layer's map was to be laid over it."""


class LayerReuseWarning(TorchattrWarning):
    """A layer was called several times and one call had to be chosen."""


class LayerChoiceWarning(TorchattrWarning):
    """No layer was named, so the last spatial layer was taken."""


class RowsWarning(TorchattrWarning):
    """A result without one row for each example was left out."""


class BackendWarning(TorchattrWarning):
    """A backend that was chosen automatically failed, and another one serves."""


Listener: TypeAlias = Callable[[str, type[TorchattrWarning]], None]

_listener: ContextVar[Listener | None] = ContextVar("torchattr_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Give the warnings of what runs inside to a function instead.

    Unlike `warnings.catch_warnings`, whose filters belong to the whole process, it is for this
    thread alone.

    >>> heard = []
    >>> with listening(lambda message, category: heard.append(message)):
    ...     warn("a layer was taken", LayerChoiceWarning)
    >>> heard
    ['a layer was taken']
    """
    with undone() as undo:
        undo.later(partial(_listener.set, _listener.get()), of_thread=True)
        _listener.set(listener)
        yield


def warn(message: str, category: type[TorchattrWarning]) -> None:
    """Warn at the line of the caller's own code, however deep in this package it is raised."""
    listener = _listener.get()
    if listener is not None:
        return listener(message, category)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return warnings.warn(message, category, stacklevel=level)
