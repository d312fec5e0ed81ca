"""KernelSHAP's regression against the normal equations with a constraint, and exact games."""

from __future__ import annotations

import torch
from helpers import assert_same, noise

from torchattr.methods._perturbation.coalitions import EveryCoalition
from torchattr.methods._perturbation.segments import Segments
from torchattr.methods._perturbation.shapley_regression import shapley_regression
from torchattr.methods.shapley_values import shapley_shares

MEMBERS = torch.ones(1, 5, dtype=torch.bool)


def table(count: int, rows: int = 1) -> torch.Tensor:
    return noise(count, rows, 5) > 0


def test_it_is_the_constrained_least_squares_solution() -> None:
    kept, values = table(30), noise(30, 2, 3, seed=2)
    empty, full = noise(2, 3, seed=3), noise(2, 3, seed=4)
    found = shapley_regression(kept, values, empty, full, MEMBERS)
    z, ones = kept[:, 0].double(), torch.ones(5, 1).double()
    # Lagrange's conditions.
    corner = torch.zeros(1, 1).double()
    system = torch.cat([torch.cat([z.T @ z, ones], 1), torch.cat([ones.T, corner], 1)])
    right = torch.cat([z.T @ (values - empty).flatten(1), (full - empty).reshape(1, -1)])
    expected = torch.linalg.solve(system, right)[:5].reshape(5, 2, 3)
    assert_same(found, expected, 1e-12)


def test_it_finds_an_additive_game_from_enough_coalitions() -> None:
    worth, kept = noise(5, 1, 1), table(20)
    values = (kept.double() @ worth[:, 0]) + 3
    empty = torch.full((1, 1), 3.0).double()
    found = shapley_regression(kept, values, empty, worth.sum(0) + 3, MEMBERS)
    assert_same(found, worth, 1e-12)


def test_too_few_coalitions_give_the_shortest_solution_with_the_right_sum() -> None:
    kept, values = table(2), noise(2, 1, 1)
    empty, full = torch.zeros(1, 1).double(), torch.full((1, 1), 7.0).double()
    found = shapley_regression(kept, values, empty, full, MEMBERS)[:, 0, 0]
    assert_same(found.sum(), torch.tensor(7.0).double(), 1e-12)
    assert_same(kept[:, 0].double() @ found, values[:, 0, 0], 1e-12)
    conditions = torch.cat([kept[:, 0].double(), torch.ones(1, 5).double()])
    shortest = torch.linalg.pinv(conditions) @ torch.cat([values[:, 0, 0], full[0]])
    assert_same(found, shortest, 1e-12)
    none = shapley_regression(kept[:0], values[:0], empty, full, MEMBERS)
    assert_same(none[:, 0, 0], torch.full((5,), 7 / 5, dtype=torch.float64), 1e-12)


def test_each_example_has_its_own_coalitions_and_features() -> None:
    members = torch.tensor([[True] * 5, [True, False, True, True, False]])
    kept, values = table(12, rows=2), noise(12, 2, 1, seed=5)
    empty, full = noise(2, 1, seed=6), noise(2, 1, seed=7)
    found = shapley_regression(kept, values, empty, full, members)
    for row, own in enumerate(members):
        alone = shapley_regression(
            kept[:, row : row + 1, own],
            values[:, row : row + 1],
            empty[row : row + 1],
            full[row : row + 1],
            own[own][None],
        )
        assert_same(found[own, row], alone[:, 0], 1e-12)
        assert not found[~own, row].any()


def test_all_coalitions_weighted_by_the_kernel_give_shapley_values() -> None:
    features = Segments([torch.Size([1, 4])], [torch.arange(4)[None]])
    kept = EveryCoalition(features).kept(0, 16)
    game = noise(16, 1, 1)
    sizes = kept.sum((1, 2))
    # Each coalition as often as its weight, 1 / (C(4, k) k (4 - k)), in units of 1 / 24.
    times = torch.tensor([0, 2, 1, 2, 0])[sizes]
    drawn = kept.repeat_interleave(times, 0)
    found = shapley_regression(
        drawn, game.repeat_interleave(times, 0), game[0], game[15], torch.ones(1, 4) == 1
    )
    assert_same(found[:, 0, 0], shapley_shares(4) @ game[:, 0, 0], 1e-12)
