"""The bundled photographs for a real network, and a grid of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.types import Activation
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth.grid_cells import CELLS, grid_cells
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.evaluate.ground_truth.seen_boxes import mask_of_boxes, seen_box
from torchattr.models import Box, LoadedModel, PreparedImage, example, read_scores

BOXES: Mapping[str, Box] = {
    "cat": Box(128, 72, 365, 285),
    "coffee": Box(172, 17, 408, 312),
    "rocket": Box(304, 125, 340, 415),
    "camera": Box(230, 135, 408, 512),
}
"""The object in each photograph, in its pixels, drawn by eye: a face, a cup, a rocket, a camera
on a tripod."""


def photograph_pictures(loaded: LoadedModel) -> LabelledPictures:
    """Return the photographs with the class that the network predicts, and the object's box.

    Raises:
        InputError: the network has no scores of several classes.
    """
    prepared = _prepared(loaded)
    inputs = torch.stack([one.tensor for one in prepared])
    targets, activation = _answers(loaded, inputs)
    masks = [_mask(one, box) for one, box in zip(prepared, BOXES.values(), strict=True)]
    return LabelledPictures(
        loaded.model, inputs, targets, torch.stack(masks), activation=activation
    )


def photograph_grid(loaded: LoadedModel) -> LabelledPictures:
    """Return a grid of the photographs, each cell in full size with the class predicted for it.

    Raises:
        InputError: the network has no scores of several classes, or predicts one class twice.
    """
    inputs = torch.stack([one.tensor for one in _prepared(loaded)])
    targets, activation = _answers(loaded, inputs)
    if targets.unique().numel() < CELLS:
        raise InputError(
            f"a grid needs photographs of {CELLS} different classes, but {loaded.name} predicts"
            f" {targets.tolist()} for {', '.join(BOXES)}; leave out the metric grid"
        )
    return grid_cells(loaded.model, inputs, targets, activation)


def _prepared(loaded: LoadedModel) -> list[PreparedImage]:
    return [loaded.preprocess(example(name)) for name in BOXES]


@gradients(False)
def _answers(loaded: LoadedModel, inputs: Tensor) -> tuple[Tensor, Activation]:
    """Return the class that is predicted for each photograph, and what makes probabilities."""
    output = loaded.model(inputs)
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < 2:
        raise InputError(
            "the photographs are for networks that return scores of several classes, (N, classes);"
            f" {loaded.name} does not"
        )
    return output.argmax(1), read_scores(output, loaded.activation).applied


def _mask(shown: PreparedImage, box: Box) -> Tensor:
    size = shown.tensor.shape[1:]
    return mask_of_boxes([seen_box(box, shown.box, size)], size)
