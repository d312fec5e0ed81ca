"""Looking at pictures one after another, each written as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from torchattr.errors import ImageError
from torchattr.models import read_image
from torchattr.results import Entry, Sink, distinct_names, plain_name
from torchattr.runs.digests import picture_digest, run_digest
from torchattr.runs.job import (
    InputPicture,
    JobResult,
    Note,
    OutputGroups,
    PictureJob,
    Prediction,
    device_of,
)


@dataclass(frozen=True)
class Written:
    """An entry is done, and these are its files."""

    path: Path
    files: list[Path]


@dataclass(frozen=True)
class PictureDone:
    """Everything about a picture is done."""

    path: Path


@dataclass(frozen=True)
class AlreadyDone:
    """A former run did all of a picture with the same model and settings, and it is still there."""

    path: Path


@dataclass(frozen=True)
class Skipped:
    """A picture could not be read."""

    path: Path
    reason: str


Event: TypeAlias = "Note | Prediction | Written | PictureDone | AlreadyDone | Skipped"
Progress = Callable[[float], None]


def run_jobs(
    paths: Sequence[Path],
    looks: Sequence[PictureJob],
    sink: Sink,
    progress: Progress = lambda pictures: None,
) -> Iterator[Event]:
    """Look at pictures and hand what is found to a sink; say what happens.

    A picture that cannot be read is skipped, and one that the sink has already, made by the same
    model and settings, is kept. When the iteration ends early, what was handed over before stays.

    Args:
        paths: the pictures.
        looks: what to make of each, in this order.
        sink: takes the entries; it is left open.
        progress: told how many pictures are done, in parts.

    Raises:
        TorchattrError: a setting that does not fit the model, or a sink that takes nothing.
    """
    run = _Run(distinct_names([plain_name(path.stem) for path in paths]), sink)
    made_by = run_digest(looks)
    for index, path in enumerate(paths):
        key = picture_digest(made_by, path, run.names[index])
        if sink.has_finished(key):
            yield AlreadyDone(path)
            continue
        try:
            picture = _read(path, run.names[index], index, looks[0])
        except ImageError as error:
            sink.skip(str(path), str(error))
            yield Skipped(path, str(error))
            continue
        parts = [_Part(progress, index, number, len(looks)) for number in range(len(looks))]
        found = [look.at(picture, part.done) for look, part in zip(looks, parts, strict=True)]
        # What a look refuses, it refuses before it names its groups: nothing is written until then.
        for one in found:
            yield from run.taken(one, until_claimed=True)
        for one in found:
            yield from run.taken(one)
        sink.finish(key)
        yield PictureDone(path)


@dataclass
class _Run:
    """Hands what looks find to the sink: each group claimed first, each note told once."""

    names: list[str]
    sink: Sink
    claimed: set[str] = field(default_factory=set)
    told: set[Note | Path] = field(default_factory=set)

    def taken(self, found: Iterator[JobResult], until_claimed: bool = False) -> Iterator[Event]:
        for one in found:
            if isinstance(one, OutputGroups):
                self._claim(one)
                if until_claimed:
                    return
            elif isinstance(one, Entry):
                yield Written(Path(one.name), self.sink.add(one))
            else:
                # What the model sees in a picture is told once, however many looks ask it.
                said = one if isinstance(one, Note) else one.path
                if said not in self.told:
                    self.told.add(said)
                    yield one

    def _claim(self, groups: OutputGroups) -> None:
        prefixes = [f"{group}/" if group else "" for group in groups.names]
        paths = [f"{prefix}{name}" for prefix in prefixes for name in self.names]
        self.sink.claim([path for path in (*paths, *groups.paths) if path not in self.claimed])
        self.claimed.update(paths, groups.paths)


@dataclass(frozen=True)
class _Part:
    """One of several looks at one of several pictures."""

    progress: Progress
    picture: int
    look: int
    looks: int

    def done(self, share: float) -> None:
        self.progress(self.picture + (self.look + share) / self.looks)


def _read(path: Path, name: str, index: int, look: PictureJob) -> InputPicture:
    prepared = look.loaded.preprocess(read_image(path))
    inputs = prepared.tensor[None].to(device_of(look.loaded))
    return InputPicture(path, name, index, prepared, inputs)
