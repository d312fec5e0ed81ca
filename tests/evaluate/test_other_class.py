"""The random logit test, against maps of each class by themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, refused
from sanity import PICTURES, EdgeMethod, LevelMethod, plain
from test_map_similarity import ssim
from test_randomisation import GRADIENT, signed, spearman
from torch import nn

import torchattr as ta
from torchattr.errors import TargetError, UndefinedMetricWarning
from torchattr.evaluate import random_logit
from torchattr.evaluate.other_class import classes_of, other_classes
from torchattr.evaluate.shared_maps import asked


@pytest.mark.parametrize("target", [None, 2, [0, 1, 2, 0]])
@pytest.mark.parametrize("kind", ["ssim", "spearman"])
def test_it_compares_the_maps_of_two_classes(target: Any, kind: Any) -> None:
    model = plain()
    question = asked(model, PICTURES, "saliency", target)
    own = classes_of(question)
    other = other_classes(question, own, 5)
    assert (own != other).all()
    maps, others = signed(model, PICTURES, own), signed(model, PICTURES, other)
    compare = ssim if kind == "ssim" else spearman
    right = [compare(a, b) for a, b in zip(maps, others, strict=True)]
    found = random_logit(model, PICTURES, GRADIENT, target, similarity=kind, seed=5)
    assert_same(found["saliency"], torch.tensor(right, dtype=torch.float64), 1e-10)


def test_every_other_class_is_drawn() -> None:
    model = plain()
    question = asked(model, PICTURES[:1].expand(300, -1, -1, -1), "saliency", 1)
    drawn = other_classes(question, classes_of(question), 0)
    assert drawn.unique().tolist() == [0, 2]
    assert 100 < int((drawn == 0).sum()) < 200


def test_a_map_of_the_picture_does_not_depend_on_the_class() -> None:
    found = random_logit(plain(), PICTURES, [EdgeMethod])
    assert_same(found["EdgeMethod"], torch.ones(4, dtype=torch.float64), 1e-12)


def test_constant_maps_are_nan_with_one_warning() -> None:
    with pytest.warns(UndefinedMetricWarning, match="LevelMethod") as caught:
        found = random_logit(plain(), PICTURES, [LevelMethod, "saliency"])
    assert len(caught) == 1
    assert found["LevelMethod"].isnan().all()


def test_what_has_no_other_class_is_refused() -> None:
    model = plain()
    with refused(TargetError, "target must be a class"):
        random_logit(model, PICTURES, "saliency", ta.Difference(1, 0))
    with refused(TargetError, "at least two classes", "(4, 1)"):
        random_logit(nn.Sequential(model, nn.Linear(3, 1).double()), PICTURES, "saliency", 0)
