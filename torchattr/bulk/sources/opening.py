"""Open whatever a user names as a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torchattr.bulk.sources.folder import PictureFolder
from torchattr.bulk.sources.pictures import Pictures
from torchattr.errors import InputError


def as_pictures(data: Any) -> Pictures:
    """Return the pictures of a data set.

    Args:
        data: a :class:`Pictures`, or a folder.

    Raises:
        InputError: anything else.
        ImageError: a folder that cannot be read.
    """
    if isinstance(data, Pictures):
        return data
    if isinstance(data, (str, Path)) and os.path.isdir(Path(data).expanduser()):
        return PictureFolder(Path(data).expanduser())
    raise InputError(f"data must be a folder of pictures or a Pictures, got {data!r}")
