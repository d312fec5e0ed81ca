"""How an explanation changes near an input, by several measures from the same perturbed copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments
from torchattr.core.types import Layers
from torchattr.errors import InputError
from torchattr.evaluate.explained_copies import Explanations
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.model_values import ModelValues
from torchattr.evaluate.neighbours import Neighbours
from torchattr.methods import Attribution, default_layer, in_batches


@dataclass(frozen=True)
class Perturbed:
    """Values of a batch, and of perturbed copies of it.

    Attributes:
        clean: of the batch, `(N, elements)`.
        changed: of the copies, `(copies, N, elements)`.
    """

    clean: Tensor
    changed: Tensor

    def change(self) -> Tensor:
        """Return what the perturbation adds."""
        return self.changed - self.clean

    def share(self, least: float) -> Tensor:
        """Return the change as a share of each value; a value of 0 counts as `least`."""
        return self.change() / self.clean.where(self.clean != 0, least)


@dataclass(frozen=True)
class ExplanationChange:
    """What some perturbed copies of a batch change.

    Attributes:
        maps: the explanations.
        inputs: the inputs.
        scores: the scores of the model, if it was run.
        values: the values of its layers, if they were read.
        order: the order of the norm of explanations.
        other_order: the order of the norm of what they are compared with.
        least: the least denominator.
    """

    maps: Perturbed
    inputs: Perturbed
    scores: Perturbed | None
    values: Perturbed | None
    order: float
    other_order: float
    least: float

    def relative_to(self, denominators: Tensor) -> Tensor:
        """Return `‖ΔΦ/Φ‖ / max(‖denominator‖, least)`, `(copies, N)`."""
        sizes = _norm(denominators, self.other_order).clamp(min=self.least)
        return _norm(self.maps.share(self.least), self.order) / sizes.to(self.maps.clean.dtype)

    def kept(self) -> Tensor:
        """Whether each copy has the predicted class of its example, `(copies, N)`."""
        scores = _given(self.scores)
        return scores.changed.argmax(-1) == scores.clean.argmax(-1)


@dataclass(frozen=True)
class Measure:
    """A ratio for each perturbed copy, and the statistic of these that counts.

    Attributes:
        ratios: returns the ratios `(copies, N)`, NaN for copies that do not count.
        mean: whether the mean counts; otherwise the largest does.
        only_kept: whether copies count by default only if their predicted class is the batch's.
        of_scores: whether the model's scores are needed.
        of_layers: whether the values of its layers are.
    """

    ratios: Callable[[ExplanationChange], Tensor]
    mean: bool = False
    only_kept: bool = False
    of_scores: bool = False
    of_layers: bool = False

    def keeps(self, asked: bool | None) -> bool:
        """Whether only copies of the same predicted class count."""
        return self.only_kept if asked is None else asked

    def of(self, change: ExplanationChange, asked: bool | None) -> Tensor:
        """Return the ratios, NaN for copies that do not count."""
        ratios = self.ratios(change)
        return ratios.masked_fill(~change.kept(), torch.nan) if self.keeps(asked) else ratios

    def reduced(self, ratios: Tensor, name: str, asked: bool | None) -> Tensor:
        """Return the statistic over the copies, NaN with a warning where none counts."""
        largest = ratios.nan_to_num(nan=-torch.inf, posinf=torch.inf).amax(0)
        found = ratios.nanmean(0) if self.mean else largest
        counts = ~ratios.isnan().all(0)
        changed = "every perturbation changes the predicted class"
        because = changed if self.keeps(asked) else "no perturbation changes the input"
        return undefined(found, counts, name, because)


def _sensitivity(change: ExplanationChange) -> Tensor:
    scale = _norm(change.maps.clean, change.order)
    return _norm(change.maps.change(), change.order) / scale.where(scale != 0, 1)


def _slope(change: ExplanationChange) -> Tensor:
    distances = _norm(change.inputs.change(), change.other_order)
    sizes = _norm(change.maps.change(), change.order)
    return sizes / distances.where(distances != 0, torch.nan).to(sizes.dtype)


def _to_inputs(change: ExplanationChange) -> Tensor:
    return change.relative_to(change.inputs.share(change.least))


def _to_scores(change: ExplanationChange) -> Tensor:
    return change.relative_to(_given(change.scores).change())


def _to_values(change: ExplanationChange) -> Tensor:
    return change.relative_to(_given(change.values).share(change.least))


MEASURES: Mapping[str, Measure] = {
    "sensitivity_max": Measure(_sensitivity),
    "sensitivity_average": Measure(_sensitivity, mean=True),
    "local_lipschitz": Measure(_slope),
    "relative_input_stability": Measure(_to_inputs, only_kept=True),
    "relative_output_stability": Measure(_to_scores, only_kept=True, of_scores=True),
    "relative_representation_stability": Measure(_to_values, only_kept=True, of_layers=True),
}
"""The measures by name."""


@dataclass(frozen=True)
class ComparisonOptions:
    """The options of all measures that compare explanations.

    Attributes:
        order: the order of the norm of explanations.
        other_order: the order of the norm of what they are compared with.
        least: the least denominator of relative changes.
        only_kept: whether only copies of the same predicted class count; `None` leaves it to each
            measure.
    """

    order: float = 2.0
    other_order: float = 2.0
    least: float = 1e-6
    only_kept: bool | None = None


def measured(
    names: Sequence[str],
    explanations: Explanations,
    inputs: Inputs,
    perturbed: Neighbours,
    n_samples: int,
    comparison: ComparisonOptions,
    observed: ModelValues | None,
) -> dict[str, dict[str, Tensor]]:
    """Return for each explanation the measures by name, `(N,)` each.

    Args:
        names: of the measures.
        explanations: what is measured.
        inputs: the batch.
        perturbed: returns perturbed copies of it.
        n_samples: number of copies.
        comparison: options of the measures.
        observed: the model, if a measure needs it.
    """
    clean = _Values(explanations.clean(), _flat(inputs.tensors, 1, inputs)[0])
    if observed is not None:
        scores, values = observed.of(inputs.tensors, 1)
        clean = _Values(clean.maps, clean.inputs, scores[0], None if values is None else values[0])

    def ratios(start: int, stop: int) -> dict[tuple[str, str], Tensor]:
        copies = stop - start
        rows = perturbed(start, stop)
        maps = explanations.of(rows, copies)
        scores, values = (None, None) if observed is None else observed.of(rows, copies)
        changed = _Values(maps, _flat(rows, copies, inputs), scores, values)
        return {
            (explanation, name): MEASURES[name].of(
                clean.to(changed, explanation, comparison), comparison.only_kept
            )
            for explanation in maps
            for name in names
        }

    parts = list(in_batches(n_samples, explanations.at_once, ratios, "sample"))
    return {
        explanation: {
            name: MEASURES[name].reduced(
                torch.cat([part[explanation, name] for part in parts]), name, comparison.only_kept
            )
            for name in names
        }
        for explanation in clean.maps
    }


@dataclass(frozen=True)
class _Values:
    """Explanations by name, inputs, scores and values of layers of a batch or of its copies."""

    maps: Mapping[str, Tensor]
    inputs: Tensor
    scores: Tensor | None = None
    values: Tensor | None = None

    def to(
        self, changed: _Values, explanation: str, comparison: ComparisonOptions
    ) -> ExplanationChange:
        """Return the change of one explanation from these to those of the copies."""
        return ExplanationChange(
            Perturbed(self.maps[explanation], changed.maps[explanation]),
            Perturbed(self.inputs, changed.inputs),
            _pair(self.scores, changed.scores),
            _pair(self.values, changed.values),
            comparison.order,
            comparison.other_order,
            comparison.least,
        )


def observed_model(
    names: Sequence[str],
    explanations: Explanations,
    inputs: Inputs,
    model: Any,
    layer: Layers | None,
    options: Mapping[str, Any],
    only_kept: bool | None,
) -> ModelValues | None:
    """Return the model that measures need, if any of them needs one.

    Args:
        names: of the measures.
        explanations: what is measured, whose model is the default.
        inputs: the batch.
        model: the user's.
        layer: the layers whose values are read; `None` is the last spatial one.
        options: of the explanations.
        only_kept: see :class:`ComparisonOptions`.

    Raises:
        InputError: no model is given, and the explanations are not methods of a single one.
    """
    needed = [MEASURES[name] for name in names]
    if not any(one.of_scores or one.of_layers or one.keeps(only_kept) for one in needed):
        return None
    method = _only_method(explanations) if model is None else None
    run: Any = model if method is None else method.model
    key = None if method is None else method.output
    arguments = as_arguments(options.get("additional_forward_args"))
    if not any(one.of_layers for one in needed):
        layer = None
    elif layer is None:
        layer = default_layer(run, inputs, arguments, key)[1]
    return ModelValues(run, inputs, arguments, key, layer)


def _only_method(explanations: Explanations) -> Attribution:
    """Return a method, all of whose fellows explain the same output of the same model."""
    methods = explanations.methods
    if len({(id(method.model), method.output) for method in methods}) != 1:
        raise InputError(
            "what a perturbation does to the prediction or to a layer is a question to a model, and"
            f" explanation holds methods of {len({id(one.model) for one in methods})} models; pass"
            " the model with model=..."
        )
    return methods[0]


def _flat(tensors: Sequence[Tensor], copies: int, inputs: Inputs) -> Tensor:
    rows = [tensor.detach().reshape(copies, inputs.batch_size, -1) for tensor in tensors]
    return torch.cat(rows, dim=2)


def _pair(clean: Tensor | None, changed: Tensor | None) -> Perturbed | None:
    return None if clean is None or changed is None else Perturbed(clean, changed)


def _given(pair: Perturbed | None) -> Perturbed:
    if pair is None:
        raise InputError("the model was not run, whose values this measure needs; pass model=...")
    return pair


def _norm(values: Tensor, order: float) -> Tensor:
    return torch.linalg.vector_norm(values, order, dim=-1)
