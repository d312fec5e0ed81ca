"""Targets of the command that are functions of the output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from region_models import loaded, picture

import torchattr as ta
from torchattr.errors import TargetError
from torchattr.models import LoadedModel
from torchattr.runs.class_selector import Index, Top
from torchattr.runs.function_selector import FunctionSelector, is_function, parse_selectors
from torchattr.runs.score_reader import Answer, ScoreReader

NAMES = ["nothing", "red", "green"]


def asked(text: str, name: str) -> tuple[Any, LoadedModel, Answer]:
    model = loaded(name)
    prepared = model.preprocess(picture())
    answer = ScoreReader(model).answer(prepared.tensor[None])
    (selector,) = parse_selectors([text], NAMES)
    assert isinstance(selector, FunctionSelector)
    return selector.named(prepared, answer, model), model, answer


def test_classes_are_parsed_as_before() -> None:
    assert parse_selectors(["1", "Top2"], NAMES) == [Index(1), Top(2)]
    assert parse_selectors(["box: red"], ["box: red"]) == [Index(0)]
    assert not is_function("box: red", ["box: red"])
    assert is_function("box: red", NAMES)


@pytest.mark.parametrize(
    ("text", "model", "name", "expected"),
    [
        ("segment:red", "segmenter", "segment: red", ta.Segment(1)),
        ("SEGMENT:2", "segmenter", "segment: green", ta.Segment(2)),
        ("box:green", "detector", "box: green", ta.Boxes(2, [18, 2, 30, 14])),
        ("box:red,5,4,28,28", "detector", "box: red", ta.Boxes(1, [2.5, 2, 14, 14])),
    ],
)
def test_functions_of_the_output(text: str, model: str, name: str, expected: Any) -> None:
    named, _, answer = asked(text, model)
    assert named.name == name
    assert answer.raw is not None
    assert torch.equal(named.target(answer.raw), expected(answer.raw))


def test_a_mask_from_a_file(tmp_path: Path) -> None:
    drawn = Image.new("L", (64, 32))
    drawn.paste(255, (0, 0, 32, 32))
    path = tmp_path / "left, half.png"
    drawn.save(path)
    named, _, answer = asked(f"mask:{path},red", "segmenter")
    assert answer.raw is not None
    left = torch.zeros(8, 16)
    left[:, :8] = 1
    assert named.index == 1
    assert torch.equal(named.target(answer.raw), ta.Mask(1, left)(answer.raw))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("difference:red,green", "red rather than green"),
        ("difference:1", "red rather than all others"),
    ],
)
def test_differences_are_named(text: str, name: str) -> None:
    assert asked(text, "segmenter")[0].name == name


def test_a_probability_has_the_models_activation() -> None:
    model = loaded("segmenter")
    prepared = model.preprocess(picture())
    reading = LoadedModel("c", torch.nn.Flatten(), model.transform, None, "softmax")
    answer = ScoreReader(reading).answer(torch.rand(1, 3, 1, 1))
    (selector,) = parse_selectors(["probability:1"], None)
    assert isinstance(selector, FunctionSelector)
    target = selector.target(prepared, answer)
    scores = 2 * torch.eye(3)
    assert torch.equal(target(scores), scores.softmax(1)[:, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("maks:a.png,red", r"unknown kind of target 'maks:a.png,red'; did you mean mask: ...\?"),
        ("zzz:1", r"unknown kind of target 'zzz:1'\. Allowed are mask:FILE,CLASS; box:CLASS"),
        ("segment:rad", r"unknown class 'rad'; did you mean 'red'"),
        ("segment:9", r"target 9 is out of range for a model with 3 classes"),
        ("segment:-1", r"target -1 is out of range"),
        ("segment:top2", r"'top2' is not a single class; needed is segment:CLASS"),
        ("mask:a.png", r"'mask:a.png' must be mask:FILE,CLASS"),
        ("mask:,red", r"must be mask:FILE,CLASS"),
        ("box:red,1,2", r"must be box:CLASS or box:CLASS,X1,Y1,X2,Y2"),
        ("box:red,a,b,c,d", r"must be box:CLASS or"),
        ("box:red,5,5,5,9", r"is empty: needed are corners with X1 < X2"),
        ("difference:red,", r"a class is missing"),
        ("difference:red,grean", r"did you mean 'green'"),
    ],
)
def test_wrong_forms_are_named(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse_selectors([text], NAMES)


@pytest.mark.parametrize(
    ("text", "model", "message"),
    [
        ("segment:red", "detector", "segment:CLASS is for segmentation models"),
        ("mask:a.png,red", "detector", "mask:FILE,CLASS is for segmentation models"),
        ("box:red", "segmenter", "box:CLASS is for detectors"),
        ("box:nothing", "detector", "found no box of class 0; .* are 1, 2"),
        ("probability:red", "segmenter", "needs scores that an activation turns"),
    ],
)
def test_other_models_are_refused(text: str, model: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        asked(text, model)
