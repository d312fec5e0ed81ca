"""Exact Shapley values, from all coalitions of the features."""

from __future__ import annotations

from math import comb
from typing import Any

import torch
from torch import Tensor

from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Tensors, TensorsT
from torchattr.errors import InputError
from torchattr.methods._perturbation.coalitions import Coalitions, EveryCoalition
from torchattr.methods.ablation import AblationRun
from torchattr.methods.coalition_attribution import CoalitionAttribution, Game, Scored
from torchattr.methods.registry import register_method

MOST_FEATURES = 20
"""Beyond that there are more than a million coalitions."""


@register_method("shapley_values")
class ShapleyValues(CoalitionAttribution):
    """`Σ_S |S|! (M − |S| − 1)! / M! · (s(x_{S∪f}) − s(x_S))`, over all coalitions S without f.

    That is the mean gain when f joins, over all orders of the M features; `x_S` has all features
    outside S replaced by a baseline. Shapley 1953, doi:10.1515/9781400881970-018. Every element of
    a feature gets the feature's value. The model may be any function: nothing is differentiated.

    It is exact, and takes `2^M` forwards, one for each coalition, not one for each member of each
    of the M! orders. The attributions of the features sum to `s(x) − s(baseline)`. It is *not*
    meant for pixels: pass a `feature_mask` of few features, or take :class:`ShapleyValueSampling`.

    >>> import torch, torchattr as ta
    >>> product = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
    >>> ta.ShapleyValues(product).attribute(torch.tensor([[2.0, 3.0, 5.0]]))
    tensor([[3., 3., 5.]])
    """

    def attribute(
        self,
        inputs: TensorsT,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
    ) -> TensorsT:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for :class:`FeatureAblation`.
            baselines: what replaces a feature, as for :class:`FeatureAblation`.
            target: as for :class:`FeatureAblation`.
            additional_forward_args: as for every method.
            feature_mask: as for :class:`FeatureAblation`, with at most 20 features.
            perturbations_per_eval: maximum number of coalitions in one forward, as for
                :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr, with the time that remains.

        Raises:
            InputError: more than 20 features.
            ShapeError: a mask or baseline that does not broadcast to its input.
            InputTypeError: a mask that does not hold integers.
            OutputError: several coalitions at once, or masks that differ by example, of a forward
                that aggregates the batch, or with inputs of different numbers of rows.
            OutOfMemory: not even one coalition fits.
        """
        game = self._game(inputs, baselines, feature_mask, 0, 0)
        _check_few(len(game.features))
        run = AblationRun(perturbations_per_eval, show_progress)
        return self._attribute(game, target, additional_forward_args, run)

    def _coalitions(self, game: Game, rows: int) -> Coalitions:
        return EveryCoalition(game.features)

    def _solve(self, game: Game, scored: Scored) -> Tensor:
        values = scored.values
        shares = shapley_shares(len(game.features)).to(values.device, values.dtype)
        return (shares @ values.flatten(1)).reshape(-1, *values.shape[1:])


def shapley_shares(features: int) -> Tensor:
    """Return with which factor the score of each coalition counts for each feature.

    Returns:
        `(features, 2^features)` in float64; bit `f` of a coalition's number is feature `f`.

    >>> shapley_shares(2).tolist()
    [[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]]
    """
    joins = [1 / (features * comb(features - 1, size)) for size in range(features)]
    numbers = torch.arange(1 << features)
    kept = (numbers >> torch.arange(features)[:, None]) & 1 == 1
    sizes = kept.sum(0)
    padded = torch.tensor([0.0, *joins, 0.0], dtype=torch.float64)
    return torch.where(kept, padded[sizes], -padded[sizes + 1])


def _check_few(features: int) -> None:
    if features > MOST_FEATURES:
        raise InputError(
            f"{features} features have 2**{features} coalitions, of which each takes a forward;"
            f" pass a feature_mask with at most {MOST_FEATURES}, or use ShapleyValueSampling"
        )
