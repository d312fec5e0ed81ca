"""LIME: a weighted linear model of the scores of random coalitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import isgeneratorfunction
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import check_functions
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods._perturbation.coalitions import Coalitions, ListedCoalitions
from torchattr.methods._perturbation.interpretable_model import (
    check_model,
    coefficients,
    default_model,
)
from torchattr.methods._perturbation.similarity import ExponentialKernel
from torchattr.methods.ablation import AblationRun
from torchattr.methods.coalition_attribution import CoalitionAttribution, Game, Scored
from torchattr.methods.registry import register_method

Similarity = Callable[..., "float | Tensor"]
"""From the original, the perturbed input, and the coalition `(1, features)` to a weight."""
CHUNK_ELEMENTS = 2**24
"""Elements of perturbed copies whose similarities are computed at once."""


@register_method("lime")
class Lime(CoalitionAttribution):
    """The coefficients of `argmin_w Σ_z π(x_z) (s(x_z) − w·z − w₀)² + α|w|`, random coalitions z.

    A coalition keeps each feature with probability 1/2, and `x_z` has all others replaced by a
    baseline. `π` weights it by its similarity to the input. Ribeiro, Singh and Guestrin 2016,
    arXiv:1602.04938. Every element of a feature gets the feature's coefficient. The model may be
    any function: nothing is differentiated.

    It is *not* additive: the coefficients need not sum to the score. They are random estimates,
    which depend on how much the linear model is regularised; by default small ones are cut to 0.

    Args:
        interpretable_model: a linear model of scikit-learn, of which a copy is fitted for each
            example; or an object with `fit(data_loader)` and `representation()`.
            `Lasso(alpha=0.01)` by default, which needs scikit-learn (`torchattr[lime]`).
        similarity_func: the weight `π` of a sample, a function of the original inputs, the
            perturbed ones and the coalition `(1, features)`; by default
            `exp(−d² / 2)`, where `d` is one minus the cosine between the inputs.
        perturb_func: draws a coalition `(1, features)` of 0 and 1, or is a generator of them: a
            function of the original inputs. Fair coins by default. Both functions are also given
            `baselines`, `feature_mask` and `num_interp_features` by name.

    >>> import torch, torchattr as ta
    >>> x = torch.tensor([[2.0, 3.0, 5.0]])
    >>> ta.Lime(lambda x: x[:, 0] - 2 * x[:, 2]).attribute(x, n_samples=100).round()
    tensor([[  2.,   0., -10.]])
    """

    def __init__(
        self,
        model: Forward,
        interpretable_model: Any = None,
        similarity_func: Similarity | None = None,
        perturb_func: Callable[..., Any] | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        self._chosen = {
            "interpretable_model": interpretable_model,
            "similarity_func": similarity_func,
            "perturb_func": perturb_func,
        }
        self.interpretable_model = (
            default_model() if interpretable_model is None else interpretable_model
        )
        check_model(self.interpretable_model)
        check_functions(similarity_func=similarity_func, perturb_func=perturb_func)
        self.similarity_func = similarity_func or ExponentialKernel()
        self.perturb_func = perturb_func

    def _settings(self) -> dict[str, Any]:
        return {**self._chosen, **super()._settings()}

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
            n_samples: number of coalitions.
            perturbations_per_eval: maximum number of coalitions in one forward, as for
                :class:`FeatureAblation`.
            return_input_shape: if false, return one value for each feature instead, by the order of
                their numbers: `(N, features)`, or `(N, targets, features)`.
            show_progress: show a progress bar on stderr, with the time that remains.
            seed: seed of the coalitions, as for :class:`KernelShap`; a `perturb_func` ignores it.

        Raises:
            ShapeError: a mask or baseline that does not broadcast to its input.
            InputTypeError: a mask that does not hold integers, or an argument of the wrong type.
            InputError: an argument out of range, or a `perturb_func` that draws no coalition.
            OutputError: several coalitions at once, or masks or seeds that differ by example, of a
                forward that aggregates the batch, or with inputs of different numbers of rows.
            OutOfMemory: not even one coalition fits.
        """
        count = checked_count(n_samples, "n_samples")
        game = self._game(inputs, baselines, feature_mask, count, seed)
        run = AblationRun(perturbations_per_eval, show_progress)
        return self._returned(game, target, additional_forward_args, run, return_input_shape)

    def _coalitions(self, game: Game, rows: int) -> Coalitions:
        if self.perturb_func is None:
            table = game.draws.coins(game.samples, game.features.members, rows)
        else:
            drawn = [self._drawn(game, row, self.perturb_func) for row in _row_slices(game, rows)]
            least = min(map(len, drawn))
            table = torch.stack([samples[:least] for samples in drawn], 1)
        return ListedCoalitions(game.features, table)

    def _drawn(self, game: Game, row: slice, perturb: Callable[..., Any]) -> Tensor:
        """Return the coalitions that `perturb_func` draws for some rows, `(samples, features)`."""
        inputs, options = game.of_rows(row)
        calls = (
            perturb(inputs, **options)
            if isgeneratorfunction(perturb)
            else (perturb(inputs, **options) for _ in range(game.samples))
        )
        samples = [_coalition(drawn, len(game.features)) for drawn in islice(calls, game.samples)]
        if not samples:
            raise InputError("perturb_func drew no coalition; let it yield n_samples of them")
        return torch.stack(samples)

    def _solve(self, game: Game, scored: Scored) -> Tensor:
        values = scored.values
        weights = self._weights(game, scored).to(values)
        kept = scored.coalitions.kept(0, len(scored.coalitions)).to(values)
        found = [
            coefficients(
                self.interpretable_model,
                kept[:, row % kept.shape[1]],
                values[:, row, target],
                weights[:, row],
            ).reshape(-1)
            for row in range(values.shape[1])
            for target in range(values.shape[2])
        ]
        return torch.stack(found, 1).reshape(-1, *values.shape[1:])

    def _weights(self, game: Game, scored: Scored) -> Tensor:
        """Return the similarity of each coalition's copies to the inputs, `(coalitions, rows)`."""
        rows, different = scored.values.shape[1], scored.different
        elements = sum(tensor.numel() for tensor in game.inputs.tensors)
        size = max(CHUNK_ELEMENTS // max(elements, 1), 1)
        found = [
            self._similarities(game, different, start, min(start + size, len(different)), rows)
            for start in range(0, len(different), size)
        ]
        return torch.cat(found)[scored.which.to(found[0].device)]

    def _similarities(
        self, game: Game, coalitions: Coalitions, start: int, stop: int, rows: int
    ) -> Tensor:
        copies = game.perturbation(coalitions).perturbed(start, stop)
        if isinstance(self.similarity_func, ExponentialKernel):
            return self.similarity_func.of_copies(game.inputs.tensors, copies, rows)
        kept = coalitions.kept(start, stop)
        blocks = [copy.unflatten(0, (stop - start, -1)) for copy in copies]
        found = torch.empty(stop - start, rows)
        for number, row in enumerate(_row_slices(game, rows)):
            inputs, options = game.of_rows(row)
            for copy in range(stop - start):
                perturbed = game.inputs.restore([block[copy][row] for block in blocks])
                sample = kept[copy, number % kept.shape[1]].long()[None]
                found[copy, number] = float(
                    self.similarity_func(inputs, perturbed, sample, **options)
                )
        return found


def _row_slices(game: Game, rows: int) -> list[slice]:
    """Return the rows of the batch that have a row of scores of their own."""
    if rows != game.inputs.batch_size:
        return [slice(None)] * rows
    return [slice(row, row + 1) for row in range(rows)]


def _coalition(drawn: Any, features: int) -> Tensor:
    """Return a coalition that `perturb_func` drew, `(features,)`.

    Raises:
        InputTypeError: it is no tensor.
        InputError: it does not hold a 0 or 1 for each feature.
    """
    if not isinstance(drawn, Tensor):
        raise InputTypeError(
            f"perturb_func must draw a tensor (1, {features}), got {type(drawn).__name__}"
        )
    flat = drawn.detach().reshape(-1).cpu()
    if len(flat) != features or not bool(((flat == 0) | (flat == 1)).all()):
        raise InputError(
            f"perturb_func must draw a 0 or 1 for each of the {features} features, got a tensor of"
            f" shape {tuple(drawn.shape)}; for other samples use LimeBase"
        )
    return flat == 1
