"""Feature maps of chosen layers, as tensors and as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from PIL import Image
from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.printable import listed
from torchattr.core.pytree import shape_of, skeleton, tensors_of
from torchattr.core.select import missing
from torchattr.core.types import Forward, Layers, Tensors
from torchattr.errors import InputError, LayerError
from torchattr.inspect.drawing import CELL, Planes, PlaneStyle, chosen_indices
from torchattr.inspect.map_layout import maps_layout, nested_shapes, why_unfit
from torchattr.inspect.recording.operation_calls import numbered
from torchattr.inspect.recording.recording import Recording, split_number
from torchattr.layers import Layout, channels_first
from torchattr.show import LIGHT, NO_HEAD, Drawing, FigureHead, Look, notebook

Strength = Literal["max", "mean"]
Values: TypeAlias = "Tensor | tuple[Tensor, ...]"

_ORDERS: Mapping[Strength, str] = {
    "max": "the largest value first",
    "mean": "the largest mean first",
}

MOST_SHOWN = 16
"""Maximum number of maps per layer in a notebook."""


def feature_maps(
    model: Forward,
    inputs: Tensors,
    layers: Layers = "r",
    *,
    additional_forward_args: Any = None,
) -> FeatureMaps:
    """Record the outputs of layers during one forward of the model: `A`, in the model's own shape.

    They are *not* attributions: they do not depend on any target.

    Args:
        model: a module or function.
        inputs: see :class:`Attribution`.
        layers: names, patterns (`"layer1.*"`, `re.compile(...)`), classes, indices, slices,
            modules, the codes `"r"` (every ReLU operation, functional ones included), `"p"`
            (pooling) and `"c"` (convolutions), or a list of these. A functional operation
            is named after its enclosing module: `"inception3a.branch1.relu"`; a name with
            `#2` is the second call alone. A layer whose name is `r` can be passed as a
            module.
        additional_forward_args: see :class:`Attribution`.

    Raises:
        LayerError: a layer that is unknown, did not run, or returns no tensor. When drawing:
            a layer without feature maps, such as attention weights, heads, or values whose rows are
            not the inputs.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> maps = ta.feature_maps(model, torch.rand(2, 3, 8, 8))
    >>> maps
    FeatureMaps(1 (2, 4, 6, 6))
    >>> maps.picture("1", top=2).mode
    'RGB'
    """
    given = as_inputs(inputs, differentiable=False)
    recording = Recording(model, given.tensors, as_arguments(additional_forward_args), layers)
    calls: dict[str, tuple[Values, ...]] = {}
    layouts: dict[str, tuple[Layout | str, ...]] = {}
    for name, captured in recording.calls.items():
        if not all(call.values for call in captured):
            raise LayerError(
                f"the layer {name!r} returns no tensor itself, so it has no feature maps; choose a"
                " layer inside it"
            )
        calls[name] = tuple(
            call.restore([value.detach() for value in call.values]) for call in captured
        )
        layouts[name] = tuple(maps_layout(call, given.tensors) for call in captured)
    return FeatureMaps(calls, given.batch_size, layouts)


class FeatureMaps(Mapping[str, Any]):
    """The outputs of layers by name.

    `maps["layer1.0"]` is a tensor (a tuple, if the layer returns several), or a list of these if
    the layer was called several times; `maps["layer1.0#2"]` is the output of the second call.
    Shapes are the model's; :meth:`as_maps` returns `(N, channels, spatial...)`.

    Attributes:
        calls: the outputs of all calls by name, in the order in which they ran.
        batch: number of images; `None` takes each layer's first dimension as the batch.
        layouts: the layout of each call's output by name, or why it is not feature maps; by default
            `(N, C, ...)`.
    """

    def __init__(
        self,
        calls: Mapping[str, tuple[Values, ...]],
        batch: int | None = None,
        layouts: Mapping[str, tuple[Layout | str, ...]] | None = None,
    ) -> None:
        self.calls = dict(calls)
        self.batch = batch
        self.layouts = dict(layouts or _assumed(self.calls, batch))

    def __getitem__(self, layer: str) -> Any:
        calls = self._of(layer)
        return calls[0] if len(calls) == 1 else list(calls)

    def __iter__(self) -> Iterator[str]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)

    def __contains__(self, layer: object) -> bool:
        return layer in self.calls

    def __repr__(self) -> str:
        shown = (
            f"{name} {_shape(calls[0])}{f' ×{len(calls)}' if len(calls) > 1 else ''}"
            for name, calls in self.calls.items()
        )
        return f"FeatureMaps({listed(shown)})"

    def _repr_html_(self) -> str:
        return notebook(self, self._shown)

    def _shown(self) -> Iterator[tuple[str, Image.Image]]:
        """Yield the strongest maps of the first image, call by call, of spatial layers."""
        for layer, calls in self.layouts.items():
            for number, layout in enumerate(calls, 1):
                if isinstance(layout, str) or not layout.sizes:
                    continue
                maps = self.as_maps(layer, call=number)
                if len(maps):
                    count = min(MOST_SHOWN, maps.shape[1])
                    name = numbered(layer, number)
                    caption = f"{name}: {count} of {maps.shape[1]} maps, the strongest first"
                    yield caption, self.picture(layer, call=number, top=count)

    def as_maps(self, layer: str, *, call: int | None = None) -> Tensor:
        """Return the maps of all images, `(N, channels, spatial...)`.

        Trailing channels are moved first; tokens become the grid of patches that they stand for,
        without the class token.

        Args:
            layer: a name.
            call: which call of a layer that was called several times, from 1.

        Raises:
            LayerError: a layer that is unknown, or has no feature maps.
            InputError: no such call.
        """
        values, layout = self._call(layer, call)
        if isinstance(layout, str):
            raise LayerError(
                f"the layer {layer!r} returned {_shape(values)}, so it has no maps to draw:"
                f" {layout}; choose another layer or one inside it; its values are in maps[...]"
            )
        return layout.to_grid(tensors_of(values)[0])

    def strongest(
        self,
        layer: str,
        k: int | None = None,
        *,
        image: int = 0,
        call: int | None = None,
        by: Strength = "max",
    ) -> list[int]:
        """Return the channels of one image with the strongest activation, strongest first.

        Args:
            layer: a name.
            k: number of channels; `None` sorts all of them.
            image: index in the batch.
            call: which call of a layer that was called several times, from 1.
            by: rank by the largest value of a map, or by its spatial mean.

        Raises:
            InputError: `k`, `image` or `by` out of range.
        """
        values = self._maps(layer, image, call).flatten(1).double()
        check_choice("by", by, get_args(Strength))
        if k is not None and not 1 <= k <= len(values):
            raise InputError(
                f"the number of channels must be within 1..{len(values)} for layer {layer!r},"
                f" got {k}"
            )
        strengths = values.amax(1) if by == "max" else values.mean(1)
        return strengths.argsort(descending=True, stable=True)[:k].tolist()

    def picture(self, layer: str, **options: Any) -> Image.Image:
        """Return the same as :meth:`draw`, with its options, as an RGB picture."""
        return self.draw(layer, **options).image()

    def draw(
        self,
        layer: str,
        *,
        image: int = 0,
        call: int | None = None,
        channels: Sequence[int] | None = None,
        top: int | None = None,
        by: Strength = "max",
        shared: bool = False,
        percentile: float | None = None,
        cmap: str | None = None,
        columns: int | None = None,
        cell: int = CELL,
        head: FigureHead = NO_HEAD,
        look: Look = LIGHT,
    ) -> Drawing:
        """Draw the maps of one image on a grid: all of them, or a selection.

        Each map is captioned with its channel and its largest value, or its range if the layer has
        negative values, which use a diverging colour map. Without `shared`, colours are *not*
        comparable between maps. Volumes are drawn plane by plane; sequences become strips.

        Args:
            layer: a name.
            image: index in the batch.
            call: which call of a layer that was called several times, from 1.
            channels: the channels to draw, in this order.
            top: number of strongest maps to draw, see :meth:`strongest`.
            by: see :meth:`strongest`.
            shared: scale all maps together instead of independently.
            percentile: see :func:`torchattr.show.rescale`.
            cmap: see :func:`torchattr.show.colormap`.
            columns: number of columns; `None` makes the grid nearly square.
            cell: minimum side length of a map in units; small maps are enlarged by integers.
            head: the model and the picture, which head the grid.
            look: light or dark, and the pixels per unit.

        Raises:
            InputError: an argument out of range, or a page too large to draw.
            LayerError: a layer that is unknown or has no spatial dimensions.
        """
        if top is not None and channels is not None:
            raise InputError("top and channels both select maps; pass one of them")
        maps = self._maps(layer, image, call)
        if maps.dim() < 2:
            raise LayerError(
                f"the layer {layer!r} returns one value per channel without spatial dimensions,"
                " so there are no maps to draw; its values are in maps[...]"
            )
        if top is not None:
            channels = self.strongest(layer, top, image=image, call=call, by=by)
        chosen = chosen_indices(channels, len(maps), "channels")
        planes = Planes.of(maps[chosen], [f"channel {channel}" for channel in chosen])
        facts = [
            f"{_count(len(chosen), len(maps))} of {' × '.join(map(str, maps.shape[1:]))}",
            _ORDERS[by] if top is not None else "",
        ]
        name = layer if call is None else numbered(layer, call)
        gallery, legends, note = PlaneStyle(shared, percentile, cmap, columns, cell).gallery(planes)
        return head.draw(gallery, f"Feature maps of {name}", facts, legends, note, look)

    def _of(self, layer: str) -> tuple[Values, ...]:
        name, chosen = self._found(layer)
        return self.calls[name][chosen]

    def _found(self, layer: str) -> tuple[str, slice]:
        """Return the name of a layer's calls, and which of them are selected."""
        base, number = split_number(layer)
        if layer in self.calls:
            return layer, slice(None)
        if number is not None and base in self.calls and number <= len(self.calls[base]):
            return base, slice(number - 1, number)
        raise LayerError(missing(layer, self.calls))

    def _call(self, layer: str, call: int | None) -> tuple[Values, Layout | str]:
        """Return the output of one call, and its layout."""
        name, chosen = self._found(layer)
        calls = self.calls[name][chosen]
        if call is None and len(calls) > 1:
            raise LayerError(
                f"the layer {layer!r} was called {len(calls)} times; choose one with"
                f" call=1 to call={len(calls)}"
            )
        number = 1 if call is None else call
        if not 1 <= number <= len(calls):
            raise InputError(f"call must be within 1..{len(calls)} for layer {layer!r}, got {call}")
        return calls[number - 1], self.layouts[name][chosen][number - 1]

    def _maps(self, layer: str, image: int, call: int | None) -> Tensor:
        """Return the maps `(channels, ...)` of one image of one call."""
        values = self.as_maps(layer, call=call)
        if not -len(values) <= image < len(values):
            within = (
                f"be within 0..{len(values) - 1}"
                if len(values)
                else "select one, but there are none"
            )
            raise InputError(f"image must {within}, got {image}")
        return values[image].to(torch.float64 if values.dtype == torch.float64 else torch.float32)


def _count(shown: int, existing: int) -> str:
    if shown == existing:
        return "1 map" if existing == 1 else f"all {existing} maps"
    return f"{shown} of {existing} maps"


def _assumed(
    calls: Mapping[str, tuple[Values, ...]], batch: int | None
) -> dict[str, tuple[Layout | str, ...]]:
    return {name: tuple(_rows(values, batch) for values in of) for name, of in calls.items()}


def _rows(values: Values, batch: int | None) -> Layout | str:
    """Return the layout `(N, C, ...)` of a tensor whose layout is not known."""
    if not isinstance(values, Tensor):
        return "it is not one tensor"
    layout = channels_first(values.shape)
    return why_unfit(values.shape, layout, batch) or layout


def _shape(values: Any) -> str:
    return nested_shapes(skeleton(values), [shape_of(tensor) for tensor in tensors_of(values)])
