"""What the commands that look at pictures share: which model, where to, and the run itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchattr.cli.charts import Bar, predictions, progress_bar
from torchattr.cli.console import fault, note, out
from torchattr.cli.options import device_named, in_command
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.models import LoadedModel, Meaning
    from torchattr.results import Sink, Tee
    from torchattr.runs import PictureJob

SKIPPED = 1
"""The exit code when a picture could not be read."""


@dataclass(frozen=True)
class ModelSpec:
    """The model that was asked for, and where it runs."""

    model: str
    weights: str | None
    device: str
    backend: str = "auto"
    trust: bool = False
    scores: Meaning | None = None

    def load(self) -> LoadedModel:
        """Load the model; what is quick to check is better checked before."""
        from torchattr.kernels import backend
        from torchattr.models import is_user_file, load_model

        # A user's file may register the backend, which is then checked after it has run.
        with backend("auto" if is_user_file(self.model) else self.backend):
            device = device_named(self.device)
            loaded = load_model(self.model, self.weights, device, trust=self.trust)
        return loaded.meaning(self.scores)


@dataclass(frozen=True)
class Destinations:
    """The places that results go to."""

    out: str | None
    overwrite: bool = False
    logdir: str | None = None
    html: str | None = None
    title: str = "What the model looks at"

    def sink(self) -> Tee:
        """Make what takes the results; refuses at once what cannot be written."""
        from torchattr.results import Report, RunFolder, Tee, TensorBoard

        sinks: list[Sink] = []
        if self.out is not None:
            sinks.append(RunFolder(self.out, self.overwrite))
        if self.logdir is not None:
            sinks.append(TensorBoard(self.logdir))
        if self.html is not None:
            sinks.append(Report(self.html, self.overwrite, self.title))
        return Tee(*sinks)

    def __str__(self) -> str:
        return " and ".join(str(one) for one in (self.out, self.logdir, self.html) if one)

    def say(self, what: str, files: str = "pictures (.png), raw values (.npz)") -> None:
        """Say where results are, and as what."""
        if self.out is not None:
            _print(f"{what} in {self.out}: {files}, manifest.json")
        if self.logdir is not None:
            _print(f"{what} in TensorBoard: tensorboard --logdir {self.logdir}")
        if self.html is not None:
            _print(f"{what} on the page {self.html}")


def _print(text: str, style: str = "") -> None:
    out.print(printable(text), style=style, soft_wrap=True)


def paths_of(images: Sequence[str] | None) -> list[Path]:
    """Find the pictures; none stands for those that come with the package."""
    from torchattr.models import find_images
    from torchattr.models.collage import examples

    return find_images(images) if images else [example.path for example in examples()]


def look(
    images: Sequence[str] | None,
    which: ModelSpec,
    where: Destinations,
    looks: Callable[[LoadedModel], Sequence[PictureJob]],
    done: str = "looked at",
) -> int:
    """Look at pictures, say what happens, and give the exit code.

    Args:
        images: as they were asked for.
        which: the model.
        where: the places for the results.
        looks: makes what is to be made of each picture.
        done: what was done, as a participle.
    """
    from torchattr.kernels import backend

    sink = where.sink()
    paths = paths_of(images)
    loaded = which.load()
    with backend(which.backend), sink:
        counts = _watched(paths, looks(loaded), sink, where, loaded)
    if counts.finished:
        where.say(f"{_pictures(counts.finished)} {done}")
    if counts.kept:
        _print(
            f"{_pictures(counts.kept)} kept in {where}: done before with the same model and"
            " settings (--overwrite does them anew)"
        )
    return SKIPPED if counts.skipped else 0


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


@dataclass
class _Counts:
    finished: int = 0
    skipped: int = 0
    kept: int = 0

    @property
    def done(self) -> int:
        return self.finished + self.kept

    @property
    def seen(self) -> int:
        return self.done + self.skipped


def _watched(
    paths: Sequence[Path],
    looks: Sequence[PictureJob],
    sink: Tee,
    where: Destinations,
    loaded: LoadedModel,
) -> _Counts:
    from torchattr.errors import TorchattrError
    from torchattr.runs import Kept, Skipped, look_at_pictures

    counts = _Counts()
    with progress_bar(len(paths)) as bar:
        try:
            for event in look_at_pictures(paths, looks, sink, bar.update):
                counts.finished = sink.finished
                counts.skipped += isinstance(event, Skipped)
                counts.kept += isinstance(event, Kept)
                _tell(event, loaded, bar, counts)
        except (KeyboardInterrupt, TorchattrError) as reason:
            bar.stop()
            counts.finished = sink.finished
            if counts.done or isinstance(reason, KeyboardInterrupt):
                note(f"{counts.done} of {len(paths)} pictures are done and stay in {where}")
            raise
    return counts


def _tell(event: Any, loaded: LoadedModel, bar: Bar, counts: _Counts) -> None:
    from torchattr.runs import Note, Predicted, Skipped, Written

    if isinstance(event, Predicted):
        out.print(predictions(event.path.name, event.answer, event.targets, loaded))
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
    """Give the name of the last spatial layer, if there is one."""
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
    """Give the layers asked for, else the last spatial one, and say so.

    Raises:
        LayerError: none was named, and the model has none with places.
    """
    from torchattr.errors import LayerError

    if layers:
        return tuple(layers)
    name = last_layer(loaded)
    if name is None:
        raise LayerError(
            "no layer of this model has an output with places, so none can be taken by itself;"
            " name one with --layer"
        )
    note(f"layer {name}: the last spatial one, since none was named (--layer)")
    return (name,)
