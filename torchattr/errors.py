"""Every exception and warning that torchattr raises on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Renderer: TypeAlias = Callable[[str, Any], "str | None"]
"""Renders an argument and its value for users of Python, the command or the viewer.

`None` if they have no such setting: a way out that needs it is then omitted.
"""

FUNCTION: Any = type("Function", (), {"__repr__": lambda self: "lambda returned: ..."})()
"""The value of a way out that passes a function, which only Python can."""


@dataclass(frozen=True)
class Listing:
    """The value of a way out that is a list of what an argument takes.

    Attributes:
        call: what returns or shows the list in Python.
    """

    call: str


SETTING = "{setting}"
"""The placeholder of an argument and its value in the text of a message or a way out."""


def in_python(argument: str, value: Any) -> str:
    """Render an argument as it is passed in Python.

    >>> in_python("rules", {"gelu": "guided"}), in_python("layer", ...)
    ("rules={'gelu': 'guided'}", 'layer=...')
    >>> in_python("method", Listing("registered_methods()"))
    'registered_methods()'
    """
    if isinstance(value, Listing):
        return value.call
    return f"{argument}={'...' if value is ... else repr(value)}"


@dataclass(frozen=True)
class WayOut:
    """Something that would help, such as an argument to pass.

    Attributes:
        text: the advice; `{setting}` is replaced by the rendered argument.
        argument: the argument's name in Python; `None` if the advice needs no argument.
        value: the value to pass; `...` where the user must choose.

    >>> WayOut("to treat it like a ReLU, pass {setting}", "rules", {"gelu": "guided"}).said()
    "to treat it like a ReLU, pass rules={'gelu': 'guided'}"
    """

    text: str
    argument: str | None = None
    value: Any = ...

    def said(self, renderer: Renderer = in_python) -> str | None:
        """Return the advice as rendered; `None` if the user has no such setting."""
        if self.argument is None:
            return self.text
        setting = renderer(self.argument, self.value)
        return None if setting is None else self.text.replace(SETTING, setting)


@dataclass(frozen=True)
class Hint:
    """The structured part of an error or warning: the argument at fault and the ways out.

    Attributes:
        argument: the argument at fault, by its name in Python.
        given: its value.
        allowed: the allowed values, where they can be listed.
        ways_out: the remedies.

    >>> Hint(ways_out=[WayOut("pass {setting}", "strict", False)]).said()
    'Pass strict=False'
    """

    argument: str | None = None
    given: Any = None
    allowed: Sequence[Any] = ()
    ways_out: Sequence[WayOut] = ()

    def said(self, renderer: Renderer = in_python) -> str:
        """Return the rendered ways out as a sentence; empty if the user has none of them."""
        advice = [text for way in self.ways_out if (text := way.said(renderer)) is not None]
        sentence = "; ".join(advice)
        return sentence[:1].upper() + sentence[1:]

    def setting(self, renderer: Renderer = in_python) -> str:
        """Return the argument at fault and its value, as in Python if the user has no setting."""
        argument = self.argument or ""
        return renderer(argument, self.given) or in_python(argument, self.given)


class Message(str):
    """A fault and the ways out, worded for Python, and rendered anew for the command or viewer.

    Attributes:
        text: the fault; `{setting}` is replaced by the hint's argument and value.
        hint: the argument at fault and the ways out.

    >>> fault = Message("there is no layer", Hint(ways_out=[WayOut("see {setting}", "layers")]))
    >>> fault
    'there is no layer. See layers=...'
    >>> fault.said(lambda argument, value: f"--{argument}")
    'there is no layer. See --layers'
    """

    text: str
    hint: Hint

    def __new__(cls, text: str = "", hint: Hint | None = None) -> Message:
        hint = hint or Hint()
        message = super().__new__(cls, _said(text, hint, in_python))
        message.text, message.hint = text, hint
        return message

    def __reduce__(self) -> tuple[type[Message], tuple[str, Hint]]:
        return Message, (self.text, self.hint)

    def said(self, renderer: Renderer = in_python) -> str:
        """Return the whole message as rendered."""
        return _said(self.text, self.hint, renderer)

    def after(self, introduction: str) -> Message:
        """Return the same message after an introduction."""
        return Message(f"{introduction}{self.text}", self.hint)


def _said(text: str, hint: Hint, renderer: Renderer) -> str:
    if SETTING in text:
        text = text.replace(SETTING, hint.setting(renderer))
    advice = hint.said(renderer)
    end = " " if text.endswith("?") else ". "
    return f"{text}{end}{advice}" if text and advice else text or advice


NOTHING = Message()
"""The empty message."""


class _Hinted(Exception):
    """An error or warning whose message Python, the command and the viewer render differently.

    `str()` renders it for Python.
    """

    def __init__(self, message: str = "", *, hint: Hint | None = None) -> None:
        whole = message if isinstance(message, Message) else Message(message, hint)
        super().__init__(whole.text)
        self.hint = whole.hint

    @property
    def message(self) -> Message:
        """The fault and the ways out."""
        return Message(str(self.args[0]) if self.args else "", self.hint)

    def said(self, renderer: Renderer = in_python) -> str:
        """Return the whole message as rendered."""
        return self.message.said(renderer)

    def __str__(self) -> str:
        return self.said()


class TorchattrError(_Hinted):
    """Base of all errors of this package."""


class InputError(TorchattrError, ValueError):
    """An input, baseline or mask that cannot be attributed as it is."""


class InputTypeError(TorchattrError, TypeError):
    """An argument of a type that the call does not accept."""


class ShapeError(InputError):
    """A tensor or array whose shape does not fit the others."""


class TargetError(TorchattrError, ValueError):
    """A target that does not name one value of the output for each example."""


class OutputError(TorchattrError, ValueError):
    """A model output from which no tensor of scores could be taken."""


class LayerError(TorchattrError, ValueError):
    """A layer that is unknown, did not run, or has no usable output."""


class ModelError(TorchattrError, ValueError):
    """A model that cannot be loaded, or whose operations cannot be intercepted."""


class TrainingModeError(ModelError):
    """Dropout or batch-norm was about to run in training mode."""


class ScriptedModelError(ModelError):
    """A scripted or traced module, which hides its operations."""


class WeightsError(TorchattrError, ValueError):
    """Weights that cannot be read or downloaded, or that do not fit the model."""


class ImageError(TorchattrError, ValueError):
    """An image that cannot be found or read."""


class FolderError(TorchattrError, OSError):
    """A folder that results cannot be written to."""


class PackageError(TorchattrError, ImportError):
    """An optional package that is required but not installed."""


class RegistryError(TorchattrError, ValueError):
    """A name of a rule, method, panel or backend that is unknown or taken."""


class RuleError(RegistryError):
    """A rule or operation that is unknown, or a rule that breaks its contract."""


class NoRuleMatched(TorchattrError, RuntimeError):
    """A rule-based method rewrote nothing, or missed an operation that it must rewrite."""


class DisconnectedError(TorchattrError, RuntimeError):
    """A target that the autograd graph does not connect to the inputs or the layer."""


class BackendError(TorchattrError, RuntimeError):
    """A backend requested by name that cannot serve the call."""


class DeviceLost(TorchattrError, RuntimeError):
    """A GPU whose context is lost: it vanished, or a kernel made an invalid access."""


class OutOfMemory(TorchattrError, MemoryError):
    """Not even a single perturbed copy fits into memory."""


class WorkerError(TorchattrError, RuntimeError):
    """A process that reads pictures died."""


class TorchattrWarning(_Hinted, UserWarning):
    """Base of all warnings of this package."""


class CoverageWarning(TorchattrWarning):
    """Some activations keep their own gradient under a rule-based method."""


class DisconnectedWarning(TorchattrWarning):
    """Some inputs, examples or targets get zeros because no gradient reaches them."""


class NotSpatialWarning(TorchattrWarning):
    """A layer or input without spatial dimensions gets a number or an empty tensor as its map."""


class LayerReuseWarning(TorchattrWarning):
    """A layer was called several times and one call had to be chosen."""


class LayerChoiceWarning(TorchattrWarning):
    """No layer was named, so the last spatial layer was taken."""


class PermutationWarning(TorchattrWarning):
    """Features get zeros because no other example of the batch has values for them."""


class RowsWarning(TorchattrWarning):
    """A result without one row per example was omitted."""


class FewSamplesWarning(TorchattrWarning):
    """An interval rests on so few samples that it is too narrow, or on a single one."""


class UndefinedMetricWarning(TorchattrWarning):
    """A metric is not defined for some maps, and NaN for them."""


class BackendWarning(TorchattrWarning):
    """An automatically chosen backend failed, and another one is used instead."""
