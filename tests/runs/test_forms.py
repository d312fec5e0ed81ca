"""Forms, derived from signatures and docstrings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import pytest
from helpers import refused

import torchattr as ta
from torchattr.errors import InputError, InputTypeError
from torchattr.runs.forms import Field, Form, argument_docs, docstring_paragraphs, refuse_unknown

if TYPE_CHECKING:
    from nowhere import Unknown


class Example:
    """What an example is.

    It is *not* real. Nobody 2020, arXiv:2001.00001.

    Args:
        size: how large,
            in two lines.
        left, right: on both sides.

    >>> 1 + 1
    2
    """

    def __init__(
        self,
        model: Any,
        size: int,
        left: float = 1,
        right: float | None = None,
        mode: Literal["a", "b"] = "b",
        maybe: Literal[1, 2] | None = None,
        flag: bool = False,
        word: str = "x",
        wide: float | tuple[float, ...] = 0.5,
        odd: Unknown | None = None,
        call: Callable[..., Any] | None = None,
        *more: Any,
        **others: Any,
    ) -> None: ...

    def bare(self, inputs, target, order=2.0, steps=3, deep=True, name="n", nothing=None): ...

    def needs(self, inputs: Any, what: Callable[..., Any], words: list[str]) -> None: ...


def fields(function: Any = Example) -> dict[str, Field]:
    return {field.name: field for field in Form.of(Example, function).fields}


def test_fields_have_the_types_of_the_arguments() -> None:
    kinds = {name: (one.kind, one.default, one.optional) for name, one in fields().items()}
    assert kinds == {
        "size": ("integer", None, False),
        "left": ("number", 1, False),
        "right": ("number", None, True),
        "mode": ("choice", "b", False),
        "maybe": ("choice", None, True),
        "flag": ("switch", False, False),
        "word": ("text", "x", False),
        "wide": ("number", 0.5, False),
    }
    assert fields()["mode"].choices == ("a", "b")


def test_without_annotations_defaults_say_what_is_meant() -> None:
    kinds = {name: one.kind for name, one in fields(Example.bare).items()}
    assert kinds == {"order": "number", "steps": "integer", "deep": "switch", "name": "text"}


def test_what_must_be_given_but_has_no_field_is_named() -> None:
    assert Form.of(Example, Example.needs).missing == ("what", "words")


def test_docs_come_from_docstrings() -> None:
    assert fields()["size"].doc == "how large, in two lines."
    assert fields()["left"].doc == fields()["right"].doc == "on both sides."
    assert docstring_paragraphs(Example) == [
        "What an example is.",
        "It is *not* real. Nobody 2020, arXiv:2001.00001.",
    ]
    assert argument_docs(ta.GuidedBackprop, ta.GuidedBackprop.__init__)["rules"].startswith(
        "rules that this object adds"
    )


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("size", 3, 3),
        ("size", 3.0, 3),
        ("left", 2, 2.0),
        ("right", None, None),
        ("right", "", None),
        ("mode", "a", "a"),
        ("maybe", 2, 2),
        ("flag", True, True),
        ("word", "some", "some"),
    ],
)
def test_what_fits_is_read(name: str, value: Any, read: Any) -> None:
    found = fields()[name].read(value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("name", "value", "kind", "words"),
    [
        ("size", None, InputError, "size must not be empty"),
        ("size", "3", InputTypeError, "size must be a number, got '3'"),
        ("size", True, InputTypeError, "must be a number, got True"),
        ("size", 3.5, InputTypeError, "an integer, got 3.5"),
        ("size", 10_001, InputError, "within ±10,000"),
        ("left", float("nan"), InputError, "finite"),
        ("left", float("inf"), InputError, "finite"),
        ("left", [], InputTypeError, "must be a number, got []"),
        ("mode", "c", InputError, "mode must be one of 'a', 'b', got 'c'"),
        ("maybe", "2", InputError, "1, 2"),
        ("maybe", True, InputError, "1, 2"),
        ("flag", 1, InputTypeError, "true or false"),
        ("word", 5, InputTypeError, "a string"),
        ("word", "x" * 201, InputError, "at most 200 characters"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, value: Any, kind: type[Exception], words: str
) -> None:
    with refused(kind, words):
        fields()[name].read(value)


def test_long_values_are_not_repeated_in_full() -> None:
    with pytest.raises(InputTypeError) as info:
        fields()["left"].read("y" * 10_000)
    assert len(str(info.value)) < 120


def test_options_that_no_field_has_are_refused_with_those_there_are() -> None:
    with refused(InputError, "'colour'", "size, left"):
        refuse_unknown({"colour": 1}, [Form.of(Example, Example)])
    with refused(InputError, "there are no options"):
        refuse_unknown({"colour": 1}, [])
