"""Plans of benchmarks."""

from __future__ import annotations

import io

import pytest
import torch
from ground_truth.labelled import labelled
from tqdm import tqdm

import torchattr as ta
from torchattr.errors import InputError
from torchattr.evaluate import BenchmarkPlan
from torchattr.evaluate.ground_truth.controls import CONTROLS


def test_what_fits_is_measured_and_what_does_not_has_its_reason() -> None:
    pictures = labelled(10)
    plan = BenchmarkPlan.of(["saliency", "raw_attention"], ["mass", "grid"]).on_own_pictures()
    fitting = plan.fitting_to(pictures)
    assert fitting.names == ["saliency", *CONTROLS]
    assert list(fitting.refused) == ["raw_attention"]
    again = plan.without(fitting.refused)
    assert torch.equal(again.values(pictures), fitting.values(pictures))
    assert again.refused == fitting.refused


def test_steps_are_those_that_are_counted() -> None:
    pictures = labelled(10)
    plan = BenchmarkPlan.of(["saliency", "rise"], ["mass", "auc"])
    with tqdm(total=plan.steps(pictures), file=io.StringIO()) as bar:
        plan.values(pictures, bar)
        assert bar.n == plan.steps(pictures) == 2 * 2 + 2 * 2


def test_a_map_that_is_not_finite_is_undefined_and_spoils_no_other() -> None:
    class Broken(ta.GradientAttribution):
        def finish(self, inputs, grads):
            return grads.index_fill(0, torch.tensor([1]), torch.nan)

    pictures = labelled(10)
    plan = BenchmarkPlan.of(
        {"broken": Broken, "saliency": ta.Saliency}, ["mass", "relevance rank", "pointing"]
    )
    values = plan.values(pictures)
    undefined = values.isnan().all(2)
    assert undefined.nonzero().tolist() == [[1, 0], [9, 0]]
    assert not bool(values[~undefined].isnan().any())


def test_only_metrics_on_grids_are_refused_on_own_pictures() -> None:
    with pytest.raises(InputError, match="metrics has only grid"):
        BenchmarkPlan.of("saliency", "grid").on_own_pictures()
