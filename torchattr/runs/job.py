"""The interface of jobs: a job takes a picture and yields entries, notes and predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torchattr.core.printable import printable
from torchattr.core.stepping import watching
from torchattr.core.versions import versions
from torchattr.errors import Message
from torchattr.kernels import requested_backend
from torchattr.methods import Ledger
from torchattr.models import LoadedModel, PreparedImage
from torchattr.results import Display, Entry, Sight, model_title
from torchattr.runs.score_reader import Answer
from torchattr.show import LIGHT, FigureHead, Look


@dataclass(frozen=True)
class Note:
    """A remark for the user; each is reported once."""

    message: Message


@dataclass(frozen=True, eq=False)
class Prediction:
    """The scores of a picture, and the classes that are explained."""

    path: Path
    answer: Answer
    targets: list[int]


@dataclass(frozen=True, eq=False)
class Account:
    """Where the score of a class went, by one method."""

    title: str
    ledger: Ledger


@dataclass(frozen=True)
class OutputGroups:
    """The paths of the entries that follow, so that they can be claimed first.

    names: groups that have one entry per picture.
    paths: of entries that belong to no picture.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...] = ()


JobProgress = Callable[[float], None]
JobResult: TypeAlias = "Note | Prediction | Account | OutputGroups | Entry"


@dataclass(frozen=True, eq=False)
class InputPicture:
    """One picture of a run.

    path: its file.
    name: the stem of its results' files.
    index: its position in the run.
    prepared: the picture as it was read, and preprocessed.
    inputs: the latter as a batch `(1, C, H, W)` on the model's device.
    """

    path: Path
    name: str
    index: int
    prepared: PreparedImage
    inputs: Tensor


@dataclass(frozen=True, eq=False)
class PictureJob(ABC):
    """What is done with each picture of a run; its fields are its settings.

    loaded: the model.
    weights: where its weights came from, for the manifest.
    look: how pictures are drawn.
    """

    loaded: LoadedModel
    weights: str | None = field(default=None, kw_only=True)
    look: Look = field(default=LIGHT, kw_only=True)

    @abstractmethod
    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        """Process a picture; an :class:`OutputGroups` is yielded before the entries that it names.

        Args:
            picture: the picture to process.
            progress: called with the completed fraction of the job.
        """

    def sight(self, picture: InputPicture) -> Sight:
        """Return what heads the grids of a picture: the model, and the input as it was seen."""
        display = Display.of(self.loaded.transform).picture
        name, seen = printable(picture.path.name), display(picture.inputs[0])
        return Sight(
            FigureHead(model_title(self.loaded.name, self.weights), name, seen), self.look, display
        )

    def record(self, picture: InputPicture, **facts: Any) -> dict[str, Any]:
        """Return the manifest record of an entry, as plain data."""
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
        """Return the settings, as plain data."""
        return settings_of(self)


@contextmanager
def told_to(progress: JobProgress, part: int = 0, parts: int = 1) -> Iterator[None]:
    """Tell the progress of the counted loops in the block, which is one of several parts of a job.

    Nothing may be yielded from inside the block, or the loops of whoever takes it would count, too.
    """
    with watching(lambda share: progress((part + share) / parts)):
        yield


def made_by(loaded: LoadedModel) -> dict[str, Any]:
    """Return the model, device and package versions that a result was made with."""
    return {"model": loaded.name, "device": str(device_of(loaded)), "versions": versions()}


def settings_of(settings: Any) -> dict[str, Any]:
    """Return the fields of a job except its model, and the requested backend."""
    names = [one.name for one in fields(settings) if one.name != "loaded"]
    chosen = {name: getattr(settings, name) for name in names}
    return {
        **{key: _plain(one) for key, one in chosen.items()},
        "backend": requested_backend(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Look):
        return asdict(value)
    return dict(value) if isinstance(value, Mapping) else value


def device_of(loaded: LoadedModel) -> torch.device:
    """Return the device of a model's first parameter or buffer; the CPU if it has none."""
    tensors = (*loaded.model.parameters(), *loaded.model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
