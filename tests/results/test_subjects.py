"""The examples of an explanation, with their probabilities."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.errors import InputError, OutputError, ShapeError
from torchattr.models import load_model
from torchattr.results.subjects import subjects_of

MODEL = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 4)).eval()
X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def explained(targets=None):
    return ta.explain(MODEL, X, ["saliency"], targets or ta.TopK(4))


def test_probabilities_are_those_of_the_targets_also_if_all_classes_are_explained() -> None:
    found = explained()
    for one, scores in zip(subjects_of(found, activation="softmax"), found.scores, strict=True):
        assert one.activation == "softmax"
        assert one.probabilities == pytest.approx(scores.softmax(0).tolist())
    assert [one.probabilities for one in subjects_of(found)] == [None, None]
    given = torch.rand(2, 4)
    (first, _) = subjects_of(found, probabilities=given, activation="sigmoid")
    assert (first.activation, first.probabilities) == ("sigmoid", given[0].tolist())


def test_a_loaded_model_says_what_its_scores_are() -> None:
    demo = load_model("demo", weights="random")
    x = demo.preprocess(ta.example("cat")).tensor[None]
    found = ta.explain(demo, x, ["saliency"], ta.TopK(2))
    (one,) = subjects_of(found)
    assert (one.activation, one.subtitle) == ("sigmoid", "model: demo (random weights)")
    assert one.probabilities == pytest.approx(found.scores[0].sigmoid().tolist())
    (raw,) = subjects_of(found, activation="none")
    assert (raw.activation, raw.probabilities) == (None, None)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="activation must be one of"):
        subjects_of(explained(), activation="tanh")
    maps = ta.explain(MODEL[:2], X, ["saliency"], 0)
    with pytest.raises(ShapeError, match="images has 1 entries for 2 examples"):
        subjects_of(maps, images=[None])
    convolved = ta.explain(MODEL[0], X, ["saliency"], (0, 1, 1))
    assert convolved.targets is None
    sure = ta.explain(nn.Sequential(*MODEL, nn.Softmax(1)), X, ["saliency"], 0)
    with pytest.raises(OutputError, match="probabilities"):
        subjects_of(sure, activation="softmax")
