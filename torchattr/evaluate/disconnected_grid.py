"""A network that cannot mix the cells of a grid, so that evidence for a cell has a known place."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor, nn

from torchattr.core.select import find_layer
from torchattr.core.undoing import undone
from torchattr.errors import InputError, InputTypeError, LayerError, OutputError, ShapeError
from torchattr.evaluate.picture_grid import Cells, cut, divides, joined
from torchattr.layers import ThreadHook, hook_forward

Disconnected = Literal["full", "part"]


class DisconnectedGrid(nn.Module):
    """A model with a classification head for each cell of a grid of pictures.

    Rao, Böhle and Schiele 2022, arXiv:2205.10435; 2023, arXiv:2303.11884. With `setting="full"`
    ("DiFull") each cell is a picture of its own, from the first layer on, so that no other can
    influence its scores. With `"part"` ("DiPart") the model sees the whole grid up to a layer, and
    what follows it, the pooling and the classification, sees one cell of that layer's values. So a
    map for a cell's class that lies elsewhere is wrong, whatever the model has learned;
    :func:`torchattr.evaluate.grid_localisation` measures how much does, and
    :func:`torchattr.evaluate.picture_grid` makes the grids.

    It is *not* the model: a map that is right here may be wrong where cells interact.

    Scores are `(N, cells, classes)`, so the target of a class in a cell is `(cell, class)`. Methods
    that read a layer find the values of the given one, joined to the grid, at the layer
    `"features"`.

    Args:
        model: a module that maps pictures `(N, C, h, w)` of a cell's size to scores.
        layer: the last layer with spatial dimensions, by name, pattern or module; needed for
            `"part"`, and for methods that read a layer.
        cells: number of rows and of columns.
        setting: what is disconnected.

    Raises:
        InputTypeError, InputError: no module, no layer for `"part"`, or an unknown setting.
        LayerError: no such layer.

    >>> import torch, torchattr as ta
    >>> from torch import nn
    >>> pooled = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> model = nn.Sequential(*pooled, nn.Linear(4, 5)).eval()
    >>> apart, x = DisconnectedGrid(model), torch.rand(2, 3, 16, 16)
    >>> apart(x).shape
    torch.Size([2, 4, 5])
    >>> maps = ta.Saliency(apart).attribute(x, target=(0, 3))  # class 3 in the first cell
    >>> maps[:, :, :8, :8].any(), maps[:, :, 8:].any(), maps[:, :, :, 8:].any()
    (tensor(True), tensor(False), tensor(False))
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str | nn.Module | None = None,
        cells: Cells = (2, 2),
        *,
        setting: Disconnected = "full",
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise InputTypeError(f"model must be a module, got {type(model).__name__}")
        if setting not in get_args(Disconnected):
            raise InputError(f"setting must be 'full' or 'part', got {setting!r}")
        if setting == "part" and layer is None:
            raise InputError(
                "setting='part' cuts the values of a layer into cells; pass the last layer with"
                " spatial dimensions as layer"
            )
        self.training = model.training
        self.model, self.cells, self.setting = model, cells, setting
        self.features = nn.Identity().train(model.training)
        self._layer = None if layer is None else find_layer(model, layer)[0]

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the scores of each cell's head, `(N, cells, classes)`.

        Raises:
            ShapeError: cells of different sizes, of the pictures or of the layer's values.
            LayerError: the layer does not run once, or does not return a single tensor.
            OutputError: the model does not return a row of scores for each cell.
        """
        _check_divides(self.cells, pictures, "pictures")
        entered = cut(pictures, self.cells) if self.setting == "full" else pictures
        with undone() as undo:
            if self._layer is not None:
                layer = self.model.get_submodule(self._layer)
                hook_forward(undo, layer, ThreadHook(_Cut(self, self._layer)))
            scores = self.model(entered)
        return self._by_cell(scores, len(pictures))

    def _by_cell(self, scores: Any, count: int) -> Tensor:
        heads = self.cells[0] * self.cells[1]
        if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != count * heads:
            what = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise OutputError(
                f"the model must return scores ({count * heads}, classes) for the {heads} cells of"
                f" {count} grids, got {what}; the layer must be one that all scores depend on"
            )
        return scores.unflatten(0, (count, heads))


class _Cut:
    """A hook that lets what follows a layer see one cell of its values, during one forward.

    Args:
        grid: the network.
        layer: the layer's name, for messages.
    """

    def __init__(self, grid: DisconnectedGrid, layer: str) -> None:
        self._grid, self._layer, self._called = grid, layer, False

    def __call__(self, module: nn.Module, args: Any, values: Any) -> Tensor:
        cells = self._grid.cells
        if self._called:
            raise LayerError(f"layer {self._layer!r} runs more than once, so it cannot be cut")
        self._called = True
        if not isinstance(values, Tensor):
            raise LayerError(
                f"layer {self._layer!r} returns {type(values).__name__}, not a single tensor"
            )
        if self._grid.setting == "full":
            return cut(self._grid.features(joined(values, cells)), cells)
        _check_divides(cells, values, f"the values of layer {self._layer!r}")
        return cut(self._grid.features(values), cells)


def _check_divides(cells: Cells, values: Tensor, name: str) -> None:
    if not divides(cells, values):
        raise ShapeError(
            f"{name} must be (N, C, h, w), h divisible by the {cells[0]} rows of the grid and w by"
            f" its {cells[1]} columns, got the shape {tuple(values.shape)}"
        )
