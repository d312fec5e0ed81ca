"""Panels: views of one's own, registered by name like methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar, TypeVar

from torchattr.errors import RuleError
from torchattr.web.panels.parts import Part
from torchattr.web.panels.scene import Scene

ENTRY_POINTS = "torchattr.panels"


class Panel(ABC):
    """A view of the model, the picture and the class, made of parts.

    The first line of the docstring says in the viewer what it shows. Further arguments of `show`
    become fields of a form: `bool`, `int`, `float`, `str` or `Literal`, with their defaults. One
    called `layer` becomes a choice of layers.

    >>> from torchattr.web import Panel, Text
    >>> class Best(Panel):
    ...     title = "The best class"
    ...     def show(self, scene, loud: bool = False):
    ...         yield Text(scene.class_name + "!" * loud)
    """

    title: ClassVar[str] = ""
    """What the viewer calls it; made from the registered name when empty."""

    @abstractmethod
    def show(self, scene: Scene, *args: Any, **options: Any) -> Iterable[Part]:
        """Give the parts to show, one after another."""


P = TypeVar("P", bound=type[Panel])

_panels: dict[str, type[Panel]] = {}


def register_panel(name: str) -> Callable[[P], P]:
    """Register the decorated :class:`Panel` under a name.

    Installed packages name the module that registers theirs in the entry point group
    `torchattr.panels`.

    Raises:
        RuleError: the name is taken already.
    """

    def register(panel: P) -> P:
        if name in _panels:
            raise RuleError(
                f"a panel called {name!r} is registered already"
                f" ({_panels[name].__qualname__}); choose another name"
            )
        _panels[name] = panel
        return panel

    return register


def registered_panels() -> dict[str, type[Panel]]:
    """Give a snapshot of all panels: `{name: class}`.

    >>> "scores" in registered_panels()
    True
    """
    _load_installed()
    return dict(_panels)


def find_panel(name: str) -> type[Panel]:
    """Give the panel of a name.

    Raises:
        RuleError: there is none; the message names the closest ones.
    """
    panels = registered_panels()
    if name not in panels:
        close = get_close_matches(name, panels, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise RuleError(f"no panel is called {name!r}; {hint or 'there are: ' + ', '.join(panels)}")
    return panels[name]


@cache
def _load_installed() -> None:
    import_module("torchattr.web.panels.built_in")
    for point in entry_points(group=ENTRY_POINTS):
        point.load()
