"""The base of the ablations, tested with a subclass."""

from __future__ import annotations

from typing import Any

import torch
from helpers import assert_same, noise
from torch import Tensor

from torchattr.core.inputs import as_inputs
from torchattr.incremental import Recomputed
from torchattr.methods._perturbation.segments import as_segments
from torchattr.methods.ablation import Ablation

X = noise(3, 4)


class Halves(Ablation):
    """Replaces the first and the second half by 1."""

    def attribute(self, inputs: Tensor, target: Any = None, **options: Any) -> Any:
        given = as_inputs(inputs)
        features = as_segments(given, torch.tensor([[0, 0, 1, 1]]))
        settings: dict[str, Any] = {"at_once": None, "progress": False, "incremental": False}
        return self._ablate(given, (1,), features, target, None, **{**settings, **options})


def model(x: Tensor) -> Tensor:
    return torch.stack([x.sum(1), x[:, :2].prod(1)], 1)


def test_each_element_gets_the_effect_of_its_feature() -> None:
    found = Halves(model).attribute(X, 0)
    first, second = X[:, :2].sum(1) - 2, X[:, 2:].sum(1) - 2
    assert_same(found, torch.stack([first, first, second, second], 1), 1e-12)


def test_scores_may_be_transformed_first() -> None:
    found = Halves(model).attribute(X, 1, then=lambda scores: 3 * scores)
    assert_same(found[:, 0], 3 * (X[:, :2].prod(1) - 1), 1e-12)


def test_the_report_tells_what_was_recomputed() -> None:
    reports: list[Recomputed] = []
    for mode in (False, True, "auto"):
        Halves(model).attribute(X, 0, incremental=mode, report=reports.append)
    assert [report.followed for report in reports] == [0, 0, 0]
    assert reports[0].reasons == ("incremental=False",)
    assert reports[2].reasons == ("all forwards together are small",)
