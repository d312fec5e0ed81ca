"""Reading what a docstring says: what a class is, and what its arguments mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

_BELOW = re.compile(r"^(?:Args:|Raises:|Returns:|Attributes:|>>> )", re.MULTILINE)
_ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*): +(.*)$")


def arguments_of(owner: type, *functions: Callable[..., Any]) -> dict[str, str]:
    """Give what the docstrings say of each argument; those of subclasses go first.

    >>> from torchattr.methods import GradCAM
    >>> arguments_of(GradCAM, GradCAM.attribute)["relu_attributions"]
    'keep only evidence for the target, as the paper does.'
    """
    found: dict[str, str] = {}
    for text in _texts(owner, functions):
        for name, said in _arguments(text).items():
            found.setdefault(name, said)
    return found


def paragraphs_of(owner: type) -> list[str]:
    """Give the paragraphs of a class' own docstring, without arguments and examples.

    >>> from torchattr.methods import Saliency
    >>> paragraphs_of(Saliency)[1]
    'Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034.'
    """
    text = inspect.cleandoc(owner.__doc__ or "")
    kept = _BELOW.split(text, maxsplit=1)[0]
    return [" ".join(one.split()) for one in re.split(r"\n\s*\n", kept) if one.strip()]


def _texts(owner: type, functions: Iterable[Callable[..., Any]]) -> list[str]:
    documented = [*functions, *owner.__mro__[:-1]]
    return [inspect.cleandoc(one.__doc__) for one in documented if one.__doc__]


def _arguments(text: str) -> dict[str, str]:
    _, _, below = text.partition("Args:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in below.splitlines():
        if line and not line.startswith("    "):
            break
        start = _ARGUMENT.match(line)
        names = start[1].split(", ") if start else names
        said = start[2] if start else line.strip()
        for name in names:
            found[name] = f"{found.get(name, '')} {said}".strip()
    return found
