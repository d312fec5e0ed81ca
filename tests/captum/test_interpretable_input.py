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
from torchattr.errors import InputError, InputTypeError, ShapeError

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


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"image": [[1, 2]]}, InputTypeError, "image must be a PIL image, got list"),
        ({"mask": NUMBERS.tolist()}, InputTypeError, "mask must be a tensor or an array"),
        ({"mask": "a"}, InputTypeError, "mask must be a tensor"),
        ({"mask": NUMBERS * float("nan")}, InputError, "mask holds NaN"),
        ({"mask_list": NUMBERS}, InputTypeError, "mask_list must be a list of masks"),
        ({"mask_list": []}, InputError, "mask_list is empty"),
        ({"mask_list": [[1, 2]]}, InputTypeError, "mask_list[0] must be a tensor"),
        ({"mask_list": NUMBERS.tolist()}, InputTypeError, "mask_list[0] must be a tensor"),
        ({"baseline": "white"}, InputError, "baseline must be a colour"),
        ({"baseline": (1, 2)}, InputError, "baseline has 2 numbers for a picture of 3 channels"),
        ({"image": PICTURE.convert("L")}, InputError, "image.convert('RGB')"),
        ({"processor_fn": 3}, InputTypeError, "processor_fn must be a function"),
    ],
)
def test_arguments_of_wrong_types_are_named(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with refused(error, words):
        ours.ImageMaskInput(**{"image": PICTURE, **change})


def test_arrays_are_masks_and_features_must_fit() -> None:
    own = ours.ImageMaskInput(PICTURE, NUMBERS.numpy())  # type: ignore[arg-type]
    assert own.values == ours.ImageMaskInput(PICTURE, NUMBERS).values
    for wrong in ([1.0, 0.0, 1.0], torch.ones(1, 2), torch.ones(3)):
        with refused(ShapeError, "perturbed_tensor must be a tensor (1, 3)"):
            own.to_model_input(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", ["ab", 3, None, [[]], [3], {"size": []}, {"size": 3}])
def test_baselines_must_be_drawn_from_something(values: Any) -> None:
    with refused(InputTypeError, "baseline_values must hold a sequence of at least one value"):
        ours.ProductBaselines(values)


@pytest.mark.parametrize(
    "color", [(1.0, 2.7, 3.0), [1, 2, 3], np.array([1, 2, 3]), torch.tensor([1, 2, 3]), 7, 7.5]
)
def test_colours_are_those_that_captum_takes(color: Any) -> None:
    own, theirs = (
        library.ImageMaskInput(PICTURE, NUMBERS, baseline=color, processor_fn=np.array)
        for library in (ours, captum.attr)
    )
    features = torch.tensor([[0.0, 1.0, 0.0]])
    assert (own.to_model_input(features) == theirs.to_model_input(features)).all()


def test_masks_may_be_stacked_and_of_every_layout() -> None:
    listed = ours.ImageMaskInput(PICTURE, mask_list=OVERLAPPING)
    stack = torch.stack(OVERLAPPING)
    for masks in (stack, stack.numpy()):
        own = ours.ImageMaskInput(PICTURE, mask_list=masks)  # type: ignore[arg-type]
        assert torch.equal(torch.stack(own.mask_list), torch.stack(listed.mask_list))
    flipped = np.flipud(NUMBERS.numpy().astype(">i4"))
    own = ours.ImageMaskInput(PICTURE, flipped)  # type: ignore[arg-type]
    assert torch.equal(own.mask_list[0], (NUMBERS == 3).flipud())


@pytest.mark.parametrize(
    "values", [[np.array([4]), torch.tensor([4])], np.array([[4], [4]]), [range(4, 5), (4,)]]
)
def test_baselines_are_drawn_from_arrays_too(values: Any) -> None:
    assert [int(one) for one in ours.ProductBaselines(values)()] == [4, 4]
