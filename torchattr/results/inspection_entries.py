"""Entries of inspections: feature maps, back-projections, layer grids, kernels and dreams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.inspect import (
    TITLES,
    BackProjection,
    FeatureMaps,
    Kernels,
    LayerMaps,
    photo_tiles,
)
from torchattr.results.entries import array_of
from torchattr.results.names import distinct_names, file_name
from torchattr.results.sink import Entry
from torchattr.show import LIGHT, NO_HEAD, CaptionedGrid, FigureHead, Look

ACTIVATIONS, PROJECTIONS = "activations", "back-projections"
KERNELS, LAYERS, DREAMS, SUMMARY = "kernels", "layers", "dreams", "summary"

MOST_DRAWN = 64
"""Number of feature maps in the grid of a layer of which none were chosen: the strongest. Nobody
looks at a thousand of them, and the arrays hold all."""

DREAM = 448
"""Length of the shorter side of a synthesised image."""


def groups_of(kind: str, layers: Sequence[str]) -> dict[str, str]:
    """Return the group of each layer, which is also the folder of its files.

    >>> groups_of("activations", ["features.3", "relu#2"])
    {'features.3': 'activations/features.3', 'relu#2': 'activations/relu_2'}
    """
    folders = distinct_names([file_name(layer) for layer in layers])
    return {layer: f"{kind}/{folder}" for layer, folder in zip(layers, folders, strict=True)}


@dataclass(frozen=True)
class Sight:
    """How an inspection is shown: what heads its grid, and how that is drawn.

    display: turns an input `(C, H, W)` into a picture; see :meth:`BackProjection.draw`.
    """

    head: FigureHead = NO_HEAD
    look: Look = LIGHT
    display: Callable[[Tensor], Any] | None = None


PLAIN = Sight()


def maps_entry(
    maps: FeatureMaps,
    layer: str,
    example: int,
    channels: Sequence[int] | None = None,
    top: int | None = None,
    sight: Sight = PLAIN,
    **entry: Any,
) -> Entry:
    """Return the entry of the feature maps of one example.

    channels: which maps; `None` for all.
    top: number of the strongest maps instead.
    entry: the other fields of the entry.
    """
    values = maps.as_maps(layer)[example]
    chosen = list(range(len(values))) if channels is None else list(channels)
    if top is not None:
        chosen = maps.strongest(layer, top, image=example)
    elif channels is None and len(values) > MOST_DRAWN:
        top = MOST_DRAWN
    shown: dict[str, Any] = {"channels": chosen} if top is None else {"top": top}

    def singles() -> Iterator[tuple[str, Image.Image]]:
        for one in chosen:
            drawn = maps.draw(
                layer, image=example, channels=[one], head=sight.head, look=sight.look
            )
            yield f"{one:04}", drawn.image()

    return Entry(
        drawing=maps.draw(layer, image=example, head=sight.head, look=sight.look, **shown),
        arrays={"maps": array_of(values[chosen]), "channels": np.array(chosen)},
        title=f"Feature maps of {layer}",
        singles=singles,
        **_with(entry, layer=layer, shape=list(values.shape), channels=chosen),
    )


@checked_flags
def projection_entry(
    result: BackProjection, example: int, crop: bool, sight: Sight = PLAIN, **entry: Any
) -> Entry:
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
    shown: dict[str, Any] = {
        "display": sight.display,
        "head": sight.head,
        "look": sight.look,
        "crop": crop,
    }

    def singles() -> Iterator[tuple[str, Image.Image]]:
        for number, channel in enumerate(channels):
            yield f"{channel:04}", result.draw(example, only=[number], **shown).image()

    return Entry(
        drawing=result.draw(example, **shown),
        arrays=arrays,
        title=f"Back-projections of {result.layer}",
        singles=singles,
        **_with(entry, layer=result.layer, channels=channels, start=start, rule=result.rule),
    )


def layers_entry(
    maps: LayerMaps, example: int, target: str, sight: Sight = PLAIN, **entry: Any
) -> Entry:
    """Return the entry of the maps of all layers for one example."""
    shown: dict[str, Any] = {"image": sight.head.image, "head": sight.head, "look": sight.look}
    return Entry(
        drawing=maps.draw(example, target=target, **shown),
        arrays={name: array_of(values[example]) for name, values in maps.items()},
        title=f"{TITLES[maps.method]} layer by layer: {target}",
        **_with(entry, layers=list(maps), method=maps.method, target=target),
    )


def kernels_entry(
    kernels: Kernels, drawn: Mapping[str, Any], sight: Sight = PLAIN, **entry: Any
) -> Entry:
    """Return the entry of the kernels of a layer. drawn: see :meth:`Kernels.draw`."""
    shape = list(kernels.values.shape)
    return Entry(
        drawing=kernels.draw(**drawn, head=sight.head, look=sight.look),
        arrays={
            "kernels": array_of(kernels.values),
            "output_channels": np.array(kernels.output_channels),
            "input_channels": np.array(kernels.input_channels),
        },
        title=f"Kernels of {kernels.layer}",
        group=KERNELS,
        **_with(entry, layer=kernels.layer, shape=shape),
    )


def dream_entry(
    image: Tensor,
    picture: Image.Image,
    of: str,
    facts: Sequence[str] = (),
    sight: Sight = PLAIN,
    **entry: Any,
) -> Entry:
    """Return the entry of one synthesised image `(C, H, W)`.

    picture: the image as it is shown. of: what it maximises. facts: how it was made.
    """
    title, pixels = f"What excites {of}", np.asarray(picture)
    size = f"{picture.width} × {picture.height} pixels"
    body = CaptionedGrid(photo_tiles([[pixels]], [[size]], DREAM))
    return Entry(
        drawing=sight.head.draw(body, title, facts, [], "", sight.look),
        arrays={"image": array_of(image)},
        title=title,
        **_with(entry, objective=of),
    )


def _with(entry: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    return {**entry, "record": {**facts, **entry.get("record", {})}}
