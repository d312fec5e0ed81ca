"""Jobs that synthesise images: deep dreams of pictures, and maximised activations from noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchattr.errors import Hint, ModelError, TargetError, TorchattrError, WayOut
from torchattr.inspect import Step, deepdream, maximise, octave_sizes
from torchattr.models import LoadedModel, reason
from torchattr.results import DREAMS, Display, Entry, Sight, dream_entry, file_name, model_title
from torchattr.runs.class_selector import Index, parse_targets
from torchattr.runs.failing_model import RAISED, fault_on
from torchattr.runs.job import (
    InputPicture,
    JobProgress,
    JobResult,
    OutputGroups,
    PictureJob,
    made_by,
    settings_of,
)
from torchattr.runs.model_overview import example_input
from torchattr.runs.score_reader import ScoreReader
from torchattr.show import LIGHT, FigureHead, Look

STEPS, OCTAVES = 12, 4
"""The defaults of :func:`torchattr.deepdream`."""
NOISE_STEPS, NOISE_OCTAVES = 128, 1
"""The defaults of :func:`torchattr.maximise`."""
OCTAVE_SCALE = 1.4
"""The default of both."""


@dataclass(frozen=True, eq=False)
class DreamJob(PictureJob):
    """Deep dreams of each picture.

    layer, channel: what is amplified; without a channel, all of them.
    options: see :func:`torchattr.deepdream`.
    """

    layer: str
    channel: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        of = objective_name(self.loaded, None, self.layer, self.channel)
        group = f"{DREAMS}/{file_name(of)}"
        yield OutputGroups((group,))
        display = Display.of(self.loaded.transform)
        total = self.options.get("steps", STEPS) * self.options.get("octaves", OCTAVES)

        def dream() -> Tensor:
            return deepdream(
                self.loaded.model,
                picture.inputs,
                self.layer,
                self.channel,
                bounds=display.bounds,
                callback=_counted(progress, total),
                **self.options,
            )

        sizes = _sizes(picture.inputs.shape[2:], self.options, OCTAVES)
        with _of_one_size(self.loaded, picture.inputs, sizes):
            made = dream()[0]
        yield dream_entry(
            made,
            display.picture(made),
            of,
            [_steps(self.options, STEPS, OCTAVES)],
            self.sight(picture),
            name=picture.name,
            group=group,
            index=picture.index,
            record=self.record(picture),
        )


@dataclass(frozen=True, eq=False)
class NoiseDream:
    """Images synthesised from noise for one class, channel or layer.

    loaded: the model.
    target, layer, channel: a class, or a layer, or one channel of it.
    size: height and width in pixels; `None` uses the input size of the model.
    options: see :func:`torchattr.maximise`.
    output: the entry of the model's output that holds the scores.
    weights: where the model's weights came from.
    look: how the image is drawn.
    """

    loaded: LoadedModel
    target: int | None = None
    layer: str | None = None
    channel: int | None = None
    size: tuple[int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    output: str | int | None = None
    weights: str | None = None
    look: Look = LIGHT

    @property
    def path(self) -> str:
        return f"{DREAMS}/{self._name}"

    @property
    def _name(self) -> str:
        return file_name(objective_name(self.loaded, self.target, self.layer, self.channel))

    def entry(self, progress: JobProgress) -> Entry:
        """Make the image."""
        example = example_input(self.loaded)
        size = self.size or tuple(example.shape[2:])
        display = Display.of(self.loaded.transform)
        octaves = self.options.get("octaves", NOISE_OCTAVES)
        total = self.options.get("steps", NOISE_STEPS) * octaves

        def dream() -> Tensor:
            return maximise(
                self.loaded.model,
                self._objective,
                shape=(example.shape[1], *size),
                bounds=display.bounds,
                output=ScoreReader(self.loaded, self.output).scores,
                callback=_counted(progress, total),
                **self.options,
            )

        with _of_one_size(self.loaded, example, _sizes(size, self.options, NOISE_OCTAVES)):
            made = dream()[0]
        return dream_entry(
            made,
            display.picture(made),
            objective_name(self.loaded, self.target, self.layer, self.channel),
            ["from noise", _steps(self.options, NOISE_STEPS, NOISE_OCTAVES)],
            Sight(FigureHead(model_title(self.loaded.name, self.weights)), self.look),
            name=self._name,
            group=DREAMS,
            record={**made_by(self.loaded), "settings": settings_of(self)},
        )

    @property
    def _objective(self) -> Any:
        if self.layer is None:
            return self.target
        return self.layer if self.channel is None else (self.layer, self.channel)


def class_index(loaded: LoadedModel, text: str) -> int:
    """Return the index of one class, given by its index or name.

    Raises:
        TargetError: an unknown class, or several, or an index that no class has.
    """
    (wanted,) = parse_targets([text], loaded.class_names, "a name or an index")
    if not isinstance(wanted, Index):
        raise TargetError(
            f"target {text!r} does not select a single class; give an index or a name"
        )
    names = loaded.class_names or ()
    if wanted.index < 0 or (names and wanted.index >= len(names)):
        wanted.classes_of(len(names))
    return wanted.index


def objective_name(
    loaded: LoadedModel, target: int | None, layer: str | None, channel: int | None
) -> str:
    """Return the display name of what an image maximises."""
    if layer is None:
        return loaded.class_name(target or 0)
    return layer if channel is None else f"{layer} channel {channel}"


def _steps(options: Mapping[str, Any], steps: int, octaves: int) -> str:
    """Return how an image is made, for a figure."""
    steps, octaves = options.get("steps", steps), options.get("octaves", octaves)
    each = "step" if steps == 1 else "steps"
    return f"{steps} {each}" + (f" in each of {octaves} octaves" if octaves > 1 else "")


def _counted(progress: JobProgress, total: int) -> Callable[[Step], None]:
    done = 0

    def count(step: Step) -> None:
        nonlocal done
        done += 1
        progress(done / total)

    return count


def _sizes(size: Sequence[int], options: Mapping[str, Any], octaves: int) -> list[tuple[int, ...]]:
    """Return the sizes at which the model sees an image of this size."""
    scale = options.get("octave_scale", OCTAVE_SCALE)
    return octave_sizes(size, options.get("octaves", octaves), scale)


@contextmanager
def _of_one_size(
    loaded: LoadedModel, example: Tensor, sizes: Sequence[tuple[int, ...]]
) -> Iterator[None]:
    """Raise ``ModelError`` if making an image fails because the model takes only its own size.

    The model is then run alone: what it raises on its own size as well, or on none of the others,
    is not for the size, and passes.

    example: an input of the model's own size, `(1, C, H, W)`.
    sizes: of the images that the model is given.
    """
    try:
        yield
    except RAISED as error:
        if isinstance(error, TorchattrError):
            raise
        fault = _fault_of_size(loaded, example, sizes)
        if fault is None:
            raise
        raise ModelError(
            "several octaves, or another size, need a model that accepts images of any size, which"
            f" this one does not ({reason(fault)})",
            hint=Hint(ways_out=[WayOut("omit the size and pass {setting}", "octaves", 1)]),
        ) from error


def _fault_of_size(
    loaded: LoadedModel, example: Tensor, sizes: Sequence[tuple[int, ...]]
) -> Exception | None:
    """Return what a model raises on another size than its own, on which it runs; else `None`."""
    others = [size for size in sizes if size != tuple(example.shape[2:])]
    if not others or fault_on(loaded, example) is not None:
        return None
    given = (example.new_zeros(*example.shape[:2], *size) for size in others)
    return next((fault for one in given if (fault := fault_on(loaded, one)) is not None), None)
