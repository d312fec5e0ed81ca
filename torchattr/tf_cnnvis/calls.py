"""The three calls and their result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from torchattr.core.inputs import as_tensors
from torchattr.core.select import find_layer
from torchattr.core.targets import plain
from torchattr.core.types import Forward, Layer, Layers
from torchattr.errors import InputError, TargetError
from torchattr.inspect import BackProjector, Rule, feature_maps, maximise, spatial_calls
from torchattr.models import LoadedModel
from torchattr.results import (
    ACTIVATIONS,
    DREAMS,
    PROJECTIONS,
    Entry,
    RunFolder,
    Sink,
    Tee,
    TensorBoard,
    array_of,
    dream_entry,
    file_name,
    groups_of,
    maps_entry,
    numbered_names,
    projection_entry,
)
from torchattr.tf_cnnvis.feeding import Feed


@dataclass(frozen=True, eq=False)
class Visualization:
    """The result of a call, and the files that it wrote.

    Attributes:
        arrays: the results by layer (by class, for deep dreams), images first.
        paths: all files in the output folder.
    """

    arrays: Mapping[str, np.ndarray]
    paths: tuple[Path, ...]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {one.shape}" for name, one in self.arrays.items())
        return f"Visualization({shapes}; {len(self.paths)} files)"


def activation_visualization(
    sess_graph_path: Forward | LoadedModel | str,
    value_feed_dict: Any,
    input_tensor: str | None = None,
    layers: Layers = "r",
    path_logdir: str | Path | None = "./Log",
    path_outdir: str | Path | None = "./Output",
) -> Visualization:
    """Record the feature maps of layers and write them as grids: :func:`torchattr.feature_maps`.

    They are *not* attributions: they do not depend on any class.

    Args:
        sess_graph_path: a model, or what :func:`torchattr.models.load_model` takes: `"demo"`,
            `"torchvision:resnet50"`, a path to an exported program, ...
        value_feed_dict: the images `(N, C, H, W)` as the model expects them, a tensor or array; or
            a dict of the forward's arguments by name.
        input_tensor: key of the images in the dict; required if it has several entries.
        layers: names, patterns, the codes `"r"`, `"p"`, `"c"`, or a list of these; see
            :func:`torchattr.feature_maps`. Codes and patterns skip layers without spatial
            dimensions.
        path_logdir: the folder for TensorBoard; `None` for none.
        path_outdir: the folder for pictures and arrays, one subfolder per layer; `None` for none.

    Returns:
        the maps `(N, channels, h, w)` by layer, and the files. Calls of a layer that runs several
        times are named `name#1`, `name#2`.

    Raises:
        LayerError: a layer that is unknown, did not run, or is named but not spatial.
        FolderError: a folder that cannot be written to.
        PackageError: TensorBoard is not installed.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> found = activation_visualization(
    ...     model, torch.rand(2, 3, 8, 8), path_logdir=None, path_outdir=None
    ... )
    >>> found.arrays["1"].shape
    (2, 4, 6, 6)
    """
    sink = _sink(path_logdir, path_outdir)
    fed = Feed.of(sess_graph_path, value_feed_dict, input_tensor)
    names = list(spatial_calls(fed.run, fed.images, layers))
    maps = feature_maps(fed.run, fed.images, layers)

    def entry(layer: str, example: int, **fields: Any) -> Entry:
        every = range(maps.as_maps(layer).shape[1])
        return maps_entry(maps, layer, example, every, **fields)

    paths = _kept(sink, _each(ACTIVATIONS, names, len(fed.images), entry))
    return Visualization({name: array_of(maps.as_maps(name)) for name in names}, paths)


def deconv_visualization(
    sess_graph_path: Forward | LoadedModel | str,
    value_feed_dict: Any,
    input_tensor: str | None = None,
    layers: Layers = "r",
    path_logdir: str | Path | None = "./Log",
    path_outdir: str | Path | None = "./Output",
    *,
    rule: Rule = "deconvolution",
    top: int | None = None,
) -> Visualization:
    """Project every feature map of layers back to the images: :func:`torchattr.back_project`.

    Each map is projected whole, as in tf_cnnvis. There the ReLU passes what is positive in the
    signal *and* was positive in the forward, which is guided backpropagation (`rule="guided"`); the
    default here is the deconvnet of Zeiler and Fergus 2014, arXiv:1311.2901. The pictures are *not*
    attributions of the prediction.

    Args:
        sess_graph_path: see :func:`activation_visualization`.
        value_feed_dict: see :func:`activation_visualization`.
        input_tensor: see :func:`activation_visualization`.
        layers: see :func:`activation_visualization`.
        path_logdir: see :func:`activation_visualization`.
        path_outdir: see :func:`activation_visualization`.
        rule: `"deconvolution"`, `"guided"` or `"gradient"`.
        top: number of strongest maps per image, strongest first; `None` for all.

    Returns:
        the pictures `(N, maps, C, H, W)` by layer, and the files.

    Raises:
        NoRuleMatched: the model runs nothing that the rule rewrites.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> found = deconv_visualization(
    ...     model, torch.rand(2, 3, 8, 8), path_logdir=None, path_outdir=None
    ... )
    >>> found.arrays["1"].shape
    (2, 4, 3, 8, 8)
    """
    if top is not None and top < 1:
        raise InputError(f"top must be at least 1 map, got {top}")
    sink = _sink(path_logdir, path_outdir)
    fed = Feed.of(sess_graph_path, value_feed_dict, input_tensor)
    shapes = spatial_calls(fed.run, fed.images, layers)
    results = {}
    for name, (count, *_) in shapes.items():
        channels = None if top is None else f"top{min(top, count)}"
        projector = BackProjector(fed.run, fed.images, name, (rule,), chunk=fed.chunk)
        results[name] = projector.project(channels, "map")

    def entry(layer: str, example: int, **fields: Any) -> Entry:
        return projection_entry(results[layer], example, crop=False, **fields)

    paths = _kept(sink, _each(PROJECTIONS, list(results), len(fed.images), entry))
    return Visualization(
        {name: array_of(as_tensors(result.pictures, name)[0]) for name, result in results.items()},
        paths,
    )


def deepdream_visualization(
    sess_graph_path: Forward | LoadedModel | str,
    value_feed_dict: Any,
    layer: Layer | None,
    classes: int | Sequence[int],
    input_tensor: str | None = None,
    path_logdir: str | Path | None = "./Log",
    path_outdir: str | Path | None = "./Output",
    **options: Any,
) -> Visualization:
    """Make an image that maximises each of several units: :func:`torchattr.maximise`.

    As in tf_cnnvis the images start from noise; only the shape of `value_feed_dict` is used. They
    are *not* typical of the model's inputs.

    Args:
        sess_graph_path: see :func:`activation_visualization`.
        value_feed_dict: see :func:`activation_visualization`.
        layer: the layer whose units are meant, by name or as a module: its channels, or its values
            if it has no spatial dimensions. `None` means the model's own output.
        classes: the units, one or several.
        input_tensor: see :func:`activation_visualization`.
        path_logdir: see :func:`activation_visualization`.
        path_outdir: see :func:`activation_visualization`.
        options: of :func:`torchattr.maximise`, such as `octaves`, `steps`, `tv`, `seed`.

    Returns:
        an image `(C, H, W)` by unit, keyed by its number as a string, and the files.

    Raises:
        TargetError: `classes` is empty, or holds something out of range.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> found = deepdream_visualization(
    ...     model, torch.rand(1, 3, 16, 16), "1", [0, 3], path_logdir=None, path_outdir=None,
    ...     steps=4,
    ... )
    >>> sorted(found.arrays), found.arrays["3"].shape
    (['0', '3'], (3, 16, 16))
    """
    classes = plain(classes)
    units = [classes] if isinstance(classes, int) else list(classes)
    if not units or not all(type(unit) is int for unit in units):
        raise TargetError(f"classes must be at least one integer, got {classes!r}")
    sink = _sink(path_logdir, path_outdir)
    fed = Feed.of(sess_graph_path, value_feed_dict, input_tensor)
    made = {
        str(unit): maximise(
            fed.run,
            unit if layer is None else (layer, unit),
            shape=fed.images.shape[1:],
            **options,
        )[0].detach()
        for unit in units
    }

    of = "class" if layer is None else _name(fed.run, layer)
    entries = [
        dream_entry(
            image, fed.picture(image), f"{of} {unit}", name=file_name(f"{of} {unit}"), index=index
        )
        for index, (unit, image) in enumerate(made.items())
    ]
    paths = _kept(sink, [replace(entry, group=DREAMS) for entry in entries])
    return Visualization({unit: array_of(image) for unit, image in made.items()}, paths)


def _sink(path_logdir: str | Path | None, path_outdir: str | Path | None) -> Sink:
    """Return the sinks of a call; folders that cannot be written raise at once."""
    sinks: list[Sink] = [] if path_outdir is None else [RunFolder(path_outdir)]
    if path_logdir is not None:
        sinks.append(TensorBoard(path_logdir))
    return Tee(*sinks)


def _each(
    kind: str, layers: Sequence[str], count: int, make: Callable[..., Entry]
) -> Iterator[Entry]:
    """Yield the entry of each layer and image."""
    for layer, group in groups_of(kind, layers).items():
        for example, name in enumerate(numbered_names(count)):
            yield make(layer, example, name=name, group=group, index=example)


def _kept(sink: Sink, entries: Iterable[Entry]) -> tuple[Path, ...]:
    """Write entries to a sink, once all their paths are claimed; return its files."""
    made = list(entries)
    with sink:
        sink.claim([entry.path for entry in made])
        files = [file for entry in made for file in sink.add(entry)]
        return (*files, *sink.close())


def _name(model: Forward, layer: Layer) -> str:
    return layer if isinstance(layer, str) else find_layer(model, layer)[0]
