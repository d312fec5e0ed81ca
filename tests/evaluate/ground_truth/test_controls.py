"""Maps that know nothing of the model."""

from __future__ import annotations

import torch

from torchattr.evaluate.ground_truth.controls import CONTROLS, control_maps


def test_controls_are_maps_of_the_pictures_and_the_same_in_each_call() -> None:
    pictures = torch.rand(3, 3, 8, 6)
    first, again = control_maps(pictures), control_maps(pictures)
    assert len(first) == len(CONTROLS)
    for one, other in zip(first, again, strict=True):
        assert one.shape == (3, 1, 8, 6)
        assert torch.equal(one, other)
    assert not torch.equal(first[0][0], first[0][1])


def test_names_cannot_be_those_of_methods() -> None:
    assert all(name.startswith("(") for name in CONTROLS)
