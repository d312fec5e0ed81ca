"""Which value of the output is explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.targets import Classes, TopK, each, one_per_example, predicted, select_scores
from torchattr.errors import InputTypeError, TargetError

FLAT = torch.arange(12.0).reshape(3, 4)
DEEP = torch.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        (FLAT, 1, [1, 5, 9]),
        (FLAT, (2,), [2, 6, 10]),
        (FLAT, [0, 1, 2], [0, 5, 10]),
        (FLAT, [(0,), (1,), (2,)], [0, 5, 10]),
        (FLAT, torch.tensor([3, 0, 1]), [3, 4, 9]),
        (FLAT, torch.tensor(2), [2, 6, 10]),
        (FLAT, torch.tensor([2]), [2, 6, 10]),
        (FLAT[:1], torch.tensor([2]), [2]),
        (FLAT, lambda output: output[:, :2].sum(1), [1, 9, 17]),
        (FLAT[:, 0], None, [0, 4, 8]),
        (FLAT[:, :1], None, [0, 4, 8]),
        (torch.tensor(5.0), None, [5]),
        (DEEP, (1, 2), [6, 18]),
        (DEEP, [(0, 0), (2, 3)], [0, 23]),
        (FLAT[..., None, None], 2, [2, 6, 10]),
        (FLAT, np.int64(1), [1, 5, 9]),
        (FLAT, np.uint8(1), [1, 5, 9]),
        (FLAT, np.array(1), [1, 5, 9]),
        (FLAT, (np.int64(2),), [2, 6, 10]),
        (FLAT, [np.int64(0), 1, torch.tensor(2)], [0, 5, 10]),
        (FLAT, np.array([3, 0, 1]), [3, 4, 9]),
        (FLAT, np.array([3, 0, 1], np.uint8), [3, 4, 9]),
        (FLAT, torch.tensor([3, 0, 1], dtype=torch.uint8), [3, 4, 9]),
        (DEEP, (np.int64(1), torch.tensor(2)), [6, 18]),
        (DEEP, [(np.int64(0), 0), (2, np.array(3))], [0, 23]),
        (FLAT[:0], [], []),
        (FLAT[:0], 1, []),
    ],
)
def test_select_scores(output: Tensor, target: Any, expected: list[float]) -> None:
    assert select_scores(output, target).tolist() == expected


@pytest.mark.parametrize(
    ("output", "target", "message"),
    [
        (FLAT, 4, r"target 4 is out of range.*\(3, 4\); allowed are 0 to 3"),
        (FLAT, -5, r"target -5 is out of range.*allowed are 0 to 3$"),
        (FLAT, -1, r"target -1 is out of range.*0 to 3; the class that -1 counts to.*is 3"),
        (FLAT, np.int32(-1), r"target -1 is out of range"),
        (FLAT, (-1,), r"target -1 is out of range"),
        (FLAT, [0, 1, -1], r"target -1 is out of range"),
        (FLAT, [(0,), (1,), (-2,)], r"target -2 is out of range"),
        (FLAT, torch.tensor(-1), r"target -1 is out of range"),
        (FLAT, torch.tensor([0, 1, -1]), r"target -1 is out of range"),
        (FLAT, np.array([0, 1, -1]), r"target -1 is out of range"),
        (DEEP, (1, -1), r"target -1 is out of range"),
        (FLAT[:, :, None, None].expand(3, 4, 2, 2), 1, r"pass Mask or Segment"),
        (torch.zeros(1, 5, 6), 1, r"these are detections: pass Boxes"),
        (FLAT, [0, 1], r"target has 2 entries for a batch of 3"),
        (FLAT, [0, 1, 2, 3], r"target has 4 entries for a batch of 3"),
        (FLAT, [0, 1, 9], r"target 9 is out of range"),
        (FLAT, torch.tensor([0, 1]), r"target has 2 entries for a batch of 3"),
        (FLAT, torch.zeros(3, 1, dtype=torch.long), r"one entry per example, got shape \(3, 1\)"),
        (FLAT, (1, 2), r"has 2 indices, but the output of shape \(3, 4\) has 1"),
        (FLAT, None, r"leaves \(4,\) values for each example"),
        (DEEP, 1, r"target=1 leaves \(4,\) values"),
        (FLAT, lambda output: output, r"must return one value for each of the 3 examples"),
        (FLAT, lambda output: 3.0, r"must return one value.*got float"),
        (FLAT, "cat", r"'cat' is the name of a class.*pass the index of the class here"),
        (FLAT, ["cat", 1, 2], r"'cat' is the name of a class"),
    ],
)
def test_refuses(output: Tensor, target: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        select_scores(output, target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (True, r"must name an entry of the output, got True"),
        (1.5, r"got float"),
        ((1.5,), r"must hold ints, got float"),
        (torch.tensor([0.0, 1.0, 2.0]), r"must hold class indices, got torch.float32"),
    ],
)
def test_refuses_types(target: Any, message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        select_scores(FLAT, target)


def test_predicted_is_the_largest_score_of_each_example() -> None:
    assert predicted(torch.tensor([[1.0, 3.0], [5.0, 2.0]])).tolist() == [1, 0]
    assert predicted(torch.zeros(0, 4)).tolist() == []


def test_each_splits_several_targets() -> None:
    output = torch.tensor([[1.0, 3.0, 2.0], [5.0, 2.0, 4.0]])
    best, several = each(TopK(2), output)
    assert several
    assert [column.tolist() for column in best] == [[1, 0], [2, 2]]
    assert each(Classes(2, 0), output) == ([2, 0], True)
    assert each(1, output) == ([1], False)


def test_each_gives_the_predicted_class_for_none() -> None:
    (target,), several = each(None, torch.tensor([[1.0, 3.0], [5.0, 2.0]]))
    assert not several
    assert target.tolist() == [1, 0]
    assert each(None, torch.zeros(2, 1)) == ([None], False)


@pytest.mark.parametrize("make", [lambda: TopK(0), lambda: Classes()])
def test_several_targets_are_at_least_one(make: Any) -> None:
    with pytest.raises(TargetError, match=r"at least"):
        make()


@pytest.mark.parametrize(("target", "output"), [(TopK(5), FLAT), (TopK(2), DEEP), (None, DEEP)])
def test_each_refuses_what_the_output_does_not_have(target: Any, output: Tensor) -> None:
    with pytest.raises(TargetError, match=r"more classes than|needs scores of shape"):
        each(target, output)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), True), ((3,), True), ((3, 1), True), ((3, 1, 1), True), ((3, 2), False), ((0, 4), False)],
)
def test_one_per_example(shape: tuple[int, ...], expected: bool) -> None:
    assert one_per_example(torch.zeros(shape)) is expected


@pytest.mark.parametrize(
    "target",
    [
        1.0,
        np.float64(1),
        np.array([0.0, 1.0, 2.0]),
        np.array(True),
        True,
        np.bool_(True),
        [1.0] * 3,
    ],
)
def test_numbers_that_are_no_indices_are_refused(target: Any) -> None:
    with pytest.raises(InputTypeError):
        select_scores(FLAT, target)


@pytest.mark.parametrize(
    ("given", "indices"),
    [
        ((2, 0), (2, 0)),
        (([2, 0],), (2, 0)),
        ((range(2),), (0, 1)),
        ((np.array([2, 0]),), (2, 0)),
        ((torch.tensor([2, 0]),), (2, 0)),
        ((np.int64(2), torch.tensor(0)), (2, 0)),
        (((0, 1), (1, 2)), ((0, 1), (1, 2))),
        (((1, 2),), ((1, 2),)),
        (([(0, 1), (1, 2)],), ((0, 1), (1, 2))),
    ],
)
def test_classes_take_indices_one_by_one_or_in_a_list(given: Any, indices: Any) -> None:
    made = Classes(*given)
    assert made.indices == indices
    assert all(type(index) in (int, tuple) for index in made.indices)


def test_classes_may_be_names_until_they_are_looked_up() -> None:
    assert Classes("cat", 1).indices == ("cat", 1)
    (named, _), _ = each(Classes("cat", 1), FLAT)
    with pytest.raises(TargetError, match="'cat' is the name of a class"):
        select_scores(FLAT, named)


@pytest.mark.parametrize("given", [([1, 2], 3), (1.0,), ([[1, 2]],), (True,), (None,)])
def test_classes_refuse_at_once(given: Any) -> None:
    with pytest.raises(InputTypeError, match="Classes takes class indices"):
        Classes(*given)


def test_the_best_k_are_an_int() -> None:
    assert TopK(np.int64(3)) == TopK(3)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="k as an int, got float"):
        TopK(2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [np.int64(1), np.array(1), torch.tensor(1), np.uint8(1)])
@pytest.mark.parametrize("method", ["saliency", "rise", "feature_ablation", "grad_cam"])
def test_every_method_takes_numbers_of_numpy(number: Any, method: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).double()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    options = {method: {"n_masks": 9} if method == "rise" else {}}
    expected = ta.explain(model, x, options, 1, layer="0")
    for target in (number, [number, number], np.array([1, 1]), Classes([number])):
        found = ta.explain(model, x, options, target, layer="0")
        torch.testing.assert_close(found[method], expected[method])
        assert found.targets is not None
        assert found.targets.tolist() == [[1], [1]]
