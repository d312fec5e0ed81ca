"""Maps of an explanation on Matplotlib axes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import torchattr as ta
from torchattr.errors import InputError, ShapeError

MODEL = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
).eval()
X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def found() -> ta.Explanation:
    return ta.explain(MODEL, X, ["saliency", "guided_backprop"], ta.TopK(2))


def test_one_map_is_drawn_on_the_axes_that_are_given(found) -> None:
    axes = Figure().add_subplot()
    assert found.plot("saliency", target=1, ax=axes) is axes
    assert axes.get_title() == "Saliency"
    assert axes.get_ylabel().startswith(f"class {int(found.targets[0, 1])}")
    assert axes.images[0].get_array().shape == (8, 8, 3)


def test_the_bar_has_the_units_of_the_map(found) -> None:
    axes = found.plot("saliency", target=0, example=1)
    bar = axes.figure.axes[1]
    largest = np.abs(found["saliency"][1, 0].numpy()).max(0)
    assert bar.get_ylim() == pytest.approx((0, np.percentile(largest, 99.5)))
    assert len(found.plot("saliency", target=0, bar=False).figure.axes) == 1


def test_all_maps_are_an_array_of_axes(found) -> None:
    axes = found.plot()
    assert axes.shape == (2, 2)
    assert [one.get_title() for one in axes[0]] == ["Saliency", "Guided backprop"]
    assert [one.get_title() for one in axes[1]] == ["", ""]
    given = Figure().subplots(1, 2)
    assert (found.plot(target=0, ax=given) == given).all()


def test_a_photograph_is_drawn_beneath_where_the_model_saw_it(found) -> None:
    photo = np.full((20, 30, 3), 255, np.uint8)
    axes = found.plot("saliency", target=0, image=photo, box=(10, 0, 20, 20))
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (20, 30, 3)
    assert (drawn[:, :10] == 255).all()
    assert (drawn[:, 11:19] < 255).any()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"method": "gradcam"}, InputError, "one of saliency, guided_backprop"),
        ({"target": 2}, InputError, "target 2 is out of range for 2"),
        ({"example": 2}, InputError, "example 2 is out of range"),
        ({"ax": Figure().add_subplot()}, ShapeError, "1 axes for 4 maps"),
    ],
)
def test_what_does_not_fit_is_refused(found, options, error, said) -> None:
    with pytest.raises(error, match=said):
        found.plot(**options)


def test_what_is_no_picture_is_refused() -> None:
    flat = ta.explain(nn.Linear(3, 2), torch.rand(2, 3), ["saliency"])
    with pytest.raises(InputError, match="nothing can be drawn"):
        flat.plot()
