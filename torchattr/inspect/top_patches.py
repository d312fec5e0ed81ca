"""The patches of a data set that activate a channel most, with their back-projections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm

from torchattr.core.arguments import checked_flags
from torchattr.core.inputs import as_tensors
from torchattr.core.outputs import any_output
from torchattr.core.printable import printable
from torchattr.core.select import find_layer
from torchattr.core.stepping import step
from torchattr.core.types import Forward, Layer
from torchattr.errors import InputError, InputTypeError, LayerError
from torchattr.inspect.back_projection.local_conv import within
from torchattr.inspect.back_projection.projector import BackProjector, Rule
from torchattr.inspect.drawing import (
    CELL,
    OUTSIDE_NOTE,
    SIGNAL_NOTE,
    are_cut,
    draw_input,
    draw_signal,
    in_windows,
    photo_tiles,
    signal_legend,
)
from torchattr.inspect.map_layout import maps_of
from torchattr.inspect.receptive_field import NOTHING_REACHES
from torchattr.layers import TapPoint, Trace
from torchattr.methods import last_call
from torchattr.models import find_images, read_image
from torchattr.show import (
    LIGHT,
    NO_HEAD,
    CaptionedGrid,
    Drawing,
    FigureHead,
    Look,
    as_picture,
    notebook,
    short_number,
)

Transform: TypeAlias = Callable[[Image.Image], Tensor]
Images: TypeAlias = "str | Path | Iterable[Tensor | Image.Image | str | Path]"


@dataclass(frozen=True)
class Patch:
    """A position in an image of a data set that strongly activates a channel.

    Attributes:
        activation: the channel's value at the position.
        index: index of the image in the data set.
        source: the image file, if it was read from one.
        position: in the layer's resolution.
        field: receptive field of the position, one slice per dimension, clipped at borders.
        image: the receptive field of the image, as the model sees it, `(C, h, w)`.
        projection: the back-projection of the position to that field, `(C, h, w)`.
    """

    activation: float
    index: int
    source: Path | None
    position: tuple[int, ...]
    field: tuple[slice, ...]
    image: Tensor
    projection: Tensor


@dataclass(frozen=True, repr=False)
class TopPatches:
    """The positions of a data set that activate a channel most, strongest first.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> found = ta.top_patches(model, torch.rand(20, 3, 8, 8), "1", channel=2, k=4)
    >>> found[0].image.shape, found[0].activation >= found[3].activation
    (torch.Size([3, 3, 3]), True)
    """

    patches: tuple[Patch, ...]
    layer: str
    channel: int
    seen: int
    """Number of images searched."""

    def __len__(self) -> int:
        return len(self.patches)

    def __iter__(self) -> Iterator[Patch]:
        return iter(self.patches)

    def __getitem__(self, number: int) -> Patch:
        return self.patches[number]

    def __repr__(self) -> str:
        of = f"channel {self.channel} of {self.layer!r}"
        return f"TopPatches({len(self)} of {self.seen} images, {of})"

    def _repr_html_(self) -> str:
        return notebook(self, lambda: [("patches and their back-projections", self.picture())])

    def picture(self, **options: Any) -> Image.Image:
        """Return the same as :meth:`draw`, with its options, as an RGB picture."""
        return self.draw(**options).image()

    def draw(
        self,
        *,
        display: Callable[[Tensor], Any] | None = None,
        columns: int | None = None,
        cell: int = CELL,
        head: FigureHead = NO_HEAD,
        look: Look = LIGHT,
    ) -> Drawing:
        """Draw each patch with its projection beside it, the strongest first.

        Args:
            display: converts a patch `(C, h, w)` to a picture, such as the inverse of the model's
                normalisation; by default each patch is stretched over the full brightness range.
            columns: number of columns; `None` makes the grid nearly square.
            cell: minimum length of each patch's shorter side in units.
            head: the model, which heads the grid.
            look: light or dark, and the pixels per unit.
        """
        draw = display or draw_input
        fields = [patch.field for patch in self]
        pairs = [[as_picture(draw(patch.image)), draw_signal(patch.projection)] for patch in self]
        note = f"{SIGNAL_NOTE} {OUTSIDE_NOTE}" if are_cut(fields) else SIGNAL_NOTE
        tiles = photo_tiles(
            in_windows(pairs, fields, look.colors.rule),
            [[f"activation {short_number(patch.activation)}", _name(patch)] for patch in self],
            cell,
        )
        title = f"What excites channel {self.channel} of {self.layer} most"
        facts = [
            f"the {len(self)} strongest patches of {self.seen} images, the strongest first",
            "each with its back-projection",
        ]
        legends = [signal_legend(len(self[0].projection))] if self.patches else []
        return head.draw(CaptionedGrid(tiles, columns), title, facts, legends, note, look)


@checked_flags
def top_patches(
    model: Forward,
    images: Images,
    layer: Layer,
    channel: int,
    k: int = 9,
    *,
    transform: Transform | None = None,
    rule: Rule = "deconvolution",
    rules: Mapping[str, Any] | None = None,
    strict: bool = True,
    per_image: int = 1,
    batch_size: int = 16,
    progress: bool = False,
) -> TopPatches:
    """Find the patches of a data set that activate a channel most, and back-project them.

    The figure of Zeiler and Fergus (2014, arXiv:1311.2901): the patches that activate a channel
    most, next to their projections by the deconvnet. Images are processed batch by batch and only
    the best are kept, so the data set may be of any size.

    The patches show what activates the channel *most*, which is *not* all that it responds to, and
    depend on the data set.

    Args:
        model: the model; it is not modified.
        images: what to search: a folder or pattern, or any iterable of files, pictures, tensors
            `(C, H, W)` or batches of them `(N, C, H, W)`.
        layer: the name of the layer, or the module; its last call is used.
        channel: index of the map.
        k: number of patches to keep.
        transform: converts a picture to the model's input `(C, H, W)`; required for files and
            pictures.
        rule: see :func:`back_project`.
        rules: see :func:`back_project`.
        strict: see :func:`back_project`.
        per_image: maximum number of patches per image. Neighbouring positions share most of their
            patch.
        batch_size: number of images per forward; images of different sizes are not batched.
        progress: show a progress bar on stderr.

    Raises:
        InputError: no images, no `transform` where one is required, or a channel out of range.
        LayerError: a layer without feature maps.
        ImageError: a file that cannot be read.

    >>> import torchattr as ta
    >>> from torchattr.models.collage import collage, examples, preprocess
    >>> files = [example.path for example in examples()]
    >>> found = ta.top_patches(collage(), files, "stage2", 46, k=2, transform=preprocess)
    >>> [patch.source.name for patch in found]
    ['astronaut_cat_coffee.jpg', 'astronaut_cat.jpg']
    """
    for name, number in (("k", k), ("per_image", per_image), ("batch_size", batch_size)):
        if type(number) is not int or number < 1:
            raise InputError(f"{name} must be a whole number from 1, got {number!r}")
    name, module = find_layer(model, layer)
    best = _Best(k, per_image)
    sources = _sources(images, transform)
    with tqdm(desc="top patches", unit="image", disable=not progress) as bar:
        for batch in _batches(sources, batch_size):
            step()
            best.offer(_map(model, name, module, batch, channel), batch)
            bar.update(len(batch))
    if not best.seen:
        raise InputError("images holds no image to search")
    options: dict[str, Any] = {"rules": rules, "strict": strict}
    patches = [_patch(model, module, channel, rule, one, options) for one in best.ranked()]
    return TopPatches(tuple(patches), name, channel, best.seen)


@dataclass(frozen=True)
class _Source:
    """An image of the data set, as the model sees it."""

    tensor: Tensor
    path: Path | None = None


@dataclass(frozen=True)
class _Hit:
    activation: float
    index: int
    position: tuple[int, ...]
    source: _Source


@dataclass
class _Best:
    """The strongest positions seen so far."""

    k: int
    per_image: int
    seen: int = 0
    _heap: list[tuple[float, int, _Hit]] = field(default_factory=list)
    _age: Iterator[int] = field(default_factory=count)

    def offer(self, maps: Tensor, batch: list[_Source]) -> None:
        """Consider the maps `(N, spatial...)` of the next images."""
        most = min(self.per_image, self.k, maps[0].numel())
        values, positions = maps.flatten(1).topk(most, dim=1)
        for source, row, hits in zip(batch, values.tolist(), positions.cpu(), strict=True):
            for activation, hit in zip(row, hits, strict=True):
                position = tuple(int(p) for p in torch.unravel_index(hit, maps.shape[1:]))
                self._add(_Hit(activation, self.seen, position, source))
            self.seen += 1

    def ranked(self) -> list[_Hit]:
        return [hit for _, _, hit in sorted(self._heap, key=lambda item: item[:2])][::-1]

    def _add(self, hit: _Hit) -> None:
        # Among equal activations the first one seen stays.
        entry = (hit.activation, -next(self._age), hit)
        if len(self._heap) < self.k:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)


def _sources(images: Any, transform: Transform | None) -> Iterator[_Source]:
    items = find_images(images) if isinstance(images, (str, Path)) else images
    if isinstance(items, Tensor) and items.dim() == 3:
        items = [items]
    if not isinstance(items, Iterable):
        raise InputTypeError(
            f"images must be a folder or an iterable of images, got {type(images).__name__}"
        )
    for item in items:
        yield from _read(item, transform)


def _read(item: Any, transform: Transform | None) -> Iterator[_Source]:
    if isinstance(item, Tensor) and item.dim() in (3, 4):
        for one in item if item.dim() == 4 else [item]:
            yield _Source(one)
        return
    if not isinstance(item, (str, Path, Image.Image)):
        shape = f" of shape {tuple(item.shape)}" if isinstance(item, Tensor) else ""
        raise InputTypeError(
            "images must hold files, pictures, or tensors (C, H, W) or (N, C, H, W), got"
            f" {type(item).__name__}{shape}"
        )
    if transform is None:
        raise InputError(
            "images holds files or pictures, so transform=... is required to convert them to the"
            " model's inputs (C, H, W)"
        )
    if isinstance(item, Image.Image):
        yield _Source(transform(item))
        return
    path = Path(item)
    yield _Source(transform(read_image(path)), path)


def _batches(sources: Iterator[_Source], size: int) -> Iterator[list[_Source]]:
    batch: list[_Source] = []
    for source in sources:
        if batch and (len(batch) == size or source.tensor.shape != batch[0].tensor.shape):
            yield batch
            batch = []
        batch.append(source)
    if batch:
        yield batch


def _map(
    model: Forward, name: str, module: nn.Module, batch: list[_Source], channel: int
) -> Tensor:
    inputs = torch.stack([source.tensor for source in batch])
    place = TapPoint(module, with_layout=True)
    trace = Trace(model, (inputs,), taps=[place], key=any_output, differentiable=False)
    maps = maps_of(name, last_call(trace, place), (inputs,))
    if type(channel) is not int or not 0 <= channel < maps.shape[1]:
        raise InputError(
            f"channel must be a whole number from 0 to {maps.shape[1] - 1} for this layer, got"
            f" {channel!r}"
        )
    return maps[:, channel]


def _patch(
    model: Forward,
    layer: Layer,
    channel: int,
    rule: Rule,
    hit: _Hit,
    options: Mapping[str, Any],
) -> Patch:
    image = hit.source.tensor
    projector = BackProjector(model, image[None], layer, (rule,), calls="last", **options)
    result = projector.project(channel, hit.position)
    found = as_tensors(result.pictures, "pictures")[0]
    field = None if result.fields is None else result.fields[0][0]
    if field is None:
        raise LayerError(NOTHING_REACHES)
    return Patch(
        hit.activation,
        hit.index,
        hit.source.path,
        hit.position,
        field,
        image[within(field)].detach().clone(),
        found[0, 0][within(field)].clone(),
    )


def _name(patch: Patch) -> str:
    """Return the name of the image, as far as it is known."""
    return f"image {patch.index}" if patch.source is None else printable(patch.source.name)
