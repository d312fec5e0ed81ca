"""`torchattr view`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchattr.cli import completion
from torchattr.cli.console import out, reported
from torchattr.cli.options import Device, Model, Scores, Trust, Weights, meaning_of
from torchattr.cli.run import ModelSpec
from torchattr.core.paths import expanded
from torchattr.errors import ImageError, InputError, ModelError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from torchattr.web import Address

NEEDED = ("fastapi", "uvicorn", "python_multipart")
LOOPBACK = "127.0.0.1"


def view(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]...",
            help="Images to choose from: files, folders, patterns or bundled ones, such as cat;"
            " default: bundled ones that the model knows. More can be dropped onto the page. Or a"
            " store of maps that `torchattr run` wrote, to page through",
        ),
    ] = None,
    model: Model = "demo",
    weights: Weights = None,
    trust: Trust = False,
    scores: Scores = None,
    device: Device = "auto",
    other: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Another model to compare it with, as in --model, or MODEL=WEIGHTS; repeatable",
        ),
    ] = None,
    load: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="Run this file first, for the methods and panels that it registers; repeatable;"
            " local addresses only",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; non-local addresses need a token")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one")] = 8765,
    token: Annotated[str | None, typer.Option(help="Access token (generated if needed)")] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser")] = True,
) -> None:
    """Explore a model in the browser, or a store of maps.

    Scores, attributions, feature maps and back-projections of a model; the maps of a data set.

    The page is served locally and loads nothing from the network. Ctrl-C stops it.
    """
    with reported():
        _check_installed()
        which = ModelSpec(model, weights, device, trust=trust, scores=meaning_of(scores))
        others = [_other(which, named) for named in other or ()]
        from torchattr.web import Address, listen, serve, token_for

        _check_load(load or (), host)
        secret = token_for(host, token)
        listening = listen(host, port)
        with listening:
            address = Address(host, listening.getsockname()[1], secret)
            app = _app(images or (), which, others, load or (), address)
            with suppress(KeyboardInterrupt):
                serve(app, listening, lambda: _announce(address, open_))
            out.print("stopped")


def _other(which: ModelSpec, named: str) -> ModelSpec:
    model, weights = _model_and_weights(named)
    return replace(which, model=model, weights=weights or None)


def _model_and_weights(named: str) -> tuple[str, str]:
    """Split `MODEL=WEIGHTS`, where paths may hold further `=`, by the files that there are.

    >>> _model_and_weights("torchvision:resnet18=random"), _model_and_weights("lr=0.1/net.py:make")
    (('torchvision:resnet18', 'random'), ('lr=0.1/net.py:make', ''))
    """
    places = [place for place, letter in enumerate(named) if letter == "="]
    splits = [(named, ""), *((named[:place], named[place + 1 :]) for place in places)]
    by_model = (one for one in splits if (file := _file_of_model(one[0])) and _is_file(file))
    by_weights = (one for one in splits if one[1] and _is_file(one[1]))
    # Of a file that does not exist, the message is to name all.
    other = splits[0] if _file_of_model(named) else splits[:2][-1]
    return next(by_model, None) or next(by_weights, None) or other


def _file_of_model(model: str) -> str | None:
    """Return the file that a model is in, if it is in one of a user's."""
    if model.endswith(".pt2"):
        return model
    file, _, function = model.rpartition(":")
    return file if file.endswith(".py") and function.isidentifier() else None


def _is_file(path: str) -> bool:
    return expanded(path, InputError).is_file()


def _app(
    images: Sequence[str],
    which: ModelSpec,
    others: Sequence[ModelSpec],
    load: Sequence[Path],
    address: Address,
) -> FastAPI:
    """Return the viewer of a store of maps, if that is what is named, else that of a model."""
    from torchattr.bulk import is_maps, open_maps
    from torchattr.web import create_app, create_maps_app

    _check_folders(images)
    if len(images) == 1 and is_maps(images[0]):
        maps = open_maps(images[0])
        return create_maps_app(maps, token=address.token, hosts=address.hosts)
    _run(load)
    paths = _paths(images)
    loaded, *more = (one.load() for one in (which, *others))
    token, hosts = address.token, address.hosts
    return create_app(loaded, images=paths, others=more, token=token, hosts=hosts)


def _check_folders(images: Sequence[str]) -> None:
    """Check that folders hold what can be viewed.

    Raises:
        InputError: a store of maps among other things.
        ImageError: a folder with neither a store of maps nor pictures.
    """
    from torchattr.bulk import is_maps
    from torchattr.models import find_images

    for image in images:
        folder = expanded(image, InputError)
        if is_maps(folder):
            if len(images) > 1:
                raise InputError(
                    f"{folder} is a store of maps, which is viewed alone; name it only"
                )
        elif folder.is_dir():
            try:
                find_images(folder)
            except ImageError as error:
                what = "a folder" if any(folder.iterdir()) else "an empty folder"
                raise ImageError(
                    f"{folder} is {what}: no store of maps, which `torchattr run` writes, and no"
                    f" picture directly in it; name a store, pictures, or the pattern"
                    f" {folder / '**' / '*.jpg'} for those in subfolders"
                ) from error


def _check_installed() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"the viewer needs {', '.join(missing)}, which are not installed; install them with:"
            " pip install 'torchattr[web]'"
        )


def _check_load(files: Sequence[Path], host: str) -> None:
    from torchattr.web import is_local

    if files and not is_local(host):
        raise InputError(
            f"--load runs the code of a file, which is allowed for local addresses only, got --host"
            f" {host}; install it as a package with an entry point instead"
        )


def _run(files: Sequence[Path]) -> None:
    from torchattr.models import run_file
    from torchattr.web import registered_panels

    # The built-in panels are registered first, so that a duplicate name is an error of the file.
    registered_panels()
    for file in files:
        run_file(file)


def _paths(images: Sequence[str]) -> list[Path] | None:
    from torchattr.models import find_images

    return find_images(images) if images else None


def _announce(address: Address, in_browser: bool) -> None:
    out.print(f"torchattr is running at {address.url} (Ctrl-C stops it)", soft_wrap=True)
    if in_browser:
        typer.launch(address.url)
