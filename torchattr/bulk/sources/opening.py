"""The source that fits what a user passes as data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torchattr.bulk.sources.columns import SUFFIXES as TABLES
from torchattr.bulk.sources.folder import PictureFolder
from torchattr.bulk.sources.hugging_face import HuggingFacePictures
from torchattr.bulk.sources.map_dataset import DatasetPictures
from torchattr.bulk.sources.pictures import Pictures
from torchattr.bulk.sources.table import TablePictures
from torchattr.bulk.sources.tars import TarPictures
from torchattr.errors import InputError


def as_pictures(data: Any) -> Pictures:
    """Return what a user passes as data as pictures with ids.

    Args:
        data: a source; a folder; a table (`.csv`, `.tsv`, `.parquet`); tars of WebDataset
            (`shards/{00..15}.tar`); a split of Hugging Face's `datasets`; or a map-style data set
            of PyTorch. Options such as columns are those of the source's own class.

    Raises:
        InputError: none of these, or a data set that a source refuses.
        ImageError: a folder or file that cannot be read.

    >>> from torchattr.models.collage import examples
    >>> as_pictures(examples()[0].path.parent).ids()[0]
    'astronaut_cat.jpg'
    """
    if isinstance(data, Pictures):
        return data
    if isinstance(data, (str, Path)):
        return _at(os.path.expanduser(data))
    if type(data).__module__.partition(".")[0] == "datasets":
        return HuggingFacePictures(data)
    return DatasetPictures(data)


def _at(path: str) -> Pictures:
    suffix = Path(path).suffix.lower()
    if os.path.isdir(path):
        return PictureFolder(path)
    if suffix in TABLES:
        return TablePictures(path)
    if suffix == ".tar":
        return TarPictures(path)
    kind = "is none of these" if os.path.exists(path) else "is no such file or folder"
    raise InputError(
        f"data {path} {kind}; pass a folder, a table ({', '.join(TABLES)}), or tars of WebDataset"
        " ('shards/{00..15}.tar')"
    )
