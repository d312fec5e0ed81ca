"""The methods and panels that are registered, as the page lists them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torchattr.errors import InputError
from torchattr.explanation import METHODS
from torchattr.methods import Attribution, find_method, registered_methods, takes
from torchattr.show import title_of
from torchattr.web.forms import Form, refuse_unknown
from torchattr.web.panels.documented import paragraphs_of
from torchattr.web.panels.panel import Panel, find_panel, registered_panels


@dataclass(frozen=True)
class MethodEntry:
    """A registered method with its two forms: what it is made with, and what it is called with.

    >>> entry = MethodEntry("grad_cam", find_method("grad_cam"))
    >>> [field.name for field in entry.made.fields][:2], entry.described()["title"]
    (['layer', 'calls'], 'Grad-CAM')
    """

    name: str
    method: type[Attribution]

    @cached_property
    def made(self) -> Form:
        return Form.of(self.method, self.method)

    @cached_property
    def called(self) -> Form:
        return Form.of(self.method, self.method.attribute)

    @property
    def unavailable(self) -> str | None:
        """Say why it cannot be run from a form; `None` if it can."""
        missing = [*self.made.missing, *self.called.missing]
        if not missing:
            return None
        return f"it needs {', '.join(missing)}, for which there is no field"

    def described(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": title_of(self.name),
            "about": paragraphs_of(self.method),
            "fields": [one.described() for one in (*self.made.fields, *self.called.fields)],
            "panel": callable(getattr(self.method, "panel", None)),
            "unavailable": self.unavailable,
        }

    def read(self, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check what was entered; give what it is made with and what it is called with.

        Raises:
            InputError: a value that does not fit, or a method that cannot be run from a form.
        """
        if self.unavailable:
            raise InputError(f"{self.name} cannot be run here: {self.unavailable}")
        refuse_unknown(values, (self.made, self.called))
        return self.made.read(values), self.called.read(values)

    def takes(self, argument: str) -> bool:
        return takes(self.method, argument)


@dataclass(frozen=True)
class PanelEntry:
    """A registered panel with its form."""

    name: str
    panel: type[Panel]

    @cached_property
    def form(self) -> Form:
        return Form.of(self.panel, self.panel.show)

    def described(self) -> dict[str, Any]:
        missing = ", ".join(self.form.missing)
        return {
            "name": self.name,
            "title": self.panel.title or title_of(self.name),
            "about": paragraphs_of(self.panel),
            "fields": [one.described() for one in self.form.fields],
            "unavailable": f"it needs {missing}, for which there is no field" if missing else None,
        }

    def read(self, values: dict[str, Any]) -> dict[str, Any]:
        """Check what was entered."""
        if self.form.missing:
            raise InputError(f"{self.name} cannot be run here: {self.described()['unavailable']}")
        refuse_unknown(values, (self.form,))
        return self.form.read(values)


def methods() -> list[MethodEntry]:
    """Give all methods, those that `explain` runs by itself first."""
    found = registered_methods()
    order = [*(name for name in METHODS if name in found), *found]
    return [MethodEntry(name, found[name]) for name in dict.fromkeys(order)]


def method_entry(name: str) -> MethodEntry:
    return MethodEntry(name, find_method(name))


def panels() -> list[PanelEntry]:
    """Give all panels, in the order in which they were registered."""
    return [PanelEntry(name, panel) for name, panel in registered_panels().items()]


def panel_entry(name: str) -> PanelEntry:
    return PanelEntry(name, find_panel(name))
