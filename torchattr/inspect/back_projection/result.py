"""The result of a back-projection, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchattr.core.types import Tensors
from torchattr.errors import InputError
from torchattr.inspect.back_projection.local_conv import bounding_box, within
from torchattr.inspect.back_projection.seeds import Start
from torchattr.inspect.drawing import draw_signal, enlarged
from torchattr.show import grid, notebook


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

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> ta.back_project(model, torch.rand(1, 3, 8, 8), "1").picture(columns=4).size
    (468, 136)
    """

    pictures: Tensors
    channels: Tensor
    activations: Tensor
    positions: Tensor | None
    layer: str
    start: Start
    rule: str

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

    def picture(
        self,
        example: int = 0,
        *,
        columns: int | None = None,
        crop: bool = False,
        cell: int = 112,
    ) -> Image.Image:
        """Draw the maps of one example on a grid, each captioned with its channel and activation.

        Mid grey is zero. Each picture is scaled independently.

        Args:
            example: index in the batch.
            columns: number of columns; `None` makes the grid nearly square.
            crop: show only the region that the signal reached.
            cell: minimum length of each picture's longer side in pixels.

        Raises:
            InputError: no such example.
            ShapeError: the inputs are not pictures.
        """
        if not -len(self._first) <= example < len(self._first):
            raise InputError(f"example {example} is out of range for a batch of {len(self._first)}")
        shown = self._first[example]
        drawn = [enlarged(draw_signal(_reached(one) if crop else one), cell) for one in shown]
        pairs = zip(self.channels[example].tolist(), self.activations[example], strict=True)
        captions = [f"{channel}: {activation:.3g}" for channel, activation in pairs]
        return Image.fromarray(np.asarray(grid(drawn, columns=columns, captions=captions)))


def _reached(values: Tensor) -> Tensor:
    box = bounding_box(values)
    return values if box is None else values[within(box)]
