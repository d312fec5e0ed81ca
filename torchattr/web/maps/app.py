"""The viewer of a store of maps as an ASGI application."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from fastapi import FastAPI

from torchattr.bulk import Maps
from torchattr.web.app import guarded_app
from torchattr.web.guard import LOCAL
from torchattr.web.maps.gallery import Gallery
from torchattr.web.maps.routes import router
from torchattr.web.state.limits import Limits


def create_maps_app(
    maps: Maps,
    *,
    token: str | None = None,
    hosts: Sequence[str] | None = LOCAL,
    limits: Limits | None = None,
) -> FastAPI:
    """Return the viewer of a store of maps as an ASGI application.

    It pages through the pictures that were done when the store was opened, and needs no model.

    Args:
        maps: the store, of :func:`torchattr.open_maps`.
        token, hosts, limits: see :func:`torchattr.web.create_app`.

    Raises:
        InputError: any host is accepted, but no token is given.
    """
    instance = secrets.token_hex(4)
    app = guarded_app([router], "maps.html", hosts, token, instance, limits or Limits())
    app.state.gallery = Gallery(maps)
    return app
