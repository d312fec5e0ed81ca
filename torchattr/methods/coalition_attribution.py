"""The base of the methods that score coalitions of features: Shapley values, KernelSHAP, LIME."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_baselines, as_inputs
from torchattr.core.rounding import in_single
from torchattr.core.warn import warn
from torchattr.errors import Hint, TorchattrWarning, WayOut
from torchattr.methods._perturbation.checked import checked_seeds
from torchattr.methods._perturbation.coalition_draws import CoalitionDraws, SeededDraws
from torchattr.methods._perturbation.coalitions import Coalitions
from torchattr.methods._perturbation.perturbation import Baseline, Perturbation
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods._perturbation.segments import Segments, as_segments
from torchattr.methods.ablation import Ablation, AblationRun, of_no_example

MANY_FEATURES = 5000
"""More features than these, without a mask, are warned of."""

_SUPERPIXELS = WayOut(
    "pass superpixels with {setting}, or squares: torchattr.evaluate.blocks(inputs, 16)",
    "feature_mask",
)


@dataclass(frozen=True)
class Game:
    """What a call explains: inputs, what replaces their features, and the features.

    Attributes:
        inputs: the batch.
        baselines: for each input a number or a tensor that broadcasts to it.
        features: the features, which join and leave coalitions.
        samples: number of orders or coalitions to draw; 0 if none are drawn.
        draws: draws them.
    """

    inputs: Inputs
    baselines: Sequence[Baseline]
    features: Segments
    samples: int
    draws: CoalitionDraws

    def perturbation(self, coalitions: Coalitions) -> Perturbation:
        """Return the copies of the inputs that keep these coalitions."""
        return Perturbation(self.inputs, self.baselines, coalitions)

    def of_rows(self, rows: slice) -> tuple[Any, dict[str, Any]]:
        """Return some rows of the inputs in the user's form, and what describes their features."""
        inputs = self.inputs.restore([tensor[rows] for tensor in self.inputs.tensors])
        baselines = [
            _of_rows(baseline, tensor, rows)
            for baseline, tensor in zip(self.baselines, self.inputs.tensors, strict=True)
        ]
        numbers = self.features.of_elements(torch.arange(len(self.features))[None, None])
        masks = [mask[rows] if len(mask) > 1 else mask for (mask,) in numbers]
        return inputs, {
            "baselines": self.inputs.restore(baselines),
            "feature_mask": self.inputs.restore(masks),
            "num_interp_features": len(self.features),
        }


@dataclass(frozen=True)
class Scored:
    """The scores of coalitions.

    Attributes:
        coalitions: the coalitions.
        different: those that differ from each other.
        which: the number among those of each coalition.
        values: their scores, `(coalitions, rows, targets)`, floating.
        clean: the scores of the unperturbed inputs, `(rows, targets)`, floating.
    """

    coalitions: Coalitions
    different: Coalitions
    which: Tensor
    values: Tensor
    clean: Tensor


class CoalitionAttribution(Ablation):
    """A method that keeps coalitions of features, and replaces all others."""

    @abstractmethod
    def _coalitions(self, game: Game, rows: int) -> Coalitions:
        """Return the coalitions to score.

        Args:
            game: the call.
            rows: number of examples whose scores are their own; 1 if the forward aggregates them.
        """

    @abstractmethod
    def _solve(self, game: Game, scored: Scored) -> Tensor:
        """Return the attribution of each feature, `(features, rows, targets)`."""

    def _draws(self, seed: Any, inputs: Inputs) -> CoalitionDraws:
        return SeededDraws(checked_seeds(seed, inputs))

    def _game(
        self, inputs: Any, baselines: Any, feature_mask: Any, samples: int, seed: Any
    ) -> Game:
        """Check the arguments that these methods share."""
        given = as_inputs(inputs, differentiable=False, aligned=False)
        replacing, features = as_baselines(baselines, given), as_segments(given, feature_mask)
        if feature_mask is None and len(features) > MANY_FEATURES:
            warn(
                f"{self.title}: each of the {len(features)} elements of the input is a feature by"
                " itself, which takes very long and says little of any of them",
                TorchattrWarning,
                hint=Hint(ways_out=[_SUPERPIXELS]),
            )
        return Game(given, replacing, features, samples, self._draws(seed, given))

    def _attribute(
        self, game: Game, target: Any, additional_forward_args: Any, run: AblationRun
    ) -> Any:
        """Return the attributions, shaped like the inputs."""
        if not any(map(len, game.inputs.tensors)):
            return game.inputs.restore(of_no_example(game.features, game.inputs, target))
        effects, scores = self._coefficients(game, target, additional_forward_args, run)
        return game.inputs.restore(self._in_form(game.features.to_elements(effects), scores))

    def _returned(
        self,
        game: Game,
        target: Any,
        additional_forward_args: Any,
        run: AblationRun,
        in_input_shape: bool,
    ) -> Any:
        """Return the attributions shaped like the inputs, or one for each feature."""
        if in_input_shape:
            return self._attribute(game, target, additional_forward_args, run)
        if not any(map(len, game.inputs.tensors)):
            return torch.zeros(0, len(game.features))
        effects, scores = self._coefficients(game, target, additional_forward_args, run)
        return self._in_form([effects.movedim(0, -1)], scores)[0]

    def _coefficients(
        self, game: Game, target: Any, additional_forward_args: Any, run: AblationRun
    ) -> tuple[Tensor, TargetScores]:
        """Return the attribution of each feature, `(features, rows, targets)`, and the scores."""
        scores, _ = self._clean(
            game.inputs, target, additional_forward_args, replace(run, incremental=False)
        )
        coalitions = self._coalitions(game, len(scores.clean) if scores.per_example else 1)
        scored = self._scored(game, coalitions, scores, run)
        return self._solve(game, scored).to(_floating(scores.clean.dtype)), scores

    def _scored(
        self, game: Game, coalitions: Coalitions, scores: TargetScores, run: AblationRun
    ) -> Scored:
        """Score coalitions, each different one once."""
        different, which = coalitions.distinct()
        whole = replace(run, incremental=False)
        values = in_single(self._values(game.perturbation(different), scores, whole, None))
        each = values[which.to(values.device)]
        return Scored(coalitions, different, which, each, in_single(scores.clean))


def _of_rows(baseline: Baseline, tensor: Tensor, rows: slice) -> Baseline:
    """Return some rows of a baseline, if it has one for each example."""
    if not isinstance(baseline, Tensor) or baseline.dim() < tensor.dim() or len(baseline) == 1:
        return baseline
    return baseline[rows]


def _floating(kind: torch.dtype) -> torch.dtype:
    return kind if kind.is_floating_point else torch.get_default_dtype()
