"""Photographs of everyday things, free of restrictions; `SOURCES.md` has their origins."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

NAMES = ("cat", "coffee", "rocket", "camera")
"""The names of the photographs, in the order in which they are shown."""


def photograph(name: str) -> Path:
    """Return the file of a photograph.

    >>> photograph("cat").name
    'cat.jpg'
    """
    with as_file(files(__name__)) as folder:
        return folder / f"{name}.jpg"
