"""Entries of inspections: feature maps, back-projections, layer grids, kernels and dreams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from torchattr.inspect import BackProjection, FeatureMaps, Kernels, LayerMaps, draw_signal
from torchattr.results.entries import array_of
from torchattr.results.names import distinct_names, file_name
from torchattr.results.sink import Entry
from torchattr.show import colormap, rescale

ACTIVATIONS, PROJECTIONS = "activations", "back-projections"
KERNELS, LAYERS, DREAMS, SUMMARY = "kernels", "layers", "dreams", "summary"


def groups_of(kind: str, layers: Sequence[str]) -> dict[str, str]:
    """Return the group of each layer, which is also the folder of its files.

    >>> groups_of("activations", ["features.3", "relu#2"])
    {'features.3': 'activations/features.3', 'relu#2': 'activations/relu_2'}
    """
    folders = distinct_names([file_name(layer) for layer in layers])
    return {layer: f"{kind}/{folder}" for layer, folder in zip(layers, folders, strict=True)}


def maps_entry(
    maps: FeatureMaps,
    layer: str,
    example: int,
    channels: Sequence[int] | None,
    **entry: Any,
) -> Entry:
    """Return the entry of the feature maps of one example.

    channels: which maps; `None` for all.
    entry: the other fields of the entry.
    """
    values = maps.as_maps(layer)[example]
    chosen = list(range(len(values))) if channels is None else list(channels)
    kept = array_of(values[chosen])
    return Entry(
        picture=maps.picture(layer, image=example, channels=chosen),
        arrays={"maps": kept, "channels": np.array(chosen)},
        title=f"Feature maps of {layer}",
        singles=lambda: _heats(kept, chosen),
        **_with(entry, layer=layer, shape=list(values.shape), channels=chosen),
    )


def projection_entry(result: BackProjection, example: int, crop: bool, **entry: Any) -> Entry:
    """Return the entry of the back-projections `(K, C, H, W)` of one example."""
    if isinstance(result.pictures, tuple):
        pictures = result.pictures[0][example]
    else:
        pictures = result.pictures[example]
    channels = result.channels[example].tolist()
    arrays = {
        "pictures": array_of(pictures),
        "channels": np.array(channels),
        "activations": array_of(result.activations[example]),
    }
    if result.positions is not None:
        arrays["positions"] = array_of(result.positions[example])
    start = result.start if isinstance(result.start, str) else list(result.start)
    return Entry(
        picture=result.picture(example, crop=crop),
        arrays=arrays,
        title=f"Back-projections of {result.layer}",
        singles=lambda: _signals(pictures, channels),
        **_with(entry, layer=result.layer, channels=channels, start=start, rule=result.rule),
    )


def layers_entry(maps: LayerMaps, example: int, image: Any, target: str, **entry: Any) -> Entry:
    """Return the entry of the maps of all layers for one example."""
    return Entry(
        picture=maps.picture(example, image=image),
        arrays={name: array_of(values[example]) for name, values in maps.items()},
        title=f"{_METHODS[maps.method]} layer by layer: {target}",
        **_with(entry, layers=list(maps), method=maps.method, target=target),
    )


def kernels_entry(kernels: Kernels, drawn: Mapping[str, Any], **entry: Any) -> Entry:
    """Return the entry of the kernels of a layer. drawn: see :meth:`Kernels.picture`."""
    shape = list(kernels.values.shape)
    return Entry(
        picture=kernels.picture(**drawn),
        arrays={
            "kernels": array_of(kernels.values),
            "output_channels": np.array(kernels.output_channels),
            "input_channels": np.array(kernels.input_channels),
        },
        title=f"Kernels of {kernels.layer}",
        group=KERNELS,
        **_with(entry, layer=kernels.layer, shape=shape),
    )


def dream_entry(image: Tensor, picture: Image.Image, of: str, **entry: Any) -> Entry:
    """Return the entry of one synthesised image `(C, H, W)`."""
    return Entry(
        picture=picture,
        arrays={"image": array_of(image)},
        title=f"What excites {of}",
        **_with(entry, objective=of),
    )


_METHODS = {"grad_cam": "Grad-CAM", "guided_grad_cam": "Guided Grad-CAM"}


def _with(entry: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    return {**entry, "record": {**facts, **entry.get("record", {})}}


def _heats(maps: np.ndarray, channels: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
    if maps.ndim != 3:
        return
    for channel, one in zip(channels, maps, strict=True):
        signed = bool((one < 0).any())
        scaled = rescale(one, "all" if signed else "positive")
        yield f"{channel:04}", colormap(scaled, "RdBu_r" if signed else "viridis")


def _signals(pictures: Tensor, channels: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
    for channel, one in zip(channels, pictures, strict=True):
        yield f"{channel:04}", draw_signal(one)
