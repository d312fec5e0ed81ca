"""The registered methods and panels with their forms, as the page lists them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torchattr.errors import InputError
from torchattr.methods import registered_methods
from torchattr.runs import Form, MethodForm, docstring_paragraphs, refuse_unknown
from torchattr.show import title_of
from torchattr.web.panels.panel import Panel, find_panel, registered_panels
from torchattr.web.views.families import COMMON, is_shown_at_once


@dataclass(frozen=True)
class MethodEntry:
    """A registered method, as the page lists it.

    >>> entry = method_entry("grad_cam")
    >>> [field.name for field in entry.form.fields][:2], entry.as_json()["title"]
    (['layer', 'calls'], 'Grad-CAM')
    """

    form: MethodForm

    @property
    def name(self) -> str:
        return self.form.name

    @property
    def returns_ledger(self) -> bool:
        """Whether it returns with its map, on request, where the score went."""
        return "return_ledger" in inspect.signature(self.form.method.attribute).parameters

    @property
    def unavailable(self) -> str | None:
        """Why it cannot be run from a form; `None` if it can."""
        return _unavailable(*self.form.missing)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": title_of(self.name),
            "common": is_shown_at_once(self.name),
            "about": docstring_paragraphs(self.form.method),
            "fields": [field.as_json() for field in self.form.fields],
            "panel": callable(getattr(self.form.method, "panel", None)),
            "unavailable": self.unavailable,
        }

    def read(self, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the validated arguments for the constructor and for `attribute`.

        Raises:
            InputError: an invalid value, or a method that cannot be run from a form.
        """
        if self.unavailable:
            raise InputError(f"{self.name} is not available in the viewer: {self.unavailable}")
        return self.form.read(values)


@dataclass(frozen=True)
class PanelEntry:
    """A registered panel with its form."""

    name: str
    panel: type[Panel]

    @cached_property
    def form(self) -> Form:
        return Form.of(self.panel, self.panel.show)

    @property
    def unavailable(self) -> str | None:
        """Why it cannot be run from a form; `None` if it can."""
        return _unavailable(*self.form.missing)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.panel.title or title_of(self.name),
            "about": docstring_paragraphs(self.panel),
            "fields": [field.as_json() for field in self.form.fields],
            "unavailable": self.unavailable,
        }

    def read(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the validated arguments for `show`.

        Raises:
            InputError: an invalid value, or a panel that cannot be run from a form.
        """
        if self.unavailable:
            raise InputError(f"{self.name} is not available in the viewer: {self.unavailable}")
        refuse_unknown(values, (self.form,))
        return self.form.read(values)


def methods() -> list[MethodEntry]:
    """Return all methods, the common ones first."""
    registered = registered_methods()
    order = [*(name for name in COMMON if name in registered), *registered]
    return [method_entry(name) for name in dict.fromkeys(order)]


def method_entry(name: str) -> MethodEntry:
    return MethodEntry(MethodForm.of(name))


def panels() -> list[PanelEntry]:
    """Return all panels, in the order of registration."""
    return [PanelEntry(name, panel) for name, panel in registered_panels().items()]


def panel_entry(name: str) -> PanelEntry:
    return PanelEntry(name, find_panel(name))


def _unavailable(*missing: str) -> str | None:
    return f"requires {', '.join(missing)}, which no form field can supply" if missing else None
