"""The base class of panels, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from torchattr.core.registry import Registry
from torchattr.web.panels.parts import Part
from torchattr.web.panels.scene import Scene


class Panel(ABC):
    """A custom view of the model, the picture and the class, made of parts.

    The first line of the docstring describes the panel in the viewer. Further arguments of `show`
    become fields of a form: `bool`, `int`, `float`, `str` or `Literal`, with their defaults. An
    argument called `layer` becomes a choice of layers.

    >>> from torchattr.web import Panel, Text
    >>> class Best(Panel):
    ...     title = "The best class"
    ...     def show(self, scene, loud: bool = False):
    ...         yield Text(scene.class_name + "!" * loud)
    """

    title: ClassVar[str] = ""
    """Heading in the viewer; derived from the registered name when empty."""

    @abstractmethod
    def show(self, scene: Scene, *args: Any, **options: Any) -> Iterable[Part]:
        """Return the parts to show, in order."""


P = TypeVar("P", bound=type[Panel])

PANELS: Registry[type[Panel]] = Registry(
    "panel", group="torchattr.panels", built_in=("torchattr.web.panels.built_in",)
)


def register_panel(name: str) -> Callable[[P], P]:
    """Register the decorated :class:`Panel` under a name.

    Installed packages name the module that registers their panels in the entry point group
    `torchattr.panels`. A file that is executed again, as in a notebook, replaces its own panel.

    Raises:
        RegistryError: the name is taken.

    >>> from torchattr.web import Panel, Text, register_panel
    >>> @register_panel("greeting")
    ... class Greeting(Panel):
    ...     def show(self, scene):
    ...         yield Text(f"hello {scene.class_name}")
    """
    return PANELS.register(name)


def registered_panels() -> dict[str, type[Panel]]:
    """Return a snapshot of all panels: `{name: class}`.

    >>> "scores" in registered_panels()
    True
    """
    return PANELS.snapshot()


def find_panel(name: str) -> type[Panel]:
    """Return the panel of a name.

    Raises:
        RegistryError: there is none; the message names the closest ones.
    """
    return PANELS[name]
