"""The local viewer: what a panel of one's own can use, and the application itself.

Panels need neither FastAPI nor a running viewer, so these names come without them; the extra `web`
is needed once `create_app` is asked for.
"""

from __future__ import annotations

import typing

from torchattr.web.guard import is_local as is_local
from torchattr.web.panels.panel import Panel as Panel
from torchattr.web.panels.panel import register_panel as register_panel
from torchattr.web.panels.panel import registered_panels as registered_panels
from torchattr.web.panels.parts import Bars as Bars
from torchattr.web.panels.parts import Figure as Figure
from torchattr.web.panels.parts import Map as Map
from torchattr.web.panels.parts import Part as Part
from torchattr.web.panels.parts import Picture as Picture
from torchattr.web.panels.parts import Table as Table
from torchattr.web.panels.parts import Text as Text
from torchattr.web.panels.scene import Scene as Scene
from torchattr.web.server import Address as Address
from torchattr.web.server import listen as listen
from torchattr.web.server import serve as serve
from torchattr.web.server import token_for as token_for

if typing.TYPE_CHECKING:
    from torchattr.web.app import create_app as create_app
    from torchattr.web.state.limits import Limits as Limits

_APPLICATION = {"create_app": "app", "Limits": "state.limits"}


def __getattr__(name: str) -> object:
    import importlib

    if name not in _APPLICATION:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_APPLICATION[name]}"), name)
