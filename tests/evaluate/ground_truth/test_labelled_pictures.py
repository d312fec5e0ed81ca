"""Pictures whose objects are known."""

from __future__ import annotations

import pytest
import torch
from ground_truth.labelled import labelled
from torch import nn

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate import LabelledPictures


def fitting():
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[:, 1:3, 2:5] = True
    return {
        "model": nn.Identity(),
        "inputs": torch.rand(2, 3, 4, 6),
        "targets": torch.tensor([0, 1]),
        "masks": masks,
    }


def test_boxes_are_those_around_the_masks_unless_they_are_given() -> None:
    assert list(LabelledPictures(**fitting()).boxes) == [(2, 1, 5, 3)] * 2
    given = [(0, 0, 1, 1), (1, 1, 2, 2)]
    assert list(LabelledPictures(**fitting(), boxes=given).boxes) == given
    pictures = labelled()
    again = LabelledPictures(
        pictures.model, pictures.inputs, pictures.targets, pictures.masks[:, None]
    )
    assert list(again.boxes) == list(pictures.boxes)
    assert again.masks.equal(pictures.masks)


def test_a_part_is_of_the_same_pictures() -> None:
    pictures = labelled()
    part = pictures[1:3]
    assert len(part) == 2
    assert part.inputs.equal(pictures.inputs[1:3])
    assert list(part.boxes) == list(pictures.boxes[1:3])


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"inputs": [1]}, InputTypeError, "inputs must be a tensor, got list"),
        ({"inputs": torch.rand(0, 3, 4, 6)}, ShapeError, "inputs must be pictures"),
        ({"inputs": torch.rand(2, 3, 0, 6)}, ShapeError, "at least one value"),
        ({"inputs": torch.rand(3, 4, 6)}, ShapeError, "inputs must be pictures"),
        ({"targets": torch.tensor([0])}, ShapeError, "one class for each of 2 pictures"),
        ({"targets": torch.rand(2)}, ShapeError, "one class for each of 2 pictures"),
        ({"masks": torch.zeros(2, 4, 6)}, InputError, r"masks\[0\] is empty"),
        ({"masks": torch.ones(2, 4, 6)}, InputError, r"masks\[0\] is full"),
        ({"masks": torch.ones(2, 4, 5)}, ShapeError, "masks must have the shape"),
        ({"boxes": [(0, 0, 1, 1)]}, InputError, "boxes must be one for each picture, got 1"),
        ({"activation": "tanh"}, InputError, "activation"),
    ],
)
def test_what_does_not_fit_is_named(wrong, error, said) -> None:
    with pytest.raises(error, match=said):
        LabelledPictures(**{**fitting(), **wrong})
