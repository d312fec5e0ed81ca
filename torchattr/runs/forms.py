"""Forms for methods and panels, derived from their signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torchattr.errors import InputError, InputTypeError
from torchattr.methods import composite_names

FieldKind = Literal["switch", "integer", "number", "text", "choice", "layer", "rules", "squares"]

EXCLUDED = frozenset(
    (
        *("self", "model", "inputs", "target", "additional_forward_args", "output", "scene"),
        *("show_progress", "return_convergence_delta", "return_ledger"),
    )
)
"""Arguments that a run fills in itself or does not offer."""

SHARED_ARGUMENTS: Mapping[str, tuple[FieldKind, Any]] = {
    "layer": ("layer", None),
    "rules": ("rules", None),
    "feature_mask": ("squares", 14),
    "baselines": ("number", None),
    "sliding_window_shapes": ("integer", None),
}
"""Kind and default of arguments whose name says more than their annotation."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "composite": composite_names(),
    "zero_params": ("bias",),
    "interpolate_mode": ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
}
"""Choices of arguments that are annotated as `str`, or take more than a form can give."""

MODEL_DEFAULTS = frozenset(("activation",))
"""Arguments whose default depends on the model."""

MAX_CHARACTERS = 200
"""Longest text."""

MAX_INTEGER = 10_000
"""Largest integer: integers are numbers of steps or samples here."""

MAX_INTEGER_OF: Mapping[str, int] = {"n_steps": 1000}
"""Lower limits; computing the nodes of a quadrature takes cubic time, without a step between."""

_SCALARS: Mapping[type, FieldKind] = {bool: "switch", int: "integer", float: "number", str: "text"}


@dataclass(frozen=True)
class Field:
    """A field of a form, for one argument.

    Attributes:
        name: name of the argument.
        kind: type of input.
        default: initial value.
        optional: whether it may be left empty, which means `None`.
        choices: allowed values of a choice.
        doc: its description in the docstring.
    """

    name: str
    kind: FieldKind
    default: Any = None
    optional: bool = False
    choices: tuple[Any, ...] = ()
    doc: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def values(self) -> str:
        """What it takes, in words.

        >>> Field("memory", "choice", "auto", choices=("auto", "lean")).values
        'auto or lean'
        """
        taken = " or ".join(map(str, self.choices)) or _IN_WORDS.get(self.kind, self.kind)
        return f"{taken}, or none" if self.optional and "none" not in self.choices else taken

    @property
    def shown_default(self) -> str:
        return _SWITCH_WORDS[self.default] if self.kind == "switch" else str(self.default).lower()

    def read(self, value: Any) -> Any:
        """Validate a value from a request and convert it to the type of the argument.

        Raises:
            InputError: the value is out of range or missing.
            InputTypeError: the value has the wrong type.
        """
        if value is None or value == "":
            if not self.optional:
                raise InputError(f"{self.name} must not be empty")
            return None
        if self.kind == "choice":
            return self._choice(value)
        return _READ[self.kind](self.name, value)

    def parse(self, text: str) -> Any:
        """Read a value from text; `none` leaves an optional argument empty.

        Raises:
            InputError, InputTypeError: see :meth:`read`.

        >>> Field("n_steps", "integer").parse("20"), Field("abs", "switch").parse("false")
        (20, False)
        """
        if self.optional and text.lower() == "none":
            return None
        if self.kind == "choice":
            named = [choice for choice in self.choices if str(choice) == text]
            return self._choice(named[0] if named else text)
        return self.read(_PARSED.get(self.kind, str)(text))

    def _choice(self, value: Any) -> Any:
        for choice in self.choices:
            if type(choice) is type(value) and choice == value:
                return choice
        allowed = ", ".join(map(repr, self.choices))
        raise InputError(f"{self.name} must be one of {allowed}, got {short_repr(value)}")


@dataclass(frozen=True)
class Form:
    """The fields of a function, and its required arguments that no field can supply.

    >>> from torchattr.methods import GradCAM
    >>> form = Form.of(GradCAM, GradCAM.attribute)
    >>> [field.name for field in form.fields][:3]
    ['attribute_to_layer_input', 'relu_attributions', 'attr_dim_summation']
    >>> form.read({"relu_attributions": True})["relu_attributions"]
    True
    """

    fields: tuple[Field, ...]
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, owner: type, function: Callable[..., Any]) -> Form:
        """Return the form of a class (if `function` is one) or of one of its methods."""
        called = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
        # Annotations are names of the module that the function was written in.
        called = inspect.unwrap(called)
        docs, hints = argument_docs(owner, called), getattr(called, "__annotations__", {})
        fields, missing = [], []
        for parameter in _parameters(function):
            hint = _resolved(called, hints.get(parameter.name))
            field = _field(parameter, hint, docs.get(parameter.name, ""))
            if field is not None:
                fields.append(field)
            elif parameter.default is parameter.empty:
                missing.append(parameter.name)
        return cls(tuple(fields), tuple(missing))

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Validate the given values; omitted arguments keep their defaults.

        Raises:
            InputError, InputTypeError: see :meth:`Field.read`.
        """
        return {f.name: f.read(values[f.name]) for f in self.fields if f.name in values}


def refuse_unknown(values: Mapping[str, Any], forms: Iterable[Form]) -> None:
    """Reject values for which no form has a field.

    Raises:
        InputError: an unknown name; the message lists the known ones.
    """
    known = [field.name for form in forms for field in form.fields]
    for name in values:
        if name not in known:
            options = f"options: {', '.join(known)}" if known else "there are no options"
            raise InputError(f"unknown option {short_repr(name)}; {options}")


def short_repr(value: Any) -> str:
    """Return the `repr` of a value, truncated."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.name not in EXCLUDED and p.kind not in variadic]


