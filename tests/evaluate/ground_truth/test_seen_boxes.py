"""Boxes as the network's input shows them."""

from __future__ import annotations

import pytest
import torch

from torchattr.evaluate import mask_of_boxes, seen_box, share_seen
from torchattr.models import Box


def test_a_box_is_moved_and_scaled() -> None:
    assert seen_box(Box(5, 6, 7, 8), Box(0, 0, 10, 10), (10, 10)) == Box(5, 6, 7, 8)
    # The middle of a picture, stretched by 2 across and 4 down.
    assert seen_box(Box(5, 6, 7, 8), Box(4, 5, 14, 10), (20, 20)) == Box(2, 4, 6, 12)


def test_a_mask_has_the_centres_of_all_boxes() -> None:
    mask = mask_of_boxes([Box(0.5, 0, 1.5, 1), Box(2, 1.4, 9, 1.6)], (2, 4))
    assert mask.tolist() == [[True, False, False, False], [False, False, True, True]]
    assert not bool(mask_of_boxes([Box(0.6, 0, 1.4, 2), Box(-3, 0, 0, 2)], (2, 4)).any())
    assert mask_of_boxes([Box(-1, -1, 9, 9)], (2, 3)).equal(torch.ones(2, 3).bool())


def test_the_share_of_boxes_that_is_seen() -> None:
    assert share_seen([Box(1, 1, 2, 2)], (4, 4)) == 1
    assert share_seen([Box(5, 1, 6, 2)], (4, 4)) == 0
    assert share_seen([Box(3, 0, 5, 4), Box(0, 0, 2, 4)], (4, 4)) == pytest.approx(0.75)
