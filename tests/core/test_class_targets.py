"""Targets over class scores, single scores and embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import torchattr as ta
from torchattr.core.class_targets import Binary, Difference, Loss, Probability, Similarity
from torchattr.errors import InputError, InputTypeError, OutputError, TargetError

SCORES = torch.tensor([[1.0, 3.0, 2.0], [5.0, 2.0, 4.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Difference(0, 1), [-2, 3]),
        (Difference(0, [1, 2]), [-1.5, 2]),
        (Difference(0), [-1.5, 2]),
        (Difference(), [1.5, 2]),
        (Difference([0, 2], 1), [-2, 2]),
        (Difference(np.array([0, 2]), torch.tensor([1])), [-2, 2]),
        (Difference(0, [1, 2], alpha=0.5), [-0.25, 3.5]),
        (Difference(np.int64(0), np.int64(1)), [-2, 3]),
    ],
)
def test_difference(target: Difference, expected: list[float]) -> None:
    assert target(SCORES).tolist() == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Difference(1, 1), r"class 1 of examples 0, 1 is among its others"),
        (Difference(None, [1]), r"class 1 of example 0 is among"),
        (Difference(0, 7), r"others 7 is out of range"),
        (Difference(0, -1), r"others -1 is out of range"),
        (Difference(-1, 0), r"category -1 is out of range"),
        (Difference(0, []), r"others is empty"),
    ],
)
def test_difference_refuses(target: Difference, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target(SCORES)
    with pytest.raises(TargetError, match="the only class"):
        Difference(0)(SCORES[:, :1])
    with pytest.raises(TargetError, match=r"Difference needs scores of shape \(N, classes\)"):
        Difference(0, 1)(SCORES[None])


def test_probability() -> None:
    assert torch.equal(Probability(2)(SCORES), SCORES.softmax(1)[:, 2])
    assert torch.equal(Probability()(SCORES), SCORES.softmax(1).amax(1))
    assert torch.equal(Probability([2, 0])(SCORES), SCORES.softmax(1)[[0, 1], [2, 0]])
    assert torch.equal(Probability(2, "sigmoid")(SCORES), SCORES[:, 2].sigmoid())


def test_probability_refuses() -> None:
    with pytest.raises(OutputError, match="would be applied to probabilities"):
        Probability(0)(SCORES.softmax(1))
    with pytest.raises(InputError, match="activation must be 'softmax' or 'sigmoid', got 'none'"):
        Probability(0, "none")
    with pytest.raises(TargetError, match="Probability needs scores"):
        Probability(0)(SCORES[:, 0])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Binary(), [2, 3]),
        (Binary(True), [2, -3]),
        (Binary(0), [-2, 3]),
        (Binary([False, True]), [-2, -3]),
        (Binary(torch.tensor([True, True])), [2, -3]),
        (Binary(np.array([1, 0])), [2, 3]),
        (Binary(np.array([True, False])), [2, 3]),
        (Binary(threshold=2.5), [-2, 3]),
    ],
)
@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 1, 1)])
def test_binary(target: Binary, expected: list[float], shape: tuple[int, ...]) -> None:
    assert target(torch.tensor([2.0, -3.0]).reshape(shape)).tolist() == expected


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (Binary([True]), TargetError, "positive has 1 entries for a batch of 2"),
        (Binary(2), TargetError, "positive must hold True or False"),
        (Binary("yes"), InputTypeError, "positive must be a class index"),
    ],
)
def test_binary_refuses(target: Binary, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        target(torch.zeros(2))
    with pytest.raises(TargetError, match=r"a single score.*\(2, 3\).*Difference\(1, 0\)"):
        Binary()(SCORES)


@pytest.mark.parametrize("labels", [[1, 0], (1, 0), torch.tensor([1, 0]), np.array([1, 0])])
@pytest.mark.parametrize("function", [F.cross_entropy, torch.nn.CrossEntropyLoss(reduction="sum")])
def test_loss_is_that_of_each_example(labels: Any, function: Any) -> None:
    expected = F.cross_entropy(SCORES, torch.as_tensor(labels), reduction="none")
    torch.testing.assert_close(Loss(function, labels)(SCORES), expected)


def test_loss_takes_one_label_for_all_and_soft_labels() -> None:
    same = F.cross_entropy(SCORES, torch.tensor([2, 2]), reduction="none")
    torch.testing.assert_close(Loss(F.cross_entropy, 2)(SCORES), same)
    soft = SCORES.flip(1).softmax(1)
    expected = F.cross_entropy(SCORES, soft, reduction="none")
    torch.testing.assert_close(Loss(F.cross_entropy, soft)(SCORES), expected)
    assert Loss(F.cross_entropy, torch.zeros(0).long())(SCORES[:0]).shape == (0,)


def test_loss_refuses() -> None:
    with pytest.raises(TargetError, match="labels has 3 entries for a batch of 2"):
        Loss(F.cross_entropy, [0, 1, 2])(SCORES)
    with pytest.raises(InputTypeError, match=r"Loss needs a function.*got str"):
        Loss("cross_entropy", 0)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match=r"must return one value for an example, got \(1, 3\)"):
        Loss(lambda output, label: output, 0)(SCORES)
    with pytest.raises(TargetError, match="got float"):
        Loss(lambda output, label: 1.0, 0)(SCORES)  # type: ignore[arg-type,return-value]


def encode(texts: list[str]) -> Tensor:
    return torch.tensor([[float(len(text)), 1.0, 0.0] for text in texts])


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        (Similarity([1, 0, 2]), [[1, 0, 2]]),
        (Similarity(np.array([[1.0, 0, 2]])), [[1, 0, 2]]),
        (Similarity(torch.tensor([[1.0, 0, 2], [0, 1, 0]])), [[1, 0, 2], [0, 1, 0]]),
        (Similarity("cat", encode), [[3, 1, 0]]),
        (Similarity(["cat", "mouse"], encode), [[3, 1, 0], [5, 1, 0]]),
    ],
)
def test_similarity(target: Similarity, rows: list[list[float]]) -> None:
    other = torch.tensor(rows, dtype=torch.float64).expand(2, 3)
    expected = (SCORES * other).sum(1) / (SCORES.norm(dim=1) * other.norm(dim=1))
    torch.testing.assert_close(target(SCORES), expected)


@pytest.mark.parametrize(
    ("embedding", "error", "message"),
    [
        ("a cat", InputTypeError, "got a text, 'a cat', but no encoder"),
        (["a cat", "a dog"], InputTypeError, "but no encoder"),
        (None, InputTypeError, "got NoneType"),
        ([0.0, 0.0], InputError, "not zero"),
        ([[1.0, 0.0], [0.0, 0.0]], InputError, "not zero"),
        ([float("nan"), 1.0], InputError, "finite"),
        (1.0, InputError, r"must have shape \(D,\) or \(N, D\), got \(\)"),
    ],
)
def test_similarity_refuses(embedding: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Similarity(embedding)


def test_similarity_refuses_other_outputs() -> None:
    with pytest.raises(TargetError, match=r"the embedding has 2 entries, but .*\(2, 3\)"):
        Similarity([1.0, 2.0])(SCORES)
    with pytest.raises(TargetError, match="3 embeddings for a batch of 2"):
        Similarity(torch.eye(3))(SCORES)


def test_the_names_are_public() -> None:
    assert ta.Difference is Difference
    assert ta.Similarity is Similarity


@pytest.mark.parametrize("make", [lambda n: Difference(0, alpha=n), lambda n: Binary(threshold=n)])
def test_weights_and_thresholds_are_numbers(make: Any) -> None:
    for wrong in ("a", None, [1.0], True):
        with pytest.raises(InputTypeError, match=r"(alpha|threshold) must be a number, got"):
            make(wrong)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"(alpha|threshold) must be finite"):
            make(wrong)
