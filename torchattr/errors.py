"""Every exception and warning that torchattr raises on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Renderer: TypeAlias = Callable[[str, Any], "str | None"]
"""Says an argument and its value in the words of Python, the command or the viewer.

`None` where there is no such setting: that way out is then left unsaid.
"""


def in_python(argument: str, value: Any) -> str:
    """Say an argument as a call in Python passes it.

    >>> in_python("rules", {"gelu": "guided"}), in_python("layer", ...)
    ("rules={'gelu': 'guided'}", 'layer=...')
    """
    return f"{argument}={'...' if value is ... else repr(value)}"


@dataclass(frozen=True)
class WayOut:
    """An argument that would help, and what it would do.

    Attributes:
        text: the advice; `{setting}` stands for the argument in the words of whoever shows it.
        argument: the argument's name in Python.
        value: what to pass; `...` where the reader must choose.

    >>> WayOut("to treat it like a ReLU, pass {setting}", "rules", {"gelu": "guided"}).said()
    "to treat it like a ReLU, pass rules={'gelu': 'guided'}"
    """

    text: str
    argument: str
    value: Any = ...

    def said(self, renderer: Renderer = in_python) -> str | None:
        """Return the advice; nothing where this way out does not exist."""
        setting = renderer(self.argument, self.value)
        return None if setting is None else self.text.format(setting=setting)


@dataclass(frozen=True)
class Hint:
    """What an error or a warning is about, as data.

    Attributes:
        argument: the argument at fault, by its name in Python.
        given: what it was.
        allowed: what it may be, where that can be listed.
        ways_out: what would help.

    >>> Hint(ways_out=[WayOut("pass {setting}", "strict", False)]).said()
    'Pass strict=False'
    """

    argument: str | None = None
    given: Any = None
    allowed: Sequence[Any] = ()
    ways_out: Sequence[WayOut] = ()

    def said(self, renderer: Renderer = in_python) -> str:
        """Return the ways out as a sentence; empty if none exists for this reader."""
        said = [one for way in self.ways_out if (one := way.said(renderer)) is not None]
        text = "; ".join(said)
        return text[:1].upper() + text[1:]


class _Message(Exception):
    """A fault, and a hint that Python, the command and the viewer each say in their own words.

    `str()` says it for Python.
    """

    def __init__(self, message: str = "", *, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def said(self, renderer: Renderer = in_python) -> str:
        """Return the whole message, its ways out in the words of whoever shows it."""
        message = str(self.args[0]) if self.args else ""
        way_out = self.hint.said(renderer) if self.hint else ""
        return f"{message}. {way_out}" if message and way_out else message or way_out

    def __str__(self) -> str:
        return self.said()


class TorchattrError(_Message):
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


class RegistryError(TorchattrError, ValueError):
    """A name of a rule, method, panel or backend that is unknown or taken."""


class RuleError(RegistryError):
    """A rule or operation that is unknown, or a rule that breaks its contract."""


class NoRuleMatched(TorchattrError, RuntimeError):
    """A rule-based method rewrote nothing, or missed an operation that it must rewrite."""


class DisconnectedError(TorchattrError, RuntimeError):
    """A target that does not depend on the inputs, or the layer, by the graph."""


class BackendError(TorchattrError, RuntimeError):
    """A backend asked for by name that cannot serve the call."""


class OutOfMemory(TorchattrError, MemoryError):
    """Not even a single perturbation fits into memory."""


class TorchattrWarning(_Message, UserWarning):
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
