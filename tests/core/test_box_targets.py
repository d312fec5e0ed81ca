"""The target of detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pytorch_grad_cam.utils.model_targets import FasterRCNNBoxScoreTarget
from torch import Tensor

from torchattr.core.box_targets import Boxes
from torchattr.core.detections import stacked
from torchattr.errors import InputError, InputTypeError, TargetError

FIRST = {
    "boxes": torch.tensor([[0.0, 0, 10, 10], [0, 0, 9, 10], [20, 20, 30, 40]]),
    "scores": torch.tensor([0.9, 0.8, 0.7]),
    "labels": torch.tensor([1, 2, 2]),
}
SECOND = {
    "boxes": torch.tensor([[2.0, 0, 10, 10]]),
    "scores": torch.tensor([0.6]),
    "labels": torch.tensor([1]),
}
OUTPUT = stacked([FIRST, SECOND]).double()
ONE = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Boxes(1, ONE), [1.9, 1.4]),
        (Boxes([1], [ONE]), [1.9, 1.4]),
        (Boxes(torch.tensor([1]), torch.tensor([ONE])), [1.9, 1.4]),
        (Boxes(np.array([1]), np.array([ONE])), [1.9, 1.4]),
        (Boxes(1, ONE, overlap=False), [0.9, 0.6]),
        (Boxes(1, ONE, iou=0.7), [1.9, 1.4]),
        (Boxes([[1, 2], [1]], [torch.tensor([ONE, [20.0, 20, 30, 40]]), [ONE]]), [3.6, 1.4]),
        (Boxes(1, torch.tensor([[ONE], [[2, 0, 10, 10]]])), [1.9, 1.6]),
        (Boxes([[2], 1], [[ONE], [ONE]]), [1.7, 1.4]),
        (Boxes(np.int64(1), [[ONE], [ONE]]), [1.9, 1.4]),
        (Boxes(torch.tensor(1), [[ONE], [ONE]]), [1.9, 1.4]),
        (Boxes(np.array(1), [[ONE], [ONE]]), [1.9, 1.4]),
        (Boxes([[np.int64(2)], torch.tensor(1)], [[ONE], [ONE]]), [1.7, 1.4]),
        (Boxes(1, ONE, iou=np.float32(0.7)), [1.9, 1.4]),
    ],
)
def test_boxes(target: Boxes, expected: list[float]) -> None:
    assert target(OUTPUT).tolist() == pytest.approx(expected)


def test_it_is_what_pytorch_grad_cam_computes() -> None:
    wanted = torch.tensor([[0.0, 0, 10, 9], [19, 20, 30, 40]])
    theirs = FasterRCNNBoxScoreTarget(torch.tensor([1, 2]), wanted, 0.5)
    ours = Boxes([1, 2], wanted)
    torch.testing.assert_close(ours(stacked([FIRST])), theirs(FIRST))


def test_a_better_box_of_another_label_is_no_obstacle() -> None:
    """pytorch-grad-cam takes the best box of any label, and drops it if the label is another."""
    assert FasterRCNNBoxScoreTarget([2], torch.tensor([[0.0, 0, 10, 10]]), 0.5)(FIRST) == 0
    assert Boxes(2, ONE)(OUTPUT[:1]).tolist() == pytest.approx([1.7])


def test_a_box_that_vanishes_counts_as_zero() -> None:
    fixed = Boxes([1, 2], [ONE, [20, 20, 30, 40]]).fixed(OUTPUT[:1])
    assert fixed(OUTPUT[:1]).tolist() == pytest.approx([3.6])
    assert fixed(OUTPUT[:1, 2:]).tolist() == pytest.approx([1.7])
    assert fixed(OUTPUT[1:]).tolist() == pytest.approx([1.4])
    empty = OUTPUT[:1, :0].requires_grad_()
    assert fixed(empty).tolist() == [0]
    assert fixed(empty).grad_fn is not None


def test_scores_and_boxes_get_gradients() -> None:
    output = OUTPUT.clone().requires_grad_()
    Boxes(1, [1, 0, 10, 10])(output).sum().backward()
    assert output.grad is not None
    assert output.grad[:, 0, 4].tolist() == [1, 1]
    assert output.grad[0, 0, 0] > 0  # a box that begins further right overlaps more
    assert not output.grad[0, 1:].any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Boxes(1, [5, 0, 5, 10]), InputError, r"\(5, 0, 5, 10\) is empty.*x1 < x2"),
        (lambda: Boxes(1, [5, 0, 4, 10]), InputError, "with x1 < x2 and y1 < y2"),
        (lambda: Boxes(1, [[0, 9, 4, 9]]), InputError, "is empty"),
        (lambda: Boxes(1, [0, 0, 4]), InputError, r"shape \(K, 4\) or \(4,\), got \(1, 3\)"),
        (lambda: Boxes(1, []), InputError, r"got \(1, 0\)"),
        (lambda: Boxes([1, 2], [ONE]), TargetError, "labels has 2 entries for 1 boxes"),
        (lambda: Boxes([[1]], [[ONE], [ONE]]), TargetError, "labels is given for 1 examples"),
        (lambda: Boxes(-1, ONE), TargetError, "labels must not be negative"),
        (lambda: Boxes("cat", ONE), InputTypeError, "labels must be a class index"),
        (lambda: Boxes(1, "box"), InputTypeError, "boxes must be numbers"),
        (lambda: Boxes(1, ["box"]), InputTypeError, "boxes must be numbers"),
        (lambda: Boxes(None, [[ONE], [ONE]]), InputTypeError, "labels must be a class .* NoneType"),
        (lambda: Boxes(1.5, [[ONE], [ONE]]), InputTypeError, "labels must be a class .* 1.5"),
        (lambda: Boxes(1, ONE, iou="high"), InputTypeError, "iou must be a number, got 'high'"),
        (lambda: Boxes(1, ONE, iou=1.0), InputError, "iou must be at least 0 and less than 1"),
        (lambda: Boxes(1, [0, 0, float("nan"), 4]), InputError, "is empty"),
    ],
)
def test_refuses_at_once(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("target", "output", "message"),
    [
        (Boxes(3, ONE), OUTPUT, r"box \(0, 0, 10, 10\) of label 3 in example 0 .*labels of its 3"),
        (Boxes(1, ONE, iou=0.9), OUTPUT, r"example 1 \(the closest .* IoU of 0.80, and iou is 0.9"),
        (Boxes(1, ONE), OUTPUT[:, :0], "found no box at all"),
        (Boxes([[1]], [[ONE]]), OUTPUT, "boxes has 1 entries for a batch of 2"),
        (Boxes(1, ONE), torch.zeros(2, 3), r"needs detections, .*\(2, 3\).*detections\(boxes"),
    ],
)
def test_what_is_not_detected_is_refused(target: Boxes, output: Tensor, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target(output)
