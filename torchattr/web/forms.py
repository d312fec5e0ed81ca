"""Fields of a form, from the signature of what they are given to."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torchattr.errors import InputError, InputTypeError
from torchattr.web.panels.documented import arguments_of

FieldKind = Literal["switch", "integer", "number", "text", "choice", "layer", "rules", "squares"]

HIDDEN = frozenset(
    (
        *("self", "model", "inputs", "target", "additional_forward_args", "output", "scene"),
        *("show_progress", "return_convergence_delta"),
    )
)
"""What the viewer gives by itself, or has no use for."""

KNOWN: Mapping[str, tuple[FieldKind, Any]] = {
    "layer": ("layer", None),
    "rules": ("rules", None),
    "feature_mask": ("squares", 14),
    "baselines": ("number", None),
}
"""Arguments that the methods share and whose annotation says less than their name; defaults."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "interpolate_mode": ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
}
"""Texts of which only a few mean something."""

OF_THE_MODEL = frozenset(("activation",))
"""Arguments whose default is what the model says of itself."""

LONGEST = 200
"""Letters of a text."""

LARGEST = 10_000
"""Whole numbers are counts of steps or samples here."""

LARGEST_OF: Mapping[str, int] = {"n_steps": 1000}
"""Where less is enough: the points of an integral are found in one step, in cubic time."""

_SCALARS: Mapping[type, FieldKind] = {bool: "switch", int: "integer", float: "number", str: "text"}


@dataclass(frozen=True)
class Field:
    """A field of a form.

    Attributes:
        name: the argument that it stands for.
        kind: what can be entered.
        default: what stands there at first.
        optional: whether it may be left empty, which is `None`.
        choices: what there is to choose from.
        doc: what the docstring says of it.
    """

    name: str
    kind: FieldKind
    default: Any = None
    optional: bool = False
    choices: tuple[Any, ...] = ()
    doc: str = ""

    def described(self) -> dict[str, Any]:
        return asdict(self)

    def read(self, value: Any) -> Any:
        """Check a value that came from outside, and give it as the argument's type.

        Raises:
            InputError: it is out of range or empty.
            InputTypeError: it is of another type.
        """
        if value is None or value == "":
            if not self.optional:
                raise InputError(f"{self.name} must not be empty")
            return None
        if self.kind == "choice":
            return self._chosen(value)
        return _READ[self.kind](self.name, value)

    def _chosen(self, value: Any) -> Any:
        for choice in self.choices:
            if type(choice) is type(value) and choice == value:
                return choice
        allowed = ", ".join(map(repr, self.choices))
        raise InputError(f"{self.name} must be one of {allowed}, got {shown(value)}")


@dataclass(frozen=True)
class Form:
    """The fields of a function, and what cannot be entered though it must be given.

    >>> from torchattr.methods import GradCAM
    >>> form = Form.of(GradCAM, GradCAM.attribute)
    >>> [field.name for field in form.fields]
    ['attribute_to_layer_input', 'relu_attributions', 'attr_dim_summation']
    >>> form.read({"relu_attributions": True})["relu_attributions"]
    True
    """

    fields: tuple[Field, ...]
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, owner: type, function: Callable[..., Any]) -> Form:
        """Make fields of the arguments of a class (if `function` is one) or one of its methods."""
        called = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
        said, hints = arguments_of(owner, called), getattr(called, "__annotations__", {})
        fields, missing = [], []
        for parameter in _parameters(function):
            hint = _resolved(called, hints.get(parameter.name))
            made = _field(parameter, hint, said.get(parameter.name, ""))
            if made is not None:
                fields.append(made)
            elif parameter.default is parameter.empty:
                missing.append(parameter.name)
        return cls(tuple(fields), tuple(missing))

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Check what was entered; fields that were left out keep their default."""
        return {f.name: f.read(values[f.name]) for f in self.fields if f.name in values}


def refuse_unknown(values: Mapping[str, Any], forms: Iterable[Form]) -> None:
    """Refuse a name that no field has.

    Raises:
        InputError: with the names that there are.
    """
    known = [field.name for form in forms for field in form.fields]
    for name in values:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there is none"
            raise InputError(f"no option is called {shown(name)}; {there}")


def shown(value: Any) -> str:
    """Give a value as it was entered, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [one for one in parameters if one.name not in HIDDEN and one.kind not in variadic]


def _resolved(function: Callable[..., Any], annotation: Any) -> Any:
    """Evaluate one annotation; one that needs names for type checkers only says nothing."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    names = getattr(function, "__globals__", {})
    try:
        return typing.get_type_hints(holder, names)["it"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return None


def _field(parameter: inspect.Parameter, hint: Any, doc: str) -> Field | None:
    required = parameter.default is parameter.empty
    if parameter.name in KNOWN:
        kind, default = KNOWN[parameter.name]
        return Field(parameter.name, kind, default, optional=not required, doc=doc)
    default = None if required or parameter.name in OF_THE_MODEL else parameter.default
    members = _members(hint, default)
    optional = type(None) in members or (default is None and not required)
    literal = next((one for one in members if typing.get_origin(one) is Literal), None)
    choices = CHOICES.get(parameter.name, typing.get_args(literal))
    if choices:
        return Field(parameter.name, "choice", default, optional, choices, doc)
    for scalar, kind in _SCALARS.items():
        if scalar in members:
            kind = "number" if float in members else kind
            return Field(parameter.name, kind, default, optional, doc=doc)
    return None


def _members(hint: Any, default: Any) -> tuple[Any, ...]:
    if hint in (None, type(None), Any):
        return (type(default),)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputTypeError(f"{name} must be true or false, got {shown(value)}")
    return value


def _integer(name: str, value: Any) -> int:
    number = _number(name, value)
    if number != int(number):
        raise InputTypeError(f"{name} must be a whole number, got {shown(value)}")
    largest = LARGEST_OF.get(name, LARGEST)
    if abs(number) > largest:
        raise InputError(f"{name} must be within ±{largest:,}, got {shown(value)}")
    return int(number)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputTypeError(f"{name} must be a number, got {shown(value)}")
    if not abs(value) < sys.float_info.max:
        raise InputError(f"{name} must be a finite number, got {shown(value)}")
    return float(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputTypeError(f"{name} must be a text, got {shown(value)}")
    if len(value) > LONGEST:
        raise InputError(f"{name} must have at most {LONGEST} letters, got {len(value)}")
    return value


def _squares(name: str, value: Any) -> int:
    count = _integer(name, value)
    if not 1 <= count <= 64:
        raise InputError(f"{name} must be within 1..64 squares a side, got {count}")
    return count


def _rules(name: str, value: Any) -> dict[str, str]:
    rules = {}
    for pair in _text(name, value).split(","):
        operation, equals, rule = (part.strip() for part in pair.partition("="))
        if not (operation and equals and rule):
            raise InputError(
                f"{name} must be pairs such as gelu=guided, silu=guided, got {shown(value)}"
            )
        rules[operation] = rule
    return rules


_READ: Mapping[str, Callable[[str, Any], Any]] = {
    "switch": _switch,
    "integer": _integer,
    "number": _number,
    "text": _text,
    "layer": _text,
    "squares": _squares,
    "rules": _rules,
}
