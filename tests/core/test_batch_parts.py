"""Parts of batches: what belongs to some examples, and tests that run part by part."""

from __future__ import annotations

import pytest
import torch
from ground_truth.labelled import network
from helpers import assert_same
from torch import Tensor

import torchattr as ta
from torchattr import evaluate
from torchattr.core.batch_parts import (
    can_be_cut,
    part_of_arguments,
    part_of_methods,
    part_of_target,
)
from torchattr.core.targets import bundle
from torchattr.evaluate import shared_maps

METHODS = ["saliency", "layer_cam", "input_x_gradient"]
LAYER = "2"
SOME = slice(1, 3)


def pictures(count: int = 7) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(3)).double()


def test_targets() -> None:
    assert part_of_target(2, SOME) == 2
    assert part_of_target([1, 2, 3, 0], SOME) == [2, 3]
    assert part_of_target(torch.tensor([4, 5, 6]), SOME).tolist() == [5, 6]
    both = part_of_target(bundle([[1, 2, 3], 7]), SOME)
    assert both.indices == ([2, 3], 7)
    assert can_be_cut([1, 2, 3], 3)
    assert not can_be_cut([1, 2, 3], 4)
    assert not can_be_cut(lambda output: output[:, 0], 3)


def test_arguments_and_options() -> None:
    rows, shared = torch.arange(4), torch.zeros(1)
    assert [*map(len, part_of_arguments([rows, shared], 4, SOME))] == [2, 1]
    options = part_of_methods({"saliency": {"mask": rows, "n": 3}}, 4, SOME)
    assert options["saliency"]["mask"].tolist() == [1, 2]
    assert options["saliency"]["n"] == 3
    assert part_of_methods(["saliency"], 4, SOME) == ["saliency"]


MEASURES = {
    "mprt": lambda model, x: evaluate.mprt(model, x, METHODS, layer=LAYER).similarities,
    "mprt, independent": lambda model, x: (
        evaluate.mprt(
            model, x, METHODS, [0, 1, 2, 3, 0, 1, 2], layer=LAYER, cascading=False
        ).similarities
    ),
    "smooth_mprt": lambda model, x: (
        evaluate.smooth_mprt(model, x, "saliency", n_samples=3).similarities
    ),
    "efficient_mprt": lambda model, x: evaluate.efficient_mprt(model, x, METHODS, layer=LAYER),
    "random_logit": lambda model, x: evaluate.random_logit(model, x, METHODS, layer=LAYER),
    "check": lambda model, x: {
        f"{key} of {name}": values
        for key, of in evaluate.check(
            model, x, METHODS, steps=2, n_samples=2, layer=LAYER, squares_across=4
        ).measures.items()
        for name, values in of.items()
    },
}


@pytest.mark.filterwarnings("ignore::torchattr.errors.FewSamplesWarning")
@pytest.mark.parametrize("measure", MEASURES)
def test_a_batch_larger_than_memory_is_measured_part_by_part(measure, monkeypatch) -> None:
    model, x = network().double(), pictures()
    seen: list[int] = []
    model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    whole = MEASURES[measure](model, x)
    monkeypatch.setattr(shared_maps, "fitting", lambda *_: 2)
    assert max(seen) >= len(x)
    seen.clear()
    parts = MEASURES[measure](model, x)
    # Noisy copies, and those with deleted squares, are batches of their own.
    assert "mprt" not in measure or max(seen) <= 2 * 3
    assert list(parts) == list(whole)
    for name, expected in whole.items():
        assert len(expected) == len(x)
        assert_same(parts[name], expected, 1e-9)


def test_a_target_that_is_a_function_is_measured_at_once(monkeypatch) -> None:
    model, x = network().double(), pictures(3)
    monkeypatch.setattr(shared_maps, "fitting", lambda *_: 1)
    found = evaluate.mprt(model, x, "saliency", lambda output: output[[0, 1, 2], [2, 1, 0]])
    assert_same(found["saliency"], evaluate.mprt(model, x, "saliency", [2, 1, 0])["saliency"], 1e-9)


def test_what_fits_follows_from_memory(monkeypatch) -> None:
    asked = shared_maps.asked(network(), pictures().float(), METHODS, None, layer=LAYER)
    assert asked.at_once is not None
    assert asked.at_once >= len(asked.inputs)
    monkeypatch.setattr("torchattr.methods._perturbation.memory_budget.free_bytes", lambda _: 2**19)
    few = shared_maps.asked(network(), pictures().float(), METHODS, None, layer=LAYER)
    assert few.at_once is not None
    assert 1 <= few.at_once < asked.at_once
    assert few.target.tolist() == asked.target.tolist()
    torch.testing.assert_close(few.scores, asked.scores)


def test_methods_that_hold_layers_refer_to_the_copy_in_each_part(monkeypatch) -> None:
    model, x = network().double(), pictures()
    method = ta.GradCAM(model, layer="2")
    whole = evaluate.mprt(model, x, [method])
    monkeypatch.setattr(shared_maps, "fitting", lambda *_: 3)
    parts = evaluate.mprt(model, x, [method])
    (name,) = whole
    assert_same(parts[name], whole[name], 1e-9)
