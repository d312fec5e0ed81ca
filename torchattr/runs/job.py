"""What a look at a picture is: it takes a picture, and gives what is to be kept and said of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torchattr.core.versions import versions
from torchattr.errors import Message
from torchattr.kernels import requested_backend
from torchattr.models import LoadedModel, PreparedImage
from torchattr.results import Entry
from torchattr.runs.score_reader import Answer


@dataclass(frozen=True)
class Note:
    """Something that the user should know; each is reported once."""

    message: Message


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model sees in a picture, and the classes that are explained."""

    path: Path
    answer: Answer
    targets: list[int]


@dataclass(frozen=True)
class OutputGroups:
    """The places of the entries that follow, so that they can be asked for before.

    names: groups that have an entry for each picture.
    paths: of entries that no picture has.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...] = ()


JobProgress = Callable[[float], None]
JobResult: TypeAlias = "Note | Prediction | OutputGroups | Entry"


@dataclass(frozen=True, eq=False)
class InputPicture:
    """One picture of a run.

    path: its file.
    name: what the files of its results are called.
    index: its position in the run.
    prepared: the picture as it was read and as the model takes it.
    inputs: the latter as a batch `(1, C, H, W)` on the model's device.
    """

    path: Path
    name: str
    index: int
    prepared: PreparedImage
    inputs: Tensor


@dataclass(frozen=True, eq=False)
class PictureJob(ABC):
    """Something to make of each picture of a run; its fields are its settings.

    loaded: the model.
    weights: where its weights came from, for the manifest.
    """

    loaded: LoadedModel
    weights: str | None = field(default=None, kw_only=True)

    @abstractmethod
    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        """Look at a picture; before its entries comes a :class:`OutputGroups` that names theirs.

        Args:
            picture: what to look at.
            progress: told which share of the look is done.
        """

    def record(self, picture: InputPicture, **facts: Any) -> dict[str, Any]:
        """Give what the manifest says of an entry, as plain data."""
        width, height = picture.prepared.original.size
        return {
            "source": str(picture.path),
            **facts,
            "picture": {"width": width, "height": height},
            "box": list(picture.prepared.box),
            **made_by(self.loaded),
            "settings": self.chosen(),
        }

    def chosen(self) -> dict[str, Any]:
        """Give the settings, as plain data."""
        return settings_of(self)


def made_by(loaded: LoadedModel) -> dict[str, Any]:
    """Give what a result was made by."""
    return {"model": loaded.name, "device": str(device_of(loaded)), "versions": versions()}


def settings_of(settings: Any) -> dict[str, Any]:
    """Give the fields of a look but its model, and the backend."""
    names = [one.name for one in fields(settings) if one.name != "loaded"]
    chosen = {name: getattr(settings, name) for name in names}
    return {
        **{key: dict(one) if isinstance(one, Mapping) else one for key, one in chosen.items()},
        "backend": requested_backend(),
    }


def device_of(loaded: LoadedModel) -> torch.device:
    """Give the device on which a model lies."""
    tensors = (*loaded.model.parameters(), *loaded.model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
