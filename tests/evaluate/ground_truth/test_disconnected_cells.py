"""Grids for networks that are cut into cells."""

from __future__ import annotations

import pytest
import torch
from ground_truth.labelled import SIDE, network

import torchattr as ta
from torchattr.evaluate import BenchmarkPlan, DisconnectedGrid
from torchattr.evaluate.ground_truth.disconnected_cells import disconnected
from torchattr.evaluate.ground_truth.grid_cells import grid_cells
from torchattr.evaluate.picture_grid import cut


def grids(activation="softmax"):
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(8, 3, SIDE, SIDE, generator=generator)
    return grid_cells(network(), cells, torch.tensor([0, 1, 2, 3, 3, 2, 1, 0]), activation)


@pytest.mark.parametrize("setting", ["full", "part"])
def test_scores_are_those_of_a_disconnected_grid_in_one_row(setting) -> None:
    whole = grids()
    apart = disconnected(whole, setting)
    expected = DisconnectedGrid(whole.model, "3", setting=setting)(whole.inputs)
    assert torch.equal(apart.model(whole.inputs), expected.flatten(1))
    for row, target in enumerate(apart.targets.tolist()):
        assert divmod(target, 4) == (row % 4, int(whole.targets[row]))


def test_the_heads_of_difull_see_their_cell_alone() -> None:
    whole = grids()
    apart = disconnected(whole, "full")
    alone = whole.model(cut(whole.asked.inputs, (2, 2)))
    own = apart.model(apart.inputs).gather(1, apart.targets[:, None])
    torch.testing.assert_close(own, alone.gather(1, whole.targets[:, None]))


def test_gradients_are_in_their_cell_and_maps_of_layers_leak() -> None:
    plan = BenchmarkPlan.of(["saliency", "grad_cam", "rise"], ["difull", "dipart"])
    full = plan.on("full").values(disconnected(grids(), "full"))
    assert bool((full[:, 0] == 1).all())
    # A weight of a channel holds for all cells, so that class activation maps leak.
    assert bool((full[:, 1] < 1)[~full[:, 1].isnan()].all())
    part = plan.on("part").values(disconnected(grids(), "part"))
    assert bool((part[:, 0] > 0.5).all())


def test_a_softmax_does_not_connect_the_heads() -> None:
    assert disconnected(grids(), "full").activation == "none"
    assert disconnected(grids("sigmoid"), "full").activation == "sigmoid"


def test_methods_that_do_not_fit_have_no_value_there() -> None:
    class OnlyWhole(ta.GradientAttribution):
        def passes(self, inputs, arguments, **options):
            if not isinstance(self.model, torch.nn.Sequential):
                raise ta.InputError("it wants a plain network")
            return super().passes(inputs, arguments, **options)

    plan = BenchmarkPlan.of({"plain": OnlyWhole, "saliency": ta.Saliency}, ["difull"])
    apart = disconnected(grids(), "full")
    also = plan.also_fitting(apart, grids())
    assert list(also.refused) == ["plain"]
    values = also.values(apart, rows=plan.names)
    assert values.shape == (8, len(plan.names), 1)
    assert values[:, :, 0].isnan().any(0).tolist()[:2] == [True, False]
    assert plan.also_fitting(apart, apart) is plan
