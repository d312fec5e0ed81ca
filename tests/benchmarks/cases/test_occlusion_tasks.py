"""Windows and superpixels cover the picture."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases.occlusion_tasks import occlusion_task

CPU = torch.device("cpu")


@pytest.mark.parametrize(("asked", "places"), [("8/8", 9), ("8/5", 25), ("9/9", 9)])
def test_windows_cover_the_picture(asked: str, places: int) -> None:
    made = occlusion_task(asked, 24, CPU)
    masks = torch.stack([made.mask(place) for place in range(len(made))])
    assert len(made) == places
    assert masks.any(0).all()
    assert masks[1].any(0).nonzero()[0] > 0  # The second lies to the right of the first.
    assert made.boxes().areas.tolist() == masks.flatten(1).sum(1).tolist()


def test_superpixels_are_about_as_many_as_asked_for() -> None:
    made = occlusion_task("20 superpixels", 96, CPU)
    masks = torch.stack([made.mask(place) for place in range(len(made))])
    assert abs(len(made) - 20) <= 3
    assert (masks.sum(0) == 1).all()
    assert masks.flatten(1).any(1).all()
    assert made.name == "20 superpixels"
