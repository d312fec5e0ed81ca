"""Fresh scenes of the bundled network, and grids of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth.grid_cells import grid_cells
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.methods import checked_count, checked_seed
from torchattr.models.collage import CLASSES, CollageNet, collage, preprocess
from torchattr.models.collage.making.scenes import CollageScene, scene

TRAINED_ON = 0
"""The seed of the scenes on which the network was trained."""

CELL = 64
"""The side of a cell of a grid, half of the network's input."""

SURE = 3.0
"""The least logit of a scene in a grid, a probability of 0.95."""

_AT_ONCE = 16

Object: TypeAlias = tuple[CollageScene, int]
"""A scene, and which of its objects is explained."""


def collage_pictures(n: int, seed: int) -> LabelledPictures:
    """Return scenes of two or three objects, one of which is explained, for the bundled network.

    Those scenes of a series are taken in which the network finds the object, which is drawn: of one
    that it overlooks, no map could tell where it sees it.

    Raises:
        InputError: no number of scenes, or the seed of those that the network was trained on.
        InputTypeError: a number or seed that is not an int.
    """
    _check(n, seed)
    model = collage()
    crowded = (one for one in _objects(seed) if len(one[0].labels) > 1)
    chosen = list(islice(_found(model, crowded), n))
    return LabelledPictures(
        model,
        _inputs([made for made, _ in chosen]),
        torch.tensor([CLASSES.index(made.labels[k]) for made, k in chosen]),
        torch.from_numpy(np.stack([made.masks[k] for made, k in chosen])),
        [made.boxes[k] for made, k in chosen],
        "sigmoid",
    )


def collage_grids(n: int, seed: int) -> LabelledPictures:
    """Return at least `n` cells of grids of four scenes of one object each, of different classes.

    What is explained is the object of each cell, a row for each; the mask is that cell. The four
    classes of a grid are explained from the same forwards. The scenes are those of which the
    network is sure (Böhle, Fritz and Schiele 2021, arXiv:2104.00032).

    Raises: as for :func:`collage_pictures`.
    """
    _check(n, seed)
    model = collage()
    grids = list(_grids(model, -(-n // 4), seed))
    cells = _inputs([made for grid in grids for made, _ in grid])
    targets = [CLASSES.index(made.labels[0]) for grid in grids for made, _ in grid]
    return grid_cells(model, cells, torch.tensor(targets), "sigmoid")


def _check(n: int, seed: int) -> None:
    checked_count(n, "n")
    if checked_seed(seed) == TRAINED_ON:
        raise InputError(
            f"seed {TRAINED_ON} is that of the scenes that the network was trained on; choose"
            " another"
        )


def _objects(seed: int, size: int = 2 * CELL) -> Iterator[Object]:
    """Yield the scenes of a series, each with one of its objects."""
    for index in count():
        made = scene(seed, index, size)
        yield made, int(np.random.default_rng((seed, index, size)).integers(len(made.labels)))


def _found(model: CollageNet, objects: Iterator[Object], least: float = 0.0) -> Iterator[Object]:
    """Yield the objects whose logit is above a bound."""
    while True:
        yield from _seen(model, list(islice(objects, _AT_ONCE)), least)


@gradients(False)
def _seen(model: CollageNet, objects: Sequence[Object], least: float) -> list[Object]:
    logits = model(_inputs([made for made, _ in objects]))
    classes = [CLASSES.index(made.labels[k]) for made, k in objects]
    return [
        one for one, row, k in zip(objects, logits, classes, strict=True) if float(row[k]) > least
    ]


def _grids(model: CollageNet, n: int, seed: int) -> Iterator[list[Object]]:
    single = (one for one in _objects(seed, CELL) if len(one[0].labels) == 1)
    waiting = _found(model, single, SURE)
    for _ in range(n):
        cells: list[Object] = []
        while len(cells) < 4:
            cells += _of_another_class(cells, next(waiting))
        yield cells


def _of_another_class(cells: Sequence[Object], one: Object) -> list[Object]:
    """Return a scene if its class is not in the grid yet."""
    taken = {made.labels for made, _ in cells}
    return [] if one[0].labels in taken else [one]


def _inputs(made: Sequence[CollageScene]) -> Tensor:
    return preprocess.normalised(np.stack([one.image for one in made])).contiguous()