def _resolved(function: Callable[..., Any], annotation: Any) -> Any:
    """Evaluate an annotation; `None` if it uses names imported for type checkers only."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    names = getattr(function, "__globals__", {})
    try:
        return typing.get_type_hints(holder, names)["it"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return None


def _field(parameter: inspect.Parameter, hint: Any, doc: str) -> Field | None:
    required = parameter.default is parameter.empty
    if parameter.name in SHARED_ARGUMENTS:
        kind, default = SHARED_ARGUMENTS[parameter.name]
        return Field(parameter.name, kind, default, optional=not required, doc=doc)
    default = None if required or parameter.name in MODEL_DEFAULTS else parameter.default
    members = _members(hint, default)
    optional = type(None) in members or (default is None and not required)
    literal = next((member for member in members if typing.get_origin(member) is Literal), None)
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
        raise InputTypeError(f"{name} must be true or false, got {short_repr(value)}")
    return value


def _integer(name: str, value: Any) -> int:
    number = _number(name, value)
    if number != int(number):
        raise InputTypeError(f"{name} must be an integer, got {short_repr(value)}")
    largest = MAX_INTEGER_OF.get(name, MAX_INTEGER)
    if abs(number) > largest:
        raise InputError(f"{name} must be within ±{largest:,}, got {short_repr(value)}")
    return int(number)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputTypeError(f"{name} must be a number, got {short_repr(value)}")
    if not abs(value) < sys.float_info.max:
        raise InputError(f"{name} must be a finite number, got {short_repr(value)}")
    return float(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputTypeError(f"{name} must be a string, got {short_repr(value)}")
    if len(value) > MAX_CHARACTERS:
        raise InputError(f"{name} must have at most {MAX_CHARACTERS} characters, got {len(value)}")
    return value


def _squares(name: str, value: Any) -> int:
    count = _integer(name, value)
    if not 1 <= count <= 64:
        raise InputError(f"{name} must be within 1..64 squares per side, got {count}")
    return count


def _rules(name: str, value: Any) -> dict[str, str]:
    rules = {}
    for pair in _text(name, value).split(","):
        operation, equals, rule = (part.strip() for part in pair.partition("="))
        if not (operation and equals and rule):
            raise InputError(
                f"{name} must be comma-separated pairs such as gelu=guided, silu=guided, got"
                f" {short_repr(value)}"
            )
        rules[operation] = rule
    return rules


_SWITCHED = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _parsed_switch(text: str) -> Any:
    return _SWITCHED.get(text.lower(), text)


def _parsed_number(text: str) -> Any:
    """Return the number that a text is, else the text itself, which is refused as such."""
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return text


_PARSED: Mapping[str, Callable[[str], Any]] = {
    "switch": _parsed_switch,
    **dict.fromkeys(("integer", "number", "squares"), _parsed_number),
}
"""How a value is read from text; the other kinds are texts."""

_SWITCH_WORDS = {True: "true", False: "false", None: "none"}

_IN_WORDS: Mapping[str, str] = {
    "switch": "true or false",
    "rules": "OPERATION=RULE,...",
    "squares": "squares per side",
}

_READ: Mapping[str, Callable[[str, Any], Any]] = {
    "switch": _switch,
    "integer": _integer,
    "number": _number,
    "text": _text,
    "layer": _text,
    "squares": _squares,
    "rules": _rules,
}


_SECTION = re.compile(r"^(?:Args:|Raises:|Returns:|Attributes:|>>> )", re.MULTILINE)
_ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*): +(.*)$")


def argument_docs(owner: type, *functions: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each argument from docstrings, those of subclasses first.

    >>> from torchattr.methods import GradCAM
    >>> argument_docs(GradCAM, GradCAM.attribute)["relu_attributions"]
    'keep only evidence for the target, as in the paper.'
    """
    docs: dict[str, str] = {}
    for docstring in _docstrings(owner, functions):
        for name, doc in _arguments(docstring).items():
            docs.setdefault(name, doc)
    return docs


def docstring_paragraphs(owner: type) -> list[str]:
    """Return the paragraphs of a class' own docstring, without sections and examples.

    >>> from torchattr.methods import Saliency
    >>> docstring_paragraphs(Saliency)[1]
    'Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034.'
    """
    text = inspect.cleandoc(owner.__doc__ or "")
    prose = _SECTION.split(text, maxsplit=1)[0]
    return [" ".join(p.split()) for p in re.split(r"\n\s*\n", prose) if p.strip()]


def _docstrings(owner: type, functions: Iterable[Callable[..., Any]]) -> list[str]:
    documented = [*functions, *owner.__mro__[:-1]]
    return [inspect.cleandoc(owner.__doc__) for owner in documented if owner.__doc__]


def _arguments(text: str) -> dict[str, str]:
    _, _, section = text.partition("Args:\n")
    docs: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith("    "):
            break
        start = _ARGUMENT.match(line)
        names = start[1].split(", ") if start else names
        doc = start[2] if start else line.strip()
        for name in names:
            docs[name] = f"{docs.get(name, '')} {doc}".strip()
    return docs
