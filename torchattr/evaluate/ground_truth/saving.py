"""What reports share to be saved: pictures of figures, plain numbers, and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchattr.results import Entry, RunFolder
from torchattr.show import Drawing, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def saved(entries: Sequence[Entry], out: str | Path, overwrite: bool) -> list[Path]:
    """Write entries into a folder and return the files.

    Raises:
        FolderError: the folder cannot be written, or holds a file of another origin.
    """
    with RunFolder(out, overwrite) as folder:
        folder.claim([entry.path for entry in entries])
        return [file for entry in entries for file in folder.add(entry)]


def drawing_of(axes: Axes) -> Drawing:
    """Return the figure of axes as a page of an entry."""
    return Drawing.of(rendered(axes))


def without_nan(value: Any) -> Any:
    """Return a number or nested lists with `None` for NaN, which JSON has no word for.

    >>> without_nan([1.0, [float("nan")]])
    [1.0, [None]]
    """
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    return None if value != value else value
