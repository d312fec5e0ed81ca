"""`torchattr explain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli.charts import predictions, progress_bar
from torchattr.cli.options import Device, Model, Weights, device_named
from torchattr.cli.talk import fault, note, out, reported

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import Settings

SKIPPED = 1
"""The exit code when a picture could not be read."""


def explain(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]...",
            help="Pictures: files, folders or patterns; none for those that come along",
        ),
    ] = None,
    model: Model = "demo",
    weights: Weights = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A method (see torchattr methods); repeatable")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="A class by index or name, top3, or present; repeatable"),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="The layer of class activation maps (see torchattr layers); repeatable"),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="A further rule for guided methods, such as gelu=guided; repeatable"),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The entry of the model's output that holds the scores")
    ] = None,
    device: Device = "auto",
    backend: Annotated[
        str, typer.Option(help="Where the hot operations run (see torchattr info)")
    ] = "auto",
    out: Annotated[str, typer.Option(help="The folder for the results")] = "torchattr-out",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace files that no former run wrote")
    ] = False,
) -> None:
    """Explain pictures: what in them speaks for each class?

    Writes for each picture a panel (PNG), the raw maps (NPZ) and its entry in manifest.json. A
    second run replaces its own files and no others.
    """
    with reported():
        from torchattr.runs import RunFolder, Settings

        settings = Settings(
            tuple(method or ()),
            tuple(target or ()),
            tuple(layer or ()),
            _rules(rule or ()),
            _entry(output),
            backend,
            weights,
            overwrite,
        )
        RunFolder(out, overwrite)
        paths = _paths(images or ())
        loaded = _load(model, weights, device, settings)
        raise typer.Exit(_run(loaded, paths, out, settings))


def _paths(images: Sequence[str]) -> list[Path]:
    from torchattr.models import find_images

    if images:
        return find_images(images)
    from torchattr.models.collage import examples

    return [example.path for example in examples()]


def _load(model: str, weights: str | None, device: str, settings: Settings) -> LoadedModel:
    """Load the model last: all that is quick to check has been checked by then."""
    from torchattr.kernels import backend
    from torchattr.methods import find_method
    from torchattr.models import load_model

    for name in settings.names:
        find_method(name)
    with backend(settings.backend):
        return load_model(model, weights, device_named(device))


def _run(loaded: LoadedModel, paths: list[Path], folder: str, settings: Settings) -> int:
    """Explain, say what happens, and give the exit code."""
    from torchattr.runs import Explained, Skipped, explain_pictures

    done, skipped = 0, 0
    with progress_bar(len(paths)) as bar:
        try:
            for event in explain_pictures(loaded, paths, folder, settings):
                _tell(event, loaded)
                done += isinstance(event, Explained)
                skipped += isinstance(event, Skipped)
                bar.update(done + skipped)
        except KeyboardInterrupt:
            bar.stop()
            note(f"{done} of {len(paths)} pictures are done and stay in {folder}")
            raise
    if done:
        _say_where(folder, done)
    return SKIPPED if skipped else 0


def _tell(event: Any, loaded: LoadedModel) -> None:
    from torchattr.runs import Explained, Note, Predicted

    if isinstance(event, Predicted):
        out.print(predictions(event.path.name, event.answer, event.targets, loaded))
    elif isinstance(event, Explained):
        for file in event.files:
            out.print(f"  {file}", style="dim", soft_wrap=True)
    elif isinstance(event, Note):
        note(event.text)
    else:
        fault(event.reason, word="skipped")


def _say_where(folder: str, done: int) -> None:
    pictures = "1 picture" if done == 1 else f"{done} pictures"
    out.print(
        f"{pictures} explained in {folder}: panels (.png), raw maps (.npz), manifest.json",
        soft_wrap=True,
    )


def _rules(texts: Sequence[str]) -> dict[str, str]:
    from torchattr.errors import RuleError

    rules = {}
    for text in texts:
        operation, equals, rule = text.partition("=")
        if not (operation and equals and rule):
            raise RuleError(
                f"--rule must be OPERATION=RULE, such as gelu=guided, got {text!r};"
                " torchattr info lists them"
            )
        rules[operation.strip()] = rule.strip()
    return rules


def _entry(output: str | None) -> str | int | None:
    return int(output) if output is not None and output.isdecimal() else output
