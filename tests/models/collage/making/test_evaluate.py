from __future__ import annotations

import pytest
import torch

from torchattr.models.collage import CLASSES, collage
from torchattr.models.collage.making.evaluate import EVALUATION_SEED, Figures, evaluate, truth


@pytest.fixture(scope="module")
def figures() -> Figures:
    return evaluate(collage(), 200)


def test_the_trained_network_is_right_on_fresh_scenes(figures: Figures) -> None:
    assert figures.scenes == 200
    assert figures.exact >= 0.97
    assert figures.label >= figures.exact


def test_the_maps_point_at_their_objects(figures: Figures) -> None:
    assert figures.pointing >= 0.95


def test_an_untrained_network_is_not_right() -> None:
    torch.manual_seed(0)
    untrained = evaluate(collage(weights=False), 50)
    assert untrained.exact < 0.2
    assert untrained.pointing < 0.6


def test_truth_is_one_for_each_label() -> None:
    assert truth(("cat", "shuttle")).tolist() == [
        float(name in {"cat", "shuttle"}) for name in CLASSES
    ]


def test_the_fresh_scenes_are_not_the_training_scenes() -> None:
    assert EVALUATION_SEED != 0
