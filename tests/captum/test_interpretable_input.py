"""Pictures described by regions, against Captum's."""

from __future__ import annotations

from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from helpers import assert_same, noise, refused
from matplotlib import pyplot
from PIL import Image

import torchattr.captum as ours
from torchattr.errors import ShapeError

PICTURE = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
NUMBERS = torch.tensor([[3, 3, 7, 7, 7]] * 2 + [[9, 9, 9, 7, 7]] * 2)
OVERLAPPING = [NUMBERS == 3, NUMBERS > 3, NUMBERS == 9]
FORMS: list[dict[str, Any]] = [{}, {"mask": NUMBERS}, {"mask_list": OVERLAPPING}]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form) or "whole")
def test_it_is_captums(form: dict[str, Any]) -> None:
    own, theirs = (
        library.ImageMaskInput(PICTURE, baseline=(1, 2, 3), processor_fn=np.array, **form)
        for library in (ours, captum.attr)
    )
    assert own.values == theirs.values
    assert torch.equal(own.to_tensor(), theirs.to_tensor())
    assert np.array_equal(own.to_model_input(), theirs.to_model_input())
    for position in range(own.n_itp_features):
        off = own.to_tensor()
        off[0, position] = 0
        assert np.array_equal(own.to_model_input(off), theirs.to_model_input(off))
    values = noise(2, own.n_itp_features, dtype=torch.float32)
    assert_same(own.format_pixel_attr(values), theirs.format_pixel_attr(values), 1e-6)
    assert torch.equal(own.format_attr(values), values)
    for one, other in zip(own.get_mask_list(), theirs.get_mask_list(), strict=True):
        assert torch.equal(one, other)


def test_regions_are_drawn() -> None:
    figure, axes = ours.ImageMaskInput(PICTURE, NUMBERS).plot_mask_overlay(border_width=2)
    assert [text.get_text() for text in axes.texts] == ["3", "7", "9"]
    assert len(axes.images) == 4
    pyplot.close(figure)


def test_masks_must_fit() -> None:
    with refused(ShapeError, "(2, 5)", "(4, 5)"):
        ours.ImageMaskInput(PICTURE, NUMBERS[:2])


def test_baselines_are_drawn_together_or_apart() -> None:
    values = {("hue", "tone"): [(1, "a"), (2, "b")], "size": [5]}
    for _ in range(10):
        drawn = ours.ProductBaselines(values)()  # type: ignore[arg-type]
        assert isinstance(drawn, dict)
        assert (drawn["hue"], drawn["tone"]) in [(1, "a"), (2, "b")]
        assert drawn["size"] == 5
    assert ours.ProductBaselines([[1], [2]]).sample() == [1, 2]
