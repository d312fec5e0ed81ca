"""Figures of benchmarks."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from torchattr.evaluate.bootstrap import bootstrap_interval
from torchattr.evaluate.ground_truth.figures import plot_agreement, plot_matrix, plot_ranks


def test_ranks_are_drawn_from_the_best_on_top() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(20, 3, generator=generator) + torch.tensor([2.0, 0.0, 1.0])
    axes = plot_ranks(["a", "b", "(random)"], bootstrap_interval(values))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b", "(random)", "a"]
    assert axes.get_xlabel() == "mean rank, 1 is the best"
    colors = [line.get_color() for line in axes.lines if line.get_marker() == "o"]
    assert colors == ["tab:blue", "0.6", "tab:blue"]


def test_a_heat_map_has_its_numbers_and_leaves_nan_empty() -> None:
    values = torch.tensor([[1.0, -0.5], [torch.nan, 0.0]])
    axes = plot_agreement(["mass", "auc"], values)
    assert [text.get_text() for text in axes.texts] == ["1.00", "-0.50", "0.00"]
    assert [text.get_color() for text in axes.texts] == ["white", "0.15", "0.15"]


def test_axes_of_ones_own() -> None:
    axes = Figure().add_subplot()
    drawn = plot_matrix(["a"], ["b"], torch.tensor([[0.9]]), (2, 2), ("Blues", 0, 1), axes)
    assert drawn is axes
    assert axes.texts[0].get_color() == "white"
