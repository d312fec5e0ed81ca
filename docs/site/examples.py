"""Examples in docstrings as code: they stand there without a section of their own."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*?(?=\n[ \t]*(?:\n|$)|\Z)", re.MULTILINE | re.DOTALL)


class Examples(griffe.Extension):
    """Fences the examples of each docstring."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(fenced, obj.docstring.value)


def fenced(match: re.Match[str]) -> str:
    return f"```pycon\n{match[0]}\n```"
