"""Registration and look-up by name, for rules, methods, panels and backends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from torchattr.errors import Hint, RegistryError, TorchattrError, WayOut

T = TypeVar("T")

LISTED = 24
"""Most names that a message lists."""

NAMED = 3
"""How many of more names it gives as examples."""

OPTIONS_CUTOFF = 0.6
"""How alike the name of an option must be to be suggested: options have parts in common."""


def closest(name: str, names: Iterable[str], *, most: int = 3, cutoff: float = 0.4) -> list[str]:
    """Return the names closest to a misspelled one, best first.

    >>> closest("guided-backprop", ["saliency", "guided_backprop"])
    ['guided_backprop']
    """
    return get_close_matches(name.replace("-", "_"), list(names), n=most, cutoff=cutoff)


def suggest(name: str, names: Iterable[str], *, most: int = 3, cutoff: float = 0.4) -> str:
    """Return the question or list that ends a message about an unknown name.

    >>> suggest("salency", ["saliency", "rise"])
    "did you mean 'saliency'?"
    >>> suggest("x", ["saliency", "rise"])
    'there are: saliency, rise'
    >>> suggest("x", map(str, range(46)))
    'there are 46, such as 0, 1, 2'
    """
    known = list(dict.fromkeys(names))
    close = closest(name, known, most=most, cutoff=cutoff)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    if len(known) > LISTED:
        return f"there are {len(known)}, such as {', '.join(known[:NAMED])}"
    return f"there are: {', '.join(known) or 'none'}"


class Registry(Generic[T]):
    """Classes or objects by name.

    Installed packages name a module in an entry point group; importing it registers what it
    defines. A file or a notebook's cell that is executed again replaces its own entries; any other
    second use of a name raises an error.

    Args:
        noun: what an entry is called in messages, such as `method`.
        group: the entry point group of installed packages.
        built_in: modules of this package that register entries, imported at the first look-up.
        error: the class of the errors raised.
        listed: where its names are listed, for messages about unknown ones.

    >>> shapes = Registry("shape")
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes["square"] is Square, list(shapes.snapshot())
    (True, ['square'])
    >>> shapes["sqare"]
    Traceback (most recent call last):
    torchattr.errors.RegistryError: no shape is called 'sqare'; did you mean 'square'?
    """

    def __init__(
        self,
        noun: str,
        *,
        group: str | None = None,
        built_in: Iterable[str] = (),
        error: type[TorchattrError] = RegistryError,
        listed: WayOut | None = None,
    ) -> None:
        self.noun = noun
        self._listed = listed
        self._group = group
        self._built_in = tuple(built_in)
        self._error = error
        self._entries: dict[str, T] = {}
        self._origins: dict[str, _Origin] = {}
        self._is_loaded = False

    def register(self, name: str) -> Callable[[Any], Any]:
        """Register the decorated class under a name.

        Raises:
            RegistryError: the name is taken.
        """

        def register(entry: Any) -> Any:
            self.add(name, entry)
            return entry

        return register

    def add(self, name: str, entry: T) -> None:
        """Register an entry under a name.

        Raises:
            RegistryError: the name is taken.
        """
        origin = _origin(entry)
        if name in self._entries and not self._is_again(name, entry, origin):
            taken = getattr(self._entries[name], "__qualname__", type(self._entries[name]).__name__)
            raise self._error(
                f"a {self.noun} called {name!r} is registered already ({taken});"
                " choose another name"
            )
        self._entries[name], self._origins[name] = entry, origin

    def _is_again(self, name: str, entry: T, origin: _Origin) -> bool:
        """Whether this is a new definition of a registered entry: its file was executed again."""
        known = self._entries[name]
        is_same = origin == self._origins[name] and (origin[2] or origin[0] == "__main__")
        return entry is not known and bool(is_same)

    def __getitem__(self, name: str) -> T:
        """Return the entry of a name.

        Raises:
            RegistryError: there is none; the message names the closest ones.
        """
        entries = self.snapshot()
        if name not in entries:
            raise self.unknown(name)
        return entries[name]

    def unknown(self, name: str, also: Iterable[str] = ()) -> TorchattrError:
        """Return the error about an unknown name; it names the closest ones.

        Args:
            name: the unknown name.
            also: names that are accepted besides those of the entries.
        """
        known = [*also, *self.snapshot()]
        return self._error(
            f"no {self.noun} is called {name!r}; {suggest(name, known)}",
            hint=Hint(ways_out=[] if self._listed is None else [self._listed]),
        )

    def snapshot(self) -> dict[str, T]:
        """Return all entries by name, in the order in which they were registered."""
        self._load()
        return dict(self._entries)

    def name_of(self, entry: object) -> str | None:
        """Return the name under which an entry is registered, if it is."""
        return next((name for name, known in self._entries.items() if known is entry), None)

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """Discard at the end of the block what was registered within it; for tests."""
        entries = self.snapshot()
        origins = dict(self._origins)
        try:
            yield
        finally:
            self._entries, self._origins = entries, origins

    def _load(self) -> None:
        if self._is_loaded:
            return
        # Set first: a module imported here may itself look up an entry.
        self._is_loaded = True
        for module in self._built_in:
            import_module(module)
        for point in entry_points(group=self._group) if self._group else ():
            point.load()


_Origin = tuple[str, str, str | None]


def _origin(entry: object) -> _Origin:
    """Return where an entry is defined: its module, its qualified name, and its file, if known."""
    cls = entry if isinstance(entry, type) else type(entry)
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return cls.__module__, cls.__qualname__, file
