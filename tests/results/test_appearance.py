"""How the inputs and scores of a loaded model are shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from torchattr.models import load_model
from torchattr.results import Appearance, model_title


def test_random_weights_are_named_and_recorded() -> None:
    random = Appearance.of(load_model("demo", weights="random"))
    assert random.caption == "model: demo (random weights)"
    assert random.record == {"model": "demo", "weights": "random"}
    own = Appearance.of(load_model("demo"))
    assert own.caption == "model: demo"
    assert own.record == {"model": "demo"}
    assert model_title("mine", "file.pth") == "mine"


@pytest.mark.parametrize("meaning", ["softmax", "sigmoid"])
def test_scores_become_what_the_model_declares(meaning: str) -> None:
    scores = torch.tensor([[1.0, -2.0, 3.0]])
    found = replace(Appearance.of(load_model("demo")), meaning=meaning)
    probabilities, made_by = found.probabilities(scores)
    assert made_by == meaning
    expected = scores.softmax(1) if meaning == "softmax" else scores.sigmoid()
    torch.testing.assert_close(probabilities, expected)


@pytest.mark.parametrize(
    "output", [torch.tensor([[0.2, 0.9]]), torch.rand(1, 3, 4, 4), torch.rand(3)]
)
def test_what_may_be_probabilities_already_or_are_no_scores_stays_as_it_is(output) -> None:
    assert Appearance.of(load_model("demo")).probabilities(output) is None


def test_inputs_lose_their_normalisation() -> None:
    loaded = load_model("demo")
    black = loaded.preprocess(Image.new("RGB", (8, 8))).tensor
    assert not np.asarray(Appearance.of(loaded).display.picture(black)).any()
