"""What the commands share: the model, the destinations, and the run over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchattr.cli.charts import Bar, account, predictions, progress_bar, show_json
from torchattr.cli.console import err, fault, note, out
from torchattr.cli.options import device_named, in_command
from torchattr.cli.records import Records
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.models import LoadedModel, Meaning
    from torchattr.results import Sink, Tee
    from torchattr.runs import PictureJob
    from torchattr.show import Format

SKIPPED = 1
"""The exit code when a picture could not be read."""


@dataclass(frozen=True)
class ModelSpec:
    """The requested model, its device and backend."""

    model: str
    weights: str | None
    device: str
    backend: str = "auto"
    trust: bool = False
    scores: Meaning | None = None

    def load(self) -> LoadedModel:
        """Load the model; call it after all quick checks."""
        from torchattr.kernels import backend
        from torchattr.models import is_user_file, load_model

        # A user's file may register the backend, so it is checked after that file has run.
        with backend("auto" if is_user_file(self.model) else self.backend):
            device = device_named(self.device)
            loaded = load_model(self.model, self.weights, device, trust=self.trust)
        return loaded.meaning(self.scores)


@dataclass(frozen=True)
class Destinations:
    """Where results are written."""

    out: str | None
    overwrite: bool = False
    logdir: str | None = None
    html: str | None = None
    title: str = "torchattr report"
    formats: Sequence[str] | None = None
    dpi: float | None = None
    theme: str | None = None

    def sink(self) -> Tee:
        """Make the sinks; destinations that cannot be written are refused at once."""
        from torchattr.errors import InputError
        from torchattr.results import Report, RunFolder, Tee, TensorBoard
        from torchattr.show import checked_format

        if self.out is None and (self.formats or self.dpi is not None):
            option = "--format" if self.formats else "--dpi"
            raise InputError(f"{option} is for files of pictures; name their folder with --out")
        sinks: list[Sink] = []
        if self.out is not None:
            formats: list[Format] = [checked_format(one) for one in self.formats or ("png",)]
            sinks.append(RunFolder(self.out, self.overwrite, formats, self.dpi))
        if self.logdir is not None:
            sinks.append(TensorBoard(self.logdir))
        if self.html is not None:
            sinks.append(Report(self.html, self.overwrite, self.title, self.theme))
        return Tee(*sinks)

    def __str__(self) -> str:
        return " and ".join(str(one) for one in (self.out, self.logdir, self.html) if one)

    def named(self) -> dict[str, str]:
        """Return those that were named, by their options."""
        named = {"out": self.out, "logdir": self.logdir, "html": self.html}
        return {option: place for option, place in named.items() if place is not None}

    def say(self, what: str, files: str = "") -> None:
        """Print where results were written, and as what."""
        suffixes = ", ".join(f".{form}" for form in self.formats or ("png",))
        files = files or f"pictures ({suffixes}), raw values (.npz)"
        if self.out is not None:
            _print(f"Wrote {what} to {self.out}: {files}, manifest.json")
        if self.logdir is not None:
            _print(f"Wrote {what} to a TensorBoard log: tensorboard --logdir {self.logdir}")
        if self.html is not None:
            _print(f"Wrote {what} to the page {self.html}")


def _print(text: str, style: str = "") -> None:
    out.print(printable(text), style=style, soft_wrap=True)


def run_on_images(
    images: Sequence[str] | None,
    which: ModelSpec,
    where: Destinations,
    jobs: Callable[[LoadedModel], Sequence[PictureJob]],
    *,
    as_json: bool = False,
) -> int:
    """Run jobs on images, report progress, and return the exit code.

    Args:
        images: files, folders, patterns or names of bundled pictures; `None` is the model's own.
        which: the model.
        where: the destinations of the results.
        jobs: makes the jobs for the loaded model.
        as_json: print what happened to each picture as JSON, at the end, instead of results.
    """
    from torchattr.kernels import backend
    from torchattr.models import find_images
    from torchattr.runs import example_input, failing_is_a_sentence, made_by

    sink = where.sink()
    # What is not found is refused before the model is loaded.
    named = find_images(images) if images else None
    loaded = which.load()
    paths = named or find_images(loaded.examples)
    with backend(which.backend), sink, failing_is_a_sentence(loaded, lambda: example_input(loaded)):
        records = Records(loaded) if as_json else None
        counts = _watched(paths, jobs(loaded), sink, where, loaded, records)
    if records is not None:
        show_json({**made_by(loaded), **where.named(), "images": records.pictures})
        return SKIPPED if counts.skipped else 0
    if counts.finished:
        files = "" if counts.drawn else "raw values (.npz)"
        where.say(f"results for {_pictures(counts.finished)}", files)
    if counts.kept:
        _print(
            f"Kept results for {_pictures(counts.kept)} in {where}: already done with the same"
            " model and settings (--overwrite redoes them)"
        )
    return SKIPPED if counts.skipped else 0


def _pictures(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


@dataclass
class _Counts:
    finished: int = 0
    skipped: int = 0
    kept: int = 0
    drawn: int = 0

    @property
    def done(self) -> int:
        return self.finished + self.kept

    @property
    def seen(self) -> int:
        return self.done + self.skipped


def _watched(
    paths: Sequence[Path],
    jobs: Sequence[PictureJob],
    sink: Tee,
    where: Destinations,
    loaded: LoadedModel,
    records: Records | None,
) -> _Counts:
    from torchattr.errors import TorchattrError
    from torchattr.runs import AlreadyDone, Skipped, Written, run_jobs
    from torchattr.show import FORMATS

    counts = _Counts()
    with progress_bar(len(paths), console=out if records is None else err) as bar:
        try:
            for event in run_jobs(paths, jobs, sink, bar.update):
                counts.finished = sink.finished
                counts.skipped += isinstance(event, Skipped)
                counts.kept += isinstance(event, AlreadyDone)
                if isinstance(event, Written):
                    counts.drawn += any(file.suffix[1:] in FORMATS for file in event.files)
                _report(event, loaded, bar, counts, records)
        except (KeyboardInterrupt, TorchattrError) as reason:
            bar.stop()
            counts.finished = sink.finished
            if counts.done or isinstance(reason, KeyboardInterrupt):
                note(f"Kept {counts.done} of {len(paths)} finished results in {where}")
            raise
    return counts


def _report(
    event: Any, loaded: LoadedModel, bar: Bar, counts: _Counts, records: Records | None
) -> None:
    from torchattr.runs import Account, Note, Prediction, Skipped, Written

    if records is not None:
        records.add(event)
        if isinstance(event, (Prediction, Account, Written)):
            return
    if isinstance(event, Prediction):
        out.print(predictions(event.path.name, event.answer, event.targets, loaded))
    elif isinstance(event, Account):
        out.print(account(event.title, event.ledger))
    elif isinstance(event, Written):
        for file in event.files:
            _print(f"  {file}", "dim")
    elif isinstance(event, Note):
        note(event.message.said(in_command))
    else:
        bar.update(counts.seen)
        if isinstance(event, Skipped):
            fault(event.reason, word="skipped")


def last_layer(loaded: LoadedModel, output: str | int | None = None) -> str | None:
    """Return the name of the last spatial layer, if there is one."""
    from torchattr.core.inputs import as_inputs
    from torchattr.errors import LayerError
    from torchattr.methods import last_spatial_layer
    from torchattr.runs import ScoreReader, example_input

    inputs = as_inputs(example_input(loaded))
    try:
        return last_spatial_layer(loaded.model, inputs, (), ScoreReader(loaded, output).scores)[0]
    except LayerError:
        return None


def layers_or_last(loaded: LoadedModel, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the requested layers, else the last spatial one with a note.

    Raises:
        LayerError: none was named, and the model has none with spatial dimensions.
    """
    from torchattr.errors import LayerError
    from torchattr.runs import default_layer_note

    if layers:
        return tuple(layers)
    name = last_layer(loaded)
    if name is None:
        raise LayerError(
            "no layer of this model has spatial dimensions, so none can be chosen automatically;"
            " name one with --layer"
        )
    note(default_layer_note(name).said(in_command))
    return (name,)
