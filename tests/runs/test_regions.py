"""Regions of a picture, in its pixels, as targets of the model's output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from region_models import loaded, picture

from torchattr.core.box_targets import Boxes
from torchattr.core.segmentation_targets import Mask, Segment
from torchattr.errors import InputError, TargetError
from torchattr.models import PreparedImage
from torchattr.models.geometry import Box
from torchattr.runs.regions import (
    Region,
    box_in_input,
    box_in_picture,
    mask_of_box,
    mask_of_file,
)
from torchattr.runs.score_reader import ScoreReader


def region(name: str, *corners: float) -> Region:
    model = loaded(name)
    prepared = model.preprocess(picture())
    answer = ScoreReader(model).answer(prepared.tensor[None])
    assert answer.raw is not None
    return Region(corners, prepared, answer.raw)


def test_boxes_move_between_the_picture_and_the_input() -> None:
    prepared = PreparedImage(
        torch.zeros(3, 10, 20), Image.new("RGB", (80, 60)), Box(20, 10, 60, 30)
    )
    assert box_in_input((20, 10, 40, 30), prepared) == (0, 0, 10, 10)
    assert box_in_picture((0, 0, 10, 10), prepared) == (20, 10, 40, 30)


@pytest.mark.parametrize(("point", "label"), [((16, 16), 1), ((50, 16), 2), ((1, 1), 0)])
def test_a_click_in_a_segmentation_is_the_segment_there(point: tuple[int, int], label: int) -> None:
    target, category = region("segmenter", *point).target(0)
    assert isinstance(target, Segment)
    assert target.category == category == label


def test_a_box_in_a_segmentation_is_a_mask_for_the_chosen_class() -> None:
    target, category = region("segmenter", 0, 0, 32, 16).target(2)
    assert isinstance(target, Mask)
    assert category == 2
    expected = torch.zeros(8, 16, dtype=torch.bool)
    expected[:4, :8] = True
    assert torch.equal(target.mask, expected)


@pytest.mark.parametrize("corners", [(16, 16), (6, 6, 30, 26)])
def test_a_click_and_a_rough_box_find_a_detection(corners: tuple[int, ...]) -> None:
    target, category = region("detector", *corners).target(0)
    assert isinstance(target, Boxes)
    assert category == 1
    assert target.boxes.tolist() == [2, 2, 14, 14]


@pytest.mark.parametrize(
    ("name", "corners", "message"),
    [
        ("detector", (32, 1), "no detected box contains this point"),
        ("detector", (0, 0, 5, 5), "no detection overlaps this box by more than 0.3"),
        ("segmenter", (0, 0, 1, 1), "contains no position"),
        ("segmenter", (99, 5), "does not see this point"),
    ],
)
def test_regions_without_anything_are_refused(
    name: str, corners: tuple[int, ...], message: str
) -> None:
    with pytest.raises(TargetError, match=message):
        region(name, *corners).target(1)


def test_a_region_needs_positions_or_boxes() -> None:
    prepared = loaded("detector").preprocess(picture())
    with pytest.raises(TargetError, match=r"returns \(1, 3\); choose a class"):
        Region((1, 1), prepared, torch.zeros(1, 3)).target(0)
    with pytest.raises(TargetError, match="predicts nothing at this point"):
        Region((1, 1), prepared, -torch.ones(1, 1, 4, 4)).target(0)


def test_a_mask_is_read_where_the_model_looks(tmp_path: Path) -> None:
    drawn = np.zeros((60, 80), np.uint8)
    drawn[10:20, 20:40] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    prepared = PreparedImage(
        torch.zeros(3, 10, 20), Image.new("RGB", (80, 60)), Box(20, 10, 60, 30)
    )
    mask = mask_of_file(tmp_path / "mask.png", prepared, (4, 8))
    expected = torch.zeros(4, 8, dtype=torch.bool)
    expected[:2, :4] = True
    assert torch.equal(mask, expected)
    assert torch.equal(mask_of_box((20, 10, 40, 20), prepared, (4, 8)), expected)
    elsewhere = PreparedImage(prepared.tensor, prepared.original, Box(60, 30, 100, 70))
    with pytest.raises(InputError, match=r"mask.png is empty"):
        mask_of_file(tmp_path / "mask.png", elsewhere, (4, 8))


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.new("L", (10, 10), 255).save(tmp_path / "mask.png")
    prepared = loaded("segmenter").preprocess(picture())
    with pytest.raises(InputError, match=r"mask.png has 10×10 pixels, but the picture 64×32"):
        mask_of_file(tmp_path / "mask.png", prepared, (4, 8))
