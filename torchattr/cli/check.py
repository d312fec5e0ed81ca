"""`torchattr check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import options
from torchattr.cli.charts import show_json, show_table
from torchattr.cli.console import err, fault, note, reported
from torchattr.cli.console import out as stdout
from torchattr.cli.loading import Load
from torchattr.cli.options import in_command
from torchattr.cli.run import SKIPPED, Destinations, ModelSpec
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from torchattr.evaluate import Check
    from torchattr.models import LoadedModel
    from torchattr.results import Entry
    from torchattr.runs import ExplainSettings

_SCENES_SEED = 16

SCENES = 16
"""Composed scenes of a model that knows their classes."""

_TABLE = "check"
"""The name of the table among the results, and the folder of the figures."""


Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE]...",
        help="Images: files, folders or patterns; ten and more give intervals that can be trusted;"
        " default: bundled photographs, for the demo composed scenes",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="Class index or name; default the predicted class of each image", metavar="CLASS"
    ),
]
Layer = Annotated[
    str | None, typer.Option(help="Layer of class activation maps (see torchattr layers)")
]
Steps = Annotated[
    int, typer.Option(min=1, help="Number of steps in which the layers are randomised")
]
Scenes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Check on this number of composed scenes instead of images",
        show_default=f"{SCENES} for the demo where no image is named",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random")]


def check(
    images: Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    method: options.Methods = None,
    target: Target = None,
    layer: Layer = None,
    steps: Steps = 8,
    scenes: Scenes = None,
    seed: Seed = 0,
    rule: options.Rules = None,
    option: options.MethodOptions = None,
    output: options.Output = None,
    scores: options.Scores = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    out: options.Out = options.OUT,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
    json: options.Json = False,
    load: Load = None,
) -> None:
    """Check whether the maps of methods can be believed.

    Does a map change with the class, and when layers are randomised? Is it like an edge detector's,
    stable under noise, better at deletion than random squares, the edges, or the centre? Prints a
    table with a verdict for each question and a sentence for each finding, and writes a figure of
    each method.
    """
    with reported():
        which = ModelSpec(model, weights, device, backend, trust, options.meaning_of(scores))
        where = Destinations(out, overwrite, logdir, html, f"torchattr check: {model}")
        from torchattr.evaluate import CHECKED
        from torchattr.kernels import backend as running_on
        from torchattr.runs import ExplainSettings

        asked = ExplainSettings(
            tuple(dict.fromkeys(method or CHECKED)),
            layers=() if layer is None else (layer,),
            rules=options.rules_of(rule or ()),
            output=options.entry_of(output),
            options=tuple(option or ()),
        )
        sink = where.sink()
        loaded = which.load()
        pictures, skipped = _pictures(loaded, images, scenes)
        with running_on(backend), sink:
            sink.claim([_TABLE, *(f"{_TABLE}/{name}" for name in asked.names)])
            inputs = _batch(loaded, pictures)
            found = _checked(loaded, inputs, asked, target, steps=steps, seed=seed)
            _say(loaded, found, json)
            for entry in _entries(loaded, found):
                sink.add(entry)
        if not json:
            files = "figures (.png), values of each picture (.npz), sentences (.txt)"
            where.say("the figures", files)
        raise typer.Exit(SKIPPED if skipped else 0)


def _pictures(
    loaded: LoadedModel, images: Sequence[str] | None, scenes: int | None
) -> tuple[list[Image.Image], int]:
    """Return the pictures, and the number of those that could not be read.

    Without images, those are composed scenes for a model that knows their classes, and the model's
    examples for any other.

    Raises:
        InputError: images and scenes.
        ImageError: no image can be read.
    """
    from torchattr.errors import ImageError, InputError
    from torchattr.models import find_images, read_image
    from torchattr.models.collage import CLASSES

    if images and scenes is not None:
        raise InputError("--scenes composes pictures, so it does not go with images; name either")
    knows_scenes = tuple(loaded.class_names or ()) == tuple(CLASSES)
    if scenes is not None or (not images and knows_scenes):
        return _scenes(scenes or SCENES), 0
    if not images:
        note(f"no images named: checking on the bundled {', '.join(loaded.examples)}")

    def read(path: Path) -> Image.Image | None:
        try:
            return read_image(path)
        except ImageError as error:
            fault(str(error), word="skipped")
            return None

    paths = find_images(images or loaded.examples)
    pictures = [picture for path in paths if (picture := read(path)) is not None]
    if not pictures:
        raise ImageError("none of the images can be read, so there is nothing to check")
    return pictures, len(paths) - len(pictures)


def _scenes(count: int) -> list[Image.Image]:
    from PIL import Image

    from torchattr.models.collage.making.scenes import scenes

    note(f"checking on {count} scenes composed of the bundled objects")
    return [Image.fromarray(scene.image) for scene in scenes(count, _SCENES_SEED)]


def _batch(loaded: LoadedModel, pictures: Sequence[Image.Image]) -> Tensor:
    """Return preprocessed pictures as one batch on the model's device.

    Raises:
        ShapeError: the model's transform leaves them of different sizes.
    """
    import torch

    from torchattr.errors import ShapeError
    from torchattr.runs import device_of

    tensors = [loaded.preprocess(picture).tensor for picture in pictures]
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise ShapeError(
            f"the images must have one size after the model's transform, got {shapes[0]} and"
            f" {shapes[1]}; resize them, or let the transform do it"
        )
    return torch.stack(tensors).to(device_of(loaded))


def _checked(
    loaded: LoadedModel,
    inputs: Tensor,
    asked: ExplainSettings,
    target: str | None,
    **settings: Any,
) -> Check:
    from torchattr.evaluate import check as check_maps
    from torchattr.runs import ExplainPlan, class_index

    plan = ExplainPlan.of(loaded, asked)
    reader = plan.reader
    answer = reader.answer(inputs[:1])
    if answer.note:
        note(answer.note.said(in_command))
    activation = reader.activation(answer)
    return check_maps(
        loaded.model,
        inputs,
        plan.methods(inputs, reader.scores, activation),
        None if target is None else class_index(loaded, target),
        layer=plan.layer,
        rules=asked.rules or None,
        activation=activation,
        output=reader.scores,
        show_progress=err.is_terminal,
        **settings,
    )


def _say(loaded: LoadedModel, found: Check, as_json: bool) -> None:
    if as_json:
        from torchattr.runs import made_by

        show_json({**made_by(loaded), **found.as_dict()})
    else:
        show_table(found.columns, found.rows)
        stdout.print()
        for name in found:
            for sentence in found.sentences(name):
                stdout.print(printable(sentence), soft_wrap=True)
    for name, reason in found.refused.items():
        note(reason.after(f"{name} is left out: ").said(in_command))


def _entries(loaded: LoadedModel, found: Check) -> list[Entry]:
    """Return the figure of each method with its values and sentences, and the table of all."""
    from torchattr.results import Entry
    from torchattr.runs import made_by
    from torchattr.show import Drawing, rendered, title_of

    entries = [
        Entry(
            name,
            Drawing.of(rendered(found.plot(name).axes[0])),
            {key: of[name].cpu().numpy() for key, of in found.measures.items() if name in of},
            {**made_by(loaded), "check": [one.as_dict() for one in found[name].values()]},
            group=_TABLE,
            title=f"Check of {title_of(name)}",
            index=index,
            text="\n".join(found.sentences(name)),
        )
        for index, name in enumerate(found)
    ]
    whole = {**made_by(loaded), "check": found.as_dict()}
    table = Entry(_TABLE, None, {}, whole, title=f"Check of {loaded.name}", text=str(found))
    return [table, *entries]
