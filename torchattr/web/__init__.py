"""The local viewer: the base class and parts of panels, and the web application.

Panels need neither FastAPI nor a running viewer. The application and its server need the extra
`web`, and are imported when one of their names is first used.
"""

from __future__ import annotations

import typing

from torchattr.web.panels.ledger_card import LedgerCard as LedgerCard
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

if typing.TYPE_CHECKING:
    from torchattr.web.api.dependencies import session_of as session_of
    from torchattr.web.api.dependencies import viewer_of as viewer_of
    from torchattr.web.app import create_app as create_app
    from torchattr.web.guard import is_local as is_local
    from torchattr.web.maps.app import create_maps_app as create_maps_app
    from torchattr.web.server import Address as Address
    from torchattr.web.server import listen as listen
    from torchattr.web.server import serve as serve
    from torchattr.web.server import token_for as token_for
    from torchattr.web.state.limits import Limits as Limits

_LAZY = {
    "create_app": "app",
    "create_maps_app": "maps.app",
    "is_local": "guard",
    "Address": "server",
    "listen": "server",
    "serve": "server",
    "token_for": "server",
    "Limits": "state.limits",
    "session_of": "api.dependencies",
    "viewer_of": "api.dependencies",
}


def __getattr__(name: str) -> object:
    import importlib

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
