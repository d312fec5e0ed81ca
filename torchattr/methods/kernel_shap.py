"""KernelSHAP: Shapley values by a regression on the scores of random coalitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Tensors
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods._perturbation.coalitions import Coalitions, ListedCoalitions
from torchattr.methods._perturbation.shapley_regression import shapley_regression
from torchattr.methods.ablation import AblationRun
from torchattr.methods.coalition_attribution import CoalitionAttribution, Game, Scored
from torchattr.methods.registry import register_method


@register_method("kernel_shap")
class KernelShap(CoalitionAttribution):
    """`argmin_φ Σ_z (s(x_∅) + z·φ − s(x_z))²` with `Σ φ = s(x) − s(x_∅)`, over random coalitions z.

    A coalition z of M features has k of them with a probability `∝ 1 / (k (M − k))`, and is one of
    those of its size by chance, which draws it by the Shapley kernel; `x_z` has all other features
    replaced by a baseline. Lundberg and Lee 2017, arXiv:1705.07874. Every element of a feature gets
    the feature's value. The model may be any function: nothing is differentiated.

    The attributions of the features sum to `s(x) − s(x_∅)` exactly. They are random estimates of
    the Shapley values. With fewer coalitions than features they are *not* determined, and the
    shortest solution is returned; a few times as many are the least that is of use.

    >>> import torch, torchattr as ta
    >>> product = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
    >>> x = torch.tensor([[2.0, 3.0, 5.0]])
    >>> values = ta.KernelShap(product).attribute(x, n_samples=200)
    >>> bool((values - ta.ShapleyValues(product).attribute(x)).abs().max() < 0.5)
    True
    """

    def attribute(
        self,
        inputs: Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 1000,
        perturbations_per_eval: int | None = None,
        return_input_shape: bool = True,
        show_progress: bool = False,
        *,
        seed: int | Sequence[int] = 0,
    ) -> Any:
        """Return the attributions, shaped like the inputs.

        The coalitions that an example gets depend on its number of features and the seed alone, so
        that it gets the same attributions in a batch of any size. One that is drawn several times
        is scored once.

        Args:
            inputs: as for :class:`FeatureAblation`.
            baselines: what replaces a feature, as for :class:`FeatureAblation`.
            target: as for :class:`FeatureAblation`.
            additional_forward_args: as for every method.
            feature_mask: as for :class:`FeatureAblation`; for images pass superpixels.
            n_samples: number of coalitions, with that of all features and that of none.
            perturbations_per_eval: maximum number of coalitions in one forward, as for
                :class:`FeatureAblation`.
            return_input_shape: if false, return one value for each feature instead, by the order of
                their numbers: `(N, features)`, or `(N, targets, features)`.
            show_progress: show a progress bar on stderr, with the time that remains.
            seed: seed of the coalitions, 0 or more. All examples share those of one seed; a list
                has one for each example.

        Raises:
            ShapeError: a mask or baseline that does not broadcast to its input.
            InputTypeError: a mask that does not hold integers, or an argument of the wrong type.
            InputError: fewer than two samples, or another argument out of range.
            OutputError: several coalitions at once, or masks or seeds that differ by example, of a
                forward that aggregates the batch, or with inputs of different numbers of rows.
            OutOfMemory: not even one coalition fits.
        """
        count = checked_count(n_samples, "n_samples", least=2)
        game = self._game(inputs, baselines, feature_mask, count, seed)
        run = AblationRun(perturbations_per_eval, show_progress)
        return self._returned(game, target, additional_forward_args, run, return_input_shape)

    def _coalitions(self, game: Game, rows: int) -> Coalitions:
        drawn = game.draws.subsets(game.samples - 2, game.features.members, rows)
        none = torch.zeros(1, *drawn.shape[1:], dtype=torch.bool)
        return ListedCoalitions(game.features, torch.cat([none, drawn]))

    def _solve(self, game: Game, scored: Scored) -> Tensor:
        kept = scored.coalitions.kept(1, len(scored.coalitions))
        values, members = scored.values, game.features.members
        return shapley_regression(kept, values[1:], values[0], scored.clean, members)
