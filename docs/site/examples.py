"""Docstrings for the reference: their examples as code, their references as links."""

from __future__ import annotations

import re
from typing import Any

import griffe

import torchattr

EXAMPLE = re.compile(r"^>>> .*?(?=\n[ \t]*(?:\n|$)|\Z)", re.MULTILINE | re.DOTALL)
ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`~?([\w.]+)`")


class Examples(griffe.Extension):
    """Fences the examples of each docstring, which stand there without a section of their own."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = EXAMPLE.sub(fenced, obj.docstring.value)
            obj.docstring.value = ROLE.sub(linked, text)


def fenced(match: re.Match[str]) -> str:
    return f"```pycon\n{match[0]}\n```"


def linked(match: re.Match[str]) -> str:
    """Link names of the top level, which are known to be in the reference; the others are code."""
    name = match[1].removeprefix("torchattr.")
    if name in torchattr.__all__:
        return f"[`{name}`][torchattr.{name}]"
    return f"`{match[1]}`"
