"""Shapley values from random orders of the features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.rounding import in_single
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Tensors, TensorsT
from torchattr.incremental import Mode, Recomputed
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods._perturbation.coalitions import Coalitions, OrderedCoalitions
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods._perturbation.walk import scores_on_walk
from torchattr.methods.ablation import AblationRun
from torchattr.methods.coalition_attribution import CoalitionAttribution, Game, Scored
from torchattr.methods.registry import register_method


@register_method("shapley_value_sampling")
class ShapleyValueSampling(CoalitionAttribution):
    """The mean gain when a feature joins those before it, `E_π[s(x_{P∪f}) − s(x_P)]`.

    In each random order π the features join one after another; `P` are those before `f`, and
    `x_P` has all others replaced by a baseline. Castro, Gómez and Tejada 2009,
    doi:10.1016/j.cor.2008.04.004; Štrumbelj and Kononenko 2010. Every element of a feature gets the
    feature's value. The model may be any function: nothing is differentiated.

    The attributions of the features sum to `s(x) − s(baseline)` in each order, and so exactly. Each
    is a random estimate of the feature's Shapley value, whose error falls with the square root of
    the number of orders. It is *not* the effect of removing the feature from the whole input, which
    is that of :class:`FeatureAblation`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> x, zeros = torch.ones(3, 4), torch.zeros(1, 4)
    >>> values = ta.ShapleyValueSampling(model).attribute(x, target=1)
    >>> torch.allclose(values.sum(1), (model(x) - model(zeros))[:, 1], atol=1e-5)
    True
    """

    def attribute(
        self,
        inputs: TensorsT,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        seed: int | Sequence[int] = 0,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
    ) -> TensorsT:
        """Return the attributions, shaped like the inputs.

        The orders that an example gets depend on its number of features and the seed alone, so that
        it gets the same attributions in a batch of any size. A coalition that occurs in several
        orders is scored once.

        Args:
            inputs: as for :class:`FeatureAblation`.
            baselines: what replaces a feature, as for :class:`FeatureAblation`.
            target: as for :class:`FeatureAblation`.
            additional_forward_args: as for every method.
            feature_mask: as for :class:`FeatureAblation`; for images pass superpixels, since each
                order takes as many forwards as there are features.
            n_samples: number of orders.
            perturbations_per_eval: maximum number of coalitions in one forward, as for
                :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr, with the time that remains.
            seed: seed of the orders, 0 or more. All examples share the orders of one seed; a list
                has one for each example.
            incremental: as for :class:`FeatureAblation`: recompute only what the feature that joins
                can reach.
            report: as for :class:`FeatureAblation`.

        Raises:
            ShapeError: a mask or baseline that does not broadcast to its input.
            InputTypeError: a mask that does not hold integers, or an argument of the wrong type.
            InputError: an argument out of range.
            OutputError: several coalitions at once, or masks or seeds that differ by example, of a
                forward that aggregates the batch, or with inputs of different numbers of rows.
            OutOfMemory: not even one coalition fits.
        """
        count = checked_count(n_samples, "n_samples")
        game = self._game(inputs, baselines, feature_mask, count, seed)
        run = AblationRun(perturbations_per_eval, show_progress, incremental, report)
        return self._attribute(game, target, additional_forward_args, run)

    def _coalitions(self, game: Game, rows: int) -> Coalitions:
        ranks = game.draws.orders(game.samples, game.features.members, rows)
        return OrderedCoalitions(game.features, ranks)

    def _scored(
        self, game: Game, coalitions: Coalitions, scores: TargetScores, run: AblationRun
    ) -> Scored:
        """Score coalitions on a walk through the orders, unless few of them differ."""
        ordered = _ordered(coalitions)
        different, which = ordered.distinct()
        if run.incremental == "auto" and 2 * len(different) < len(coalitions):
            return super()._scored(game, coalitions, scores, run)
        title = self._progress_title if run.progress else None
        with tqdm(total=len(coalitions), desc=title, disable=title is None) as bar:
            perturbation = game.perturbation(coalitions)
            values, recomputed = scores_on_walk(ordered, perturbation, scores, run.incremental, bar)
            bar.leave = values is not None  # Whole copies have a bar of their own.
        if values is None:
            quiet = replace(run, report=None)
            scored = super()._scored(game, coalitions, scores, quiet)
        else:
            clean = in_single(scores.clean)
            scored = Scored(coalitions, different, which, in_single(values), clean)
        if run.report:
            run.report(recomputed)
        return scored

    def _solve(self, game: Game, scored: Scored) -> Tensor:
        return mean_gains(_ordered(scored.coalitions).ranks, scored.values, scored.clean)


def _ordered(coalitions: Coalitions) -> OrderedCoalitions:
    if not isinstance(coalitions, OrderedCoalitions):
        raise TypeError(f"orders are needed, got {type(coalitions).__name__}")
    return coalitions


def mean_gains(ranks: Tensor, values: Tensor, clean: Tensor) -> Tensor:
    """Return the mean gain of each feature when it joins, `(features, rows, targets)`.

    Args:
        ranks: the position of each feature in each order, `(orders, N or 1, features)`.
        values: the scores before each feature joins, `(orders · features, rows, targets)`.
        clean: the scores after the last one joined, `(rows, targets)`.
    """
    orders, _, features = ranks.shape
    before = values.reshape(orders, features, *clean.shape)
    gains = torch.cat([before[:, 1:], clean.expand(orders, 1, *clean.shape)], 1) - before
    joined = ranks.to(values.device).transpose(1, 2).unsqueeze(-1)
    return gains.gather(1, joined.expand_as(gains)).mean(0)
