from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused

from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate.measured_maps import as_maps, as_masks, as_tensor, is_varied, undefined


def test_channels_are_summed_and_arrays_taken():
    values = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    found = as_maps(values)
    assert found.dtype == torch.float64
    assert found.shape == (1, 3, 4)
    assert torch.equal(found[0], torch.from_numpy(values.sum((0, 1))).double())


def test_the_argument_is_not_changed():
    given = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    before = given.clone()
    as_maps(given).abs_()
    assert torch.equal(given[:, :1], before[:, :1])


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        (torch.zeros(4, 4), ShapeError, r"\(N, h, w\)"),
        (torch.zeros(0, 4, 4), ShapeError, "got the shape"),
        (torch.full((2, 2, 2), torch.nan), InputError, r"maps\[0\]"),
        ("a picture", InputTypeError, "got str"),
        (None, InputTypeError, "got NoneType"),
    ],
)
def test_what_is_no_map(values, error, says):
    with pytest.raises(error, match=says):
        as_maps(values)


MAPS = torch.zeros(2, 2, 2)
MASK = torch.tensor([[[True, False], [False, True]]]).expand(2, 2, 2)


@pytest.mark.parametrize("masks", [MASK, MASK[:, None], MASK.float(), MASK.long().numpy()])
def test_masks_of_bools_or_of_zeros_and_ones(masks):
    assert torch.equal(as_masks(masks, MAPS), MASK)


@pytest.mark.parametrize(
    ("masks", "error", "says"),
    [
        (MASK[:1], ShapeError, r"the shape of the maps, \(2, 2, 2\)"),
        (torch.ones(2, 4, 4, dtype=torch.bool), ShapeError, "interpolate"),
        (MASK * 0.5, InputError, "bools, or the numbers 0 and 1"),
        (torch.zeros_like(MASK), InputError, r"masks\[0\] is empty"),
        (torch.stack([MASK[0], torch.ones(2, 2)]), InputError, r"masks\[1\] is full"),
        ([["a"]], InputTypeError, "got list"),
    ],
)
def test_what_is_no_mask(masks, error, says):
    with pytest.raises(error, match=says):
        as_masks(masks, MAPS)


def test_one_warning_names_the_maps_that_have_no_value():
    values = torch.arange(9.0)
    with pytest.warns(UndefinedMetricWarning) as caught:
        found = undefined(values, values < 2, "gini_index", "all elements are 0")
    assert found.isnan().tolist() == [False] * 2 + [True] * 7
    assert len(caught) == 1
    said = str(caught[0].message)
    assert "NaN for 7 of 9 maps: 2, 3, 4, 5, 6 ..." in said
    assert undefined(values, values < 10, "gini_index", "never") is values


def test_what_varies():
    assert is_varied(torch.tensor([[[1.0, 1.0]], [[1.0, 2.0]]])).tolist() == [False, True]


@pytest.mark.parametrize("wrong", ["a", None, [[1.0], [2.0, 3.0]], object()])
def test_what_is_no_array_of_numbers_is_named(wrong: Any) -> None:
    with refused(InputTypeError, "maps must be a tensor or an array of numbers"):
        as_tensor(wrong, "maps")
    assert as_tensor(2.0, "maps").dim() == 0
