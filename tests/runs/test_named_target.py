"""What methods are called with for named targets."""

from __future__ import annotations

import pytest
import torch
from region_models import loaded, picture

import torchattr as ta
from torchattr.errors import OutputError
from torchattr.runs.named_target import NamedTarget, asked_of
from torchattr.runs.score_reader import ScoreReader

RED = NamedTarget("red", 1)
INPUTS = loaded("detector").preprocess(picture()).tensor[None]


@pytest.mark.parametrize("name", ["detector", "segmenter"])
def test_classes_alone_have_one_score_each(name: str) -> None:
    reader = ScoreReader(loaded(name))
    asked = asked_of([RED, NamedTarget("green", 2)], reader.answer(INPUTS), reader)
    assert asked.targets == [1, 2]
    assert asked.output(reader.loaded.model(INPUTS)).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "function"),
    [("detector", ta.Boxes(2, [18, 2, 30, 14], overlap=False)), ("segmenter", ta.Segment(2))],
)
def test_beside_functions_classes_are_functions_too(name: str, function: ta.OutputTarget) -> None:
    reader = ScoreReader(loaded(name))
    answer = reader.answer(INPUTS)
    asked = asked_of([RED, NamedTarget("there", 2, function)], answer, reader)
    output = reader.loaded.model(INPUTS)
    expected = reader.scores(output)[0, 1:]
    values = [target(asked.output(output))[0] for target in asked.targets]
    torch.testing.assert_close(torch.stack(values), expected)


def test_the_scores_of_a_detector_are_those_of_its_best_boxes() -> None:
    reader = ScoreReader(loaded("detector"))
    answer = reader.answer(INPUTS)
    best = reader.loaded.model(INPUTS)[0]["scores"]
    torch.testing.assert_close(answer.probabilities[1:], best)
    assert answer.bounded
    assert answer.probabilities[0] == 0
    assert "best detection" in answer.note
    leaf = INPUTS.clone().requires_grad_()
    reader.scores(reader.loaded.model(leaf))[0, 1].backward()
    assert leaf.grad is not None
    assert leaf.grad[..., :16].any()
    assert not leaf.grad[..., 16:].any()


def test_a_detector_without_boxes_or_names_is_refused_in_a_sentence() -> None:
    with pytest.raises(OutputError, match="finds no box in this picture above its score thresh"):
        ScoreReader(loaded("detector")).answer(torch.zeros_like(INPUTS))
    with pytest.raises(OutputError, match="class names are not known"):
        ScoreReader(loaded("nameless")).answer(INPUTS)
