"""Classes by their names, as commands and `explain` take them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from torchattr.core.targets import Classes
from torchattr.errors import Hint, TargetError, WayOut


def find_class(text: str, names: Sequence[str] | None) -> int | None:
    """Return the index of a class by its name, whatever its case; None if there is none.

    Raises ``TargetError`` for the name of several classes.

    >>> find_class("TIGER_cat", ["tabby", "tiger cat"])
    1
    """
    named = names or ()
    matches = [index for index, name in enumerate(named) if _plain(name) == _plain(text)]
    exact = [index for index in matches if named[index] == text]
    if len(matches) > 1 and len(exact) != 1:
        raise TargetError(
            f"target {text!r} is the name of {len(matches)} classes; choose one by its index:"
            f" {', '.join(map(str, matches))}"
        )
    return next(iter(exact or matches), None)


def is_class_name(text: str, names: Sequence[str] | None) -> bool:
    """Return whether a text is the name of a class, or of several."""
    return any(_plain(name) == _plain(text) for name in names or ())


def unknown_class(text: str, names: Sequence[str] | None, allowed: str) -> TargetError:
    """Return the error about a name that no class has; it names the closest ones.

    allowed: the forms of a target, in words.
    """
    return TargetError(
        f"unknown class {text!r}; {_known(text, names)}",
        hint=Hint("target", text, names or (), [WayOut(f"allowed are {allowed}")]),
    )


def with_indices(target: Any, names: Sequence[str] | None) -> Any:
    """Return a target with class indices for the names in it: one, a list, or ``Classes``.

    names: of the model's classes; None if they are not known.

    Raises ``TargetError`` for a name that no class has, or several have.

    >>> names = ["tabby", "tiger cat"]
    >>> with_indices("Tabby", names), with_indices(["tiger cat", 0], names)
    (0, [1, 0])
    >>> with_indices(Classes("tabby", "tiger cat"), names)
    Classes(indices=(0, 1))
    >>> with_indices("tiger", names)
    Traceback (most recent call last):
    torchattr.errors.TargetError: unknown class 'tiger'; did you mean 'tiger cat'? Allowed are ...
    """
    if isinstance(target, str):
        found = find_class(target, names)
        if found is None:
            forms = "a name or an index" if names else "indices, or a LoadedModel with class_names"
            raise unknown_class(target, names, forms)
        return found
    if isinstance(target, Classes) and any(isinstance(one, str) for one in target.indices):
        return Classes(*with_indices(list(target.indices), names))
    if isinstance(target, list):
        return [with_indices(one, names) for one in target]
    return target


def _known(text: str, names: Sequence[str] | None) -> str:
    if not names:
        return "the class names of this model are not known"
    plain = {_plain(name): name for name in names}
    close = get_close_matches(_plain(text), plain, n=3, cutoff=0.5)
    close += [key for key in plain if _plain(text) in key.split() and key not in close][:3]
    if close:
        return f"did you mean {' or '.join(repr(plain[key]) for key in close[:4])}?"
    return f"the classes are {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().casefold()
