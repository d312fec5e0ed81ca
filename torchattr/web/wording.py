"""The library's messages in the words of the page: fields of its forms instead of arguments."""

from __future__ import annotations

from typing import Any

from torchattr.errors import FUNCTION, Listing

FIELDS = ("layer", "rules", "layout", "strict")
"""Arguments that forms have a field for; the page has none for the others."""


def in_viewer(argument: str, value: Any) -> str | None:
    """Word an argument of the library as a field of a form; `None` if there is no such field.

    >>> in_viewer("layer", ...), in_viewer("rules", {"gelu": "guided"})
    ('the field “layer”', 'gelu=guided (field “rules”)')
    >>> in_viewer("strict", False), in_viewer("output", "logits")
    ('off (field “strict”)', None)
    """
    if argument == "activation":
        # What scores mean belongs to the model, which is chosen where the viewer is started.
        return f"torchattr view --scores {_meaning(value)}"
    if argument not in FIELDS or value is FUNCTION or isinstance(value, Listing):
        return None
    return f"the field “{argument}”" if value is ... else f"{_text(value)} (field “{argument}”)"


def _meaning(value: Any) -> str:
    return {...: "MEANING", "none": "raw"}.get(value, str(value))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return " ".join(f"{operation}={rule}" for operation, rule in value.items())
    return str(value)
