"""Annotated pictures as a model sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bulk.annotated.drawn import CROP, HEIGHT, NAMES, WIDTH, box_of, draw, network
from PIL import Image

from torchattr.bulk.annotated.annotation import Annotation
from torchattr.bulk.annotated.pictures import AnnotatedPictures
from torchattr.bulk.annotated.seen_pictures import (
    InputForm,
    LeftOut,
    SeenPicture,
    SeenPictureReader,
    labelled,
)
from torchattr.models import Box

FORM = InputForm((3, CROP, CROP), 3, "softmax")


@pytest.fixture
def source(tmp_path):
    return AnnotatedPictures(draw(tmp_path), tmp_path / "boxes.csv")


def test_the_mask_is_what_the_input_shows_of_the_box(source) -> None:
    loaded = network()
    for position in range(6):
        read = SeenPictureReader(loaded, source, FORM).read(position)
        assert isinstance(read, SeenPicture)
        # The square is drawn alone and goes through the same preprocessing.
        left, top, right, bottom = box_of(position)
        alone = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        alone[top:bottom, left:right] = 255
        seen = loaded.preprocess(Image.fromarray(alone)).tensor[0]
        middle = (seen.min() + seen.max()) / 2
        assert torch.equal(read.mask, seen > middle)
        assert read.target == NAMES.index(source.annotations[position].label)


def test_the_share_that_is_seen(source) -> None:
    wide = Annotation("00.png", "red", (Box(10, 6, 18, 14),))
    source.annotations = [wide]
    read = SeenPictureReader(network(), source, FORM).read(0)
    shown = network().preprocess(source.read(0)).box
    assert read.seen == pytest.approx((18 - shown.x0) / 8)


def test_several_boxes_are_one_object(source) -> None:
    apart = (Box(16, 8, 24, 16), Box(32, 20, 42, 30))
    source.annotations = [Annotation("00.png", "red", apart)]
    reader = SeenPictureReader(network(), source, FORM)
    both = reader.read(0)
    masks = []
    for one in apart:
        source.annotations = [Annotation("00.png", "red", (one,))]
        masks.append(reader.read(0).mask)
    assert torch.equal(both.mask, masks[0] | masks[1])
    batch = labelled(network(), [both], "softmax")
    assert len(batch.boxes[0]) == 2


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (Annotation("none.png", "red", (Box(0, 0, 9, 9),)), "no such file"),
        (Annotation("00.png", "rad", (Box(0, 0, 9, 9),)), "does not know its class: .*'red'"),
        (Annotation("00.png", "7", (Box(0, 0, 9, 9),)), "does not know its class"),
        (Annotation("00.png", "red", (Box(0, 0, 3, 9),)), r"sees none of the box \(0, 0, 3, 9\)"),
        (Annotation("00.png", "red", (Box(90, 0, 99, 9),)), r"sees none of .* it sees \("),
        (Annotation("00.png", "red", (Box(0, 0, 60, 40),)), "covers all that the model sees"),
        (Annotation("00.png", "red", (Box(9, 9, 9, 20),)), "has no area; it must have x0 < x1"),
        (Annotation("00.png", "red", (Box(9, 9, 5, 20),)), "has no area"),
        (
            Annotation("00.png", "red", (Box(20, 9, 30, 20),), (40, 60)),
            "drawn on a picture of 40 × 60 pixels, but the file has 60 × 40",
        ),
    ],
)
def test_what_cannot_be_measured_has_its_reason(source, annotation, said) -> None:
    source.annotations = [annotation]
    read = SeenPictureReader(network(), source, FORM).read(0)
    assert isinstance(read, LeftOut)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(read.reason)


def test_a_number_beyond_the_scores_is_an_unknown_class(source) -> None:
    nameless = type(network())("tiny", network().model, network().transform)
    source.annotations = [Annotation("00.png", "5", (Box(20, 9, 30, 20),))]
    assert isinstance(SeenPictureReader(nameless, source).read(0), SeenPicture)
    read = SeenPictureReader(nameless, source, FORM).read(0)
    assert read == LeftOut("tiny does not know its class: there is no class 5 among 3")
