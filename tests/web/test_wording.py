"""The library's errors in the words of the page."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.core.warn import listening
from torchattr.errors import Listing, TorchattrError
from torchattr.web.state.worker import noted
from torchattr.web.wording import in_viewer


def refusal(call: Any) -> str:
    with pytest.raises(TorchattrError) as caught:
        call()
    return caught.value.said(in_viewer)


def test_rules_and_strictness_are_fields_of_the_form() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.GELU())
    said = refusal(lambda: ta.GuidedBackprop(model).attribute(torch.ones(1, 2), target=0))
    assert "pass gelu=guided (field “rules”)" in said
    assert said.endswith("to lower this to a warning, pass off (field “strict”)")


def test_a_way_out_without_a_field_is_left_out() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": x, "b": x}

    said = refusal(lambda: ta.Saliency(Two()).attribute(torch.ones(1, 2), target=0))
    assert said == "the model returned dict with entries 'a', 'b'"


def test_notes_name_fields_as_well() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    done = noted(lambda: ta.GradCAM(model).attribute(torch.rand(1, 3, 8, 8), target=0))
    assert done.notes == ("no layer given; using 1 (field “layer”)",)
    with listening(lambda warning: None):
        ta.GradCAM(model).attribute(torch.rand(1, 3, 8, 8), target=0)


def test_the_meaning_of_scores_is_an_option_of_the_command() -> None:
    assert in_viewer("activation", "none") == "torchattr view --scores raw"
    assert in_viewer("method", Listing("methods()")) is None
    assert in_viewer("activation", ...) == "torchattr view --scores MEANING"
