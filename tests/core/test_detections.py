"""Detections as one tensor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from torchattr.core.detections import (
    as_detections,
    detections,
    holds_detections,
    overlaps,
    stacked,
)
from torchattr.core.outputs import select_output
from torchattr.errors import OutputError


def found(count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 2, 2, generator=generator).cumsum(1).reshape(count, 4)
    scores = torch.rand(count, generator=generator).requires_grad_()
    return {"boxes": corners, "labels": torch.arange(count), "scores": scores}


def test_images_with_fewer_detections_are_filled_up() -> None:
    images = [found(3), found(0), found(1)]
    rows = stacked(images)
    assert rows.shape == (3, 3, 6)
    for row, image in zip(rows, images, strict=True):
        count = len(image["labels"])
        torch.testing.assert_close(row[:count, :4], image["boxes"])
        torch.testing.assert_close(row[:count, 4], image["scores"])
        assert row[:, 5].tolist() == [*range(count)] + [-1] * (3 - count)
        assert not row[count:, :5].any()


def test_the_tensor_is_differentiable() -> None:
    image = found(2)
    stacked([image, found(1)])[0, 1, 4].backward()
    assert image["scores"].grad is not None
    assert image["scores"].grad.tolist() == [0.0, 1.0]


def test_an_output_of_detections_is_selected_as_one_tensor() -> None:
    images = [found(2), found(1)]
    expected = stacked(images)
    assert torch.equal(select_output(images), expected)
    assert torch.equal(select_output({"all": images}, "all"), expected)
    assert torch.equal(select_output({"all": images}, lambda raw: raw["all"]), expected)
    assert torch.equal(select_output((images[0],)), stacked(images[:1]))
    assert holds_detections(expected)


@pytest.mark.parametrize("output", [[], [torch.zeros(3)], [{"boxes": 1}], {"boxes": 1}, "text"])
def test_other_outputs_are_no_detections(output: Any) -> None:
    assert as_detections(output) is None


def test_a_raw_head_has_its_best_classes() -> None:
    boxes, scores = torch.rand(2, 5, 4), torch.rand(2, 5, 3)
    rows = detections(boxes, scores)
    assert torch.equal(rows[..., :4], boxes)
    assert torch.equal(rows[..., 4], scores.amax(-1))
    assert torch.equal(rows[..., 5].long(), scores.argmax(-1))


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (torch.zeros(2, 5), None),
        (torch.zeros(2, 4), torch.zeros(2, 4)),
        (torch.zeros(2, 5), torch.zeros(2, 4)),
        (torch.zeros(2, 5, 3), torch.zeros(2, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(scores: Tensor, labels: Any) -> None:
    with pytest.raises(OutputError, match="detections needs boxes"):
        detections(torch.zeros(2, 5, 4), scores, labels)


def test_overlaps_are_torchvisions() -> None:
    first, second = (found(count)["boxes"].double() for count in (4, 7))
    torch.testing.assert_close(overlaps(first[None], second[None])[0], box_iou(first, second))
    assert not overlaps(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)).any()
