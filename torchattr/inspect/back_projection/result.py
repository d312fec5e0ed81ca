"""The result of a back-projection, and its picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchattr.core.types import Tensors
from torchattr.errors import InputError
from torchattr.inspect.back_projection.local_conv import within
from torchattr.inspect.back_projection.seeds import Start
from torchattr.inspect.drawing import (
    CELL,
    OUTSIDE_NOTE,
    SIGNAL_NOTE,
    are_cut,
    chosen_indices,
    draw_input,
    draw_signal,
    in_windows,
    photo_tiles,
    signal_legend,
)
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

Field: TypeAlias = "tuple[slice, ...]"
Fields: TypeAlias = "tuple[tuple[Field | None, ...], ...]"
"""A receptive field for each example and each map; `None` where no input reaches the start."""


@dataclass(frozen=True)
class BackProjection:
    """Maps of a layer, projected back to the inputs.

    Attributes:
        pictures: `(N, K, C, H, W)`, shaped like the inputs with the `K` maps after the batch; a
            tuple if the inputs were one.
        channels: which map each picture shows, `(N, K)`.
        activations: the value at each start, `(N, K)`; for a whole map its largest value.
        positions: of the starts, `(N, K, dimensions)`; `None` for whole maps.
        layer: the name of the layer.
        start: `"max"`, `"map"` or the requested position.
        rule: `"deconvolution"`, `"guided"` or `"gradient"`.
        inputs: the inputs that were projected to, the first of them if there are several.
        fields: the receptive field of each start in the input, one slice per dimension, by example
            and map; `None` for whole maps, and where the start does not depend on the input.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> ta.back_project(model, torch.rand(1, 3, 8, 8), "1").picture().mode
    'RGB'
    """

    pictures: Tensors
    channels: Tensor
    activations: Tensor
    positions: Tensor | None
    layer: str
    start: Start
    rule: str
    inputs: Tensor | None = None
    fields: Fields | None = None

    @classmethod
    def joined(cls, pieces: Sequence[BackProjection]) -> BackProjection:
        """Concatenate pieces of the same call along the maps."""
        first = pieces[0]
        if len(pieces) == 1:
            return first
        several = [p.pictures if isinstance(p.pictures, tuple) else (p.pictures,) for p in pieces]
        pictures = tuple(torch.cat(column, dim=1) for column in zip(*several, strict=True))
        places = [piece.positions for piece in pieces if piece.positions is not None]
        return cls(
            pictures if isinstance(first.pictures, tuple) else pictures[0],
            torch.cat([piece.channels for piece in pieces], dim=1),
            torch.cat([piece.activations for piece in pieces], dim=1),
            torch.cat(places, dim=1) if places else None,
            first.layer,
            first.start,
            first.rule,
            first.inputs,
            _joined([piece.fields for piece in pieces]),
        )

    def __repr__(self) -> str:
        first = self._first
        return (
            f"BackProjection({self.layer!r}, start={self.start!r}, rule={self.rule!r},"
            f" pictures {tuple(first.shape)})"
        )

    def _repr_html_(self) -> str:
        return notebook(
            self, lambda: ((f"example {one}", self.picture(one)) for one in range(len(self._first)))
        )

    @property
    def _first(self) -> Tensor:
        return self.pictures[0] if isinstance(self.pictures, tuple) else self.pictures

    def picture(self, example: int = 0, **options: Any) -> Image.Image:
        """Return the same as :meth:`draw`, with its options, as an RGB picture."""
        return self.draw(example, **options).image()

    def draw(
        self,
        example: int = 0,
        *,
        only: Sequence[int] | None = None,
        columns: int | None = None,
        crop: bool = True,
        cell: int = CELL,
        display: Callable[[Tensor], Any] | None = None,
        head: FigureHead = NO_HEAD,
        look: Look = LIGHT,
    ) -> Drawing:
        """Draw the maps of one example on a grid, in their order.

        Beside each projection is the part of the picture that it belongs to, as in the figures of
        Zeiler and Fergus: the receptive field of its start. Mid grey is zero. Each projection is
        scaled independently.

        Args:
            example: index in the batch.
            only: which of the maps to draw, by their position in the result; `None` draws all.
            columns: number of columns; `None` makes the grid nearly square.
            crop: whether to show the receptive fields only; whole maps have none, and are shown in
                full.
            cell: minimum length of each picture's shorter side in units.
            display: converts an input `(C, H, W)` to a picture, such as the inverse of the model's
                normalisation; by default it is stretched over the full brightness range.
            head: the model and the picture, which head the grid; by default, the input.
            look: light or dark, and the pixels per unit.

        Raises:
            InputError: no such example.
            ShapeError: the inputs are not pictures.
        """
        if not -len(self._first) <= example < len(self._first):
            raise InputError(f"example {example} is out of range for a batch of {len(self._first)}")
        shown = self._first[example]
        seen = None
        if self.inputs is not None:
            seen = as_picture((display or draw_input)(self.inputs[example]))
        fields = self._shown_fields(example, shown.shape[2:]) if crop else None
        chosen = chosen_indices(only, len(shown), "only")
        several = [
            _pictures(shown[one], None if fields is None else fields[one], seen) for one in chosen
        ]
        note = SIGNAL_NOTE
        if fields is not None and seen is not None:
            kept = [fields[one] for one in chosen]
            note += f" {OUTSIDE_NOTE}" if are_cut(kept) else ""
            several = in_windows(several, kept, look.colors.rule)
        tiles = photo_tiles(several, [self._caption(example, one) for one in chosen], cell)
        if head.image is None:
            head = replace(head, image=seen)
        body, legends = CaptionedGrid(tiles, columns), [signal_legend(shown.shape[1])]
        title = f"Back-projections of {self.layer}"
        return head.draw(body, title, self._facts(example, fields is not None), legends, note, look)

    def _shown_fields(self, example: int, whole: Sequence[int]) -> Sequence[Field | None] | None:
        """Return the receptive fields, unless each is the whole input."""
        fields = None if self.fields is None else self.fields[example]
        everything = tuple(slice(0, side) for side in whole)
        return fields if fields and any(one not in (None, everything) for one in fields) else None

    def _caption(self, example: int, number: int) -> list[str]:
        channel, activation = self.channels[example, number], self.activations[example, number]
        what = "largest value" if self.positions is None else "activation"
        lines = [f"channel {int(channel)} · {what} {short_number(float(activation))}"]
        if self.positions is not None:
            place = ", ".join(map(str, self.positions[example, number].tolist()))
            lines.append(f"at position ({place})")
        return lines

    def _facts(self, example: int, are_cropped: bool) -> list[str]:
        values = self.activations[example]
        is_sorted = len(values) > 1 and bool((values.diff() <= 0).all())
        start = {"max": "from the largest value of each map", "map": "from whole maps"}
        one = self.start if isinstance(self.start, str) else None
        begun = start[one] if one is not None else f"from the position {self.start}"
        beside = "the receptive field, and what comes back to it" if are_cropped else ""
        return [
            _RULES.get(self.rule, self.rule),
            begun,
            "the strongest first" if is_sorted else "",
            beside,
        ]


def _joined(pieces: Sequence[Fields | None]) -> Fields | None:
    """Concatenate the fields of each example."""
    known = [piece for piece in pieces if piece is not None]
    if len(known) < len(pieces):
        return None
    return tuple(tuple(chain(*each)) for each in zip(*known, strict=True))


_RULES = {"guided": "guided backpropagation", "gradient": "the gradient"}


def _pictures(signal: Tensor, field: Field | None, seen: np.ndarray | None) -> list[np.ndarray]:
    """Return the part of the picture and what came back to it; all of the latter without one."""
    if field is None or seen is None:
        return [draw_signal(signal)]
    return [seen[field], draw_signal(signal[within(field)])]
