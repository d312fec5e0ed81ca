"""The pictures that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

from torchattr.models import photographs
from torchattr.models.collage import examples


def bundled() -> dict[str, Path]:
    """Return the files of the bundled pictures by name: the photographs, then the collages.

    >>> list(bundled())[:4]
    ['cat', 'coffee', 'rocket', 'camera']
    """
    files = [*map(photographs.photograph, photographs.NAMES), *(one.path for one in examples())]
    return {file.stem: file for file in files}
