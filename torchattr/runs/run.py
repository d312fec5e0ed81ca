"""Run jobs on pictures, one after another; results are written as soon as they are done."""

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
    Account,
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
    """An entry is written, to these files."""

    path: Path
    files: list[Path]


@dataclass(frozen=True)
class PictureDone:
    """All jobs of a picture are done."""

    path: Path


@dataclass(frozen=True)
class AlreadyDone:
    """An earlier run finished a picture with the same model and settings; its files still exist."""

    path: Path


@dataclass(frozen=True)
class Skipped:
    """A picture could not be read."""

    path: Path
    reason: str


Event: TypeAlias = "Note | Prediction | Account | Written | PictureDone | AlreadyDone | Skipped"
Progress = Callable[[float], None]


def run_jobs(
    paths: Sequence[Path],
    jobs: Sequence[PictureJob],
    sink: Sink,
    progress: Progress = lambda pictures: None,
) -> Iterator[Event]:
    """Run jobs on pictures, pass their entries to a sink, and yield what happens.

    A picture that cannot be read is skipped. One that is already in the sink, made with the same
    model and settings, is kept. If the iteration ends early, finished entries stay.

    Args:
        paths: the pictures.
        jobs: the jobs for each picture, in this order.
        sink: takes the entries; it is left open.
        progress: called with the number of pictures done, including fractions.

    Raises:
        TorchattrError: a setting that does not fit the model, or a sink that cannot be written.
    """
    run = _Run(distinct_names([plain_name(path.stem) for path in paths]), sink)
    made_by = run_digest(jobs)
    for index, path in enumerate(paths):
        key = picture_digest(made_by, path, run.names[index])
        if sink.has_finished(key):
            yield AlreadyDone(path)
            continue
        try:
            picture = _read(path, run.names[index], index, jobs[0])
        except ImageError as error:
            sink.skip(str(path), str(error))
            yield Skipped(path, str(error))
            continue
        shares = [_JobShare(progress, index, number, len(jobs)) for number in range(len(jobs))]
        results = [job.at(picture, share.done) for job, share in zip(jobs, shares, strict=True)]
        # A job raises its errors before it names its groups: nothing is written until then.
        for of_job in results:
            yield from run.taken(of_job, until_claimed=True)
        for of_job in results:
            yield from run.taken(of_job)
        sink.finish(key)
        yield PictureDone(path)


@dataclass
class _Run:
    """Passes results of jobs to the sink: groups are claimed first, notes are reported once."""

    names: list[str]
    sink: Sink
    claimed: set[str] = field(default_factory=set)
    reported: set[Note | Path] = field(default_factory=set)

    def taken(self, results: Iterator[JobResult], until_claimed: bool = False) -> Iterator[Event]:
        for result in results:
            if isinstance(result, OutputGroups):
                self._claim(result)
                if until_claimed:
                    return
            elif isinstance(result, Entry):
                yield Written(Path(result.name), self.sink.add(result))
            elif isinstance(result, Account):
                yield result
            else:
                # The prediction of a picture is reported once, even if several jobs yield it.
                key = result if isinstance(result, Note) else result.path
                if key not in self.reported:
                    self.reported.add(key)
                    yield result

    def _claim(self, groups: OutputGroups) -> None:
        prefixes = [f"{group}/" if group else "" for group in groups.names]
        paths = [f"{prefix}{name}" for prefix in prefixes for name in self.names]
        self.sink.claim([path for path in (*paths, *groups.paths) if path not in self.claimed])
        self.claimed.update(paths, groups.paths)


@dataclass(frozen=True)
class _JobShare:
    """One job on one picture, as a share of the progress of the run."""

    progress: Progress
    picture: int
    job: int
    jobs: int

    def done(self, share: float) -> None:
        self.progress(self.picture + (self.job + share) / self.jobs)


def _read(path: Path, name: str, index: int, job: PictureJob) -> InputPicture:
    prepared = job.loaded.preprocess(read_image(path))
    inputs = prepared.tensor[None].to(device_of(job.loaded))
    return InputPicture(path, name, index, prepared, inputs)
