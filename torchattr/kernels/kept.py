"""Where compiled kernels are kept between processes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident


def cache_folder() -> Path:
    """Give where compiled kernels are kept: `torchattr/kernels` in the user's cache folder."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or tempfile.gettempdir()
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "torchattr", "kernels")


@contextmanager
def put_in_place(place: Path) -> Iterator[Path]:
    """Give another name to write under, so that no other process ever reads a part.

    Raises:
        OSError: the folder cannot be written to.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{os.getpid()}.{get_ident()}")
    try:
        yield part
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
