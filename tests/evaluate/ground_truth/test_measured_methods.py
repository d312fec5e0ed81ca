"""The maps of many methods from one forward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ground_truth.labelled import SIDE, labelled

import torchattr as ta
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth import measured_methods
from torchattr.evaluate.ground_truth.asked_methods import asked_methods
from torchattr.evaluate.ground_truth.controls import CONTROLS
from torchattr.evaluate.ground_truth.measured_methods import (
    as_large,
    fitting_methods,
    need_some,
    progress_bar,
)

NAMES = ["saliency", "raw_attention", "grad_cam", "input_x_gradient"]


def test_maps_are_those_of_the_methods_called_alone() -> None:
    pictures = labelled()
    fitting = fitting_methods(pictures.asked, asked_methods(NAMES))
    assert fitting.names == ["saliency", "grad_cam", "input_x_gradient", *CONTROLS]
    ((rows, maps),) = fitting.explained(pictures.asked)
    assert len(pictures[rows]) == len(pictures)
    alone = [ta.Saliency, ta.InputXGradient]
    for found, method in zip((maps[0], maps[2]), alone, strict=True):
        expected = method(pictures.model).attribute(pictures.inputs, target=pictures.targets)
        torch.testing.assert_close(found, expected)


def test_batches_change_nothing_and_share_a_forward(monkeypatch) -> None:
    pictures = labelled()
    fitting = fitting_methods(pictures.asked, asked_methods(NAMES))
    ((_, whole),) = fitting.explained(pictures.asked)
    monkeypatch.setattr(measured_methods, "AT_ONCE", 2)
    seen: list[int] = []
    pictures.model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    parts = list(fitting.explained(pictures.asked))
    assert [len(pictures[rows]) for rows, _ in parts] == [2, 2, 1]
    # A forward of each batch, and one that finds the layer of class activation maps.
    assert len(seen) <= 2 * 3
    for row, expected in enumerate(whole):
        torch.testing.assert_close(torch.cat([maps[row] for _, maps in parts]), expected)


def test_classes_of_a_picture_share_a_forward() -> None:
    grid = labelled(4)
    one = replace(grid, inputs=grid.inputs[:1].expand(4, -1, -1, -1), each=4)
    names = ["saliency", "grad_cam", "eigen_cam", "rise", "feature_ablation", "score_cam"]
    seen: list[int] = []
    one.model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    fitting = fitting_methods(one.asked, asked_methods(names))
    seen.clear()
    ((rows, maps),) = fitting.explained(one.asked)
    together = sum(seen)
    assert len(one[rows]) == 4
    seen.clear()
    ((_, apart),) = fitting.explained(replace(one, each=1).asked)
    assert together < 0.3 * sum(seen)
    # Random maps are others for each row.
    for found, expected in zip(maps[: len(names)], apart, strict=False):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_trying_a_method_is_cheap_and_steps_are_counted() -> None:
    pictures = labelled(20)
    seen: list[int] = []
    pictures.model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    fitting = fitting_methods(pictures.asked, asked_methods(["rise", "saliency", "grad_cam"]))
    assert sum(seen) < 40
    # Three batches, of gradient methods together and of RISE.
    assert fitting.steps(pictures.asked) == 3 * 2
    with progress_bar("test", 6, show=False) as bar:
        assert len(list(fitting.explained(pictures.asked, bar))) == 3


def test_what_does_not_fit_has_its_reason() -> None:
    fitting = fitting_methods(labelled().asked, asked_methods(NAMES))
    assert list(fitting.refused) == ["raw_attention"]
    assert "self-attention" in fitting.refused["raw_attention"]
    need_some(fitting)
    with pytest.raises(InputError, match="no method fits the network: raw_attention: "):
        need_some(fitting_methods(labelled().asked, asked_methods("raw_attention")))


def test_maps_that_are_not_finite_are_refused() -> None:
    class Broken(ta.GradientAttribution):
        def finish(self, inputs, grads):
            return grads / 0

    fitting = fitting_methods(labelled().asked, asked_methods({"broken": Broken}))
    assert fitting.refused == {"broken": "its map holds NaN or infinite values"}


def test_large_maps() -> None:
    size = (SIDE, SIDE)
    coarse = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    large = as_large("grad_cam", coarse, size)
    assert large.shape == (1, SIDE, SIDE)
    assert large[0, 0, 0] == 0
    assert large[0, -1, -1] == 3
    signed = torch.stack([torch.ones(SIDE, SIDE), -torch.ones(SIDE, SIDE)])[None]
    assert bool((as_large("input_x_gradient", signed, size) == 0).all())
    assert bool((as_large("guided_backprop", signed, size) == 2).all())
