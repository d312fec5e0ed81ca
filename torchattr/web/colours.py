"""The colour tables that the page draws with: those of `torchattr.show`."""

from __future__ import annotations

from typing import Any

from torchattr.show import DIVERGING, FADE, SEQUENTIAL, table


def tables() -> dict[str, Any]:
    """Give the 256 colours of each map as hexadecimal text, and which maps have a middle.

    >>> tables()["tables"]["gray"][:6], len(tables()["tables"]["viridis"])
    ('000000', 1536)
    """
    names = (*SEQUENTIAL, *DIVERGING)
    return {
        "sequential": SEQUENTIAL,
        "diverging": DIVERGING,
        "tables": {name: table(name).tobytes().hex() for name in names},
        "fade": FADE,
    }
