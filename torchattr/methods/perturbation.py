"""The engine of the black-box methods: replace features, run the model, compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr._types import Forward, OutputKey
from torchattr.errors import InputError, InputTypeError
from torchattr.inputs import Inputs, as_arguments
from torchattr.methods.batching import fitting, in_batches
from torchattr.methods.features import Features, Masks
from torchattr.methods.scores import NotPerExample, Scores
from torchattr.targets import Classes, TopK

Baseline = Tensor | int | float


class Perturbation:
    """Measures the target's value when parts of the inputs are replaced.

    Args:
        inputs: the batch.
        baselines: what replaces them, for each input a number or a tensor that broadcasts to it.
        masks: what is replaced in each copy.
    """

    def __init__(self, inputs: Inputs, baselines: Sequence[Baseline], masks: Masks) -> None:
        self.inputs = inputs
        self._baselines = [
            _fitted(baseline, tensor)
            for baseline, tensor in zip(baselines, inputs.tensors, strict=True)
        ]
        self.masks = masks

    def perturbed(self, start: int, stop: int) -> list[Tensor]:
        """Give copies of the inputs, each with what one of the masks says replaced.

        Returns:
            for each input `((stop - start) · N, ...)`, copy after copy.
        """
        masks = self.masks.masks(start, stop)
        return [
            _replaced(tensor, baseline, mask, stop - start)
            for tensor, baseline, mask in zip(
                self.inputs.tensors, self._baselines, masks, strict=True
            )
        ]

    def values(self, scores: Scores, size: int, progress: tqdm) -> Tensor:
        """Give the values of the perturbed copies, `(masks, rows, targets)`.

        Args:
            scores: what is measured.
            size: how many copies at once, at most.
            progress: told about each copy.
        """

        def evaluate(start: int, stop: int) -> Tensor:
            found = scores.of(self.perturbed(start, stop), stop - start)
            progress.update(stop - start)
            return found

        parts = list(in_batches(len(self.masks), size, evaluate, "perturbed copy"))
        return torch.cat(parts) if parts else scores.clean.new_zeros(0, *scores.clean.shape)


def attribute_features(
    model: Forward,
    inputs: Inputs,
    baselines: Sequence[Baseline],
    features: Features,
    target: Any,
    additional_forward_args: Any,
    *,
    key: OutputKey,
    at_once: int | None,
    progress: str | None,
) -> Any:
    """Replace features one after another, and give what they are worth in the form of the inputs.

    Args:
        model: the module or function to run.
        inputs: the batch.
        baselines: what replaces them, as for :class:`Perturbation`.
        features: what is replaced.
        target: as for every method.
        additional_forward_args: likewise.
        key: which entry of the model's output holds the scores.
        at_once: how many features to replace in one forward; `None` chooses.
        progress: the title of a progress bar, if one is wanted.
    """
    check_at_once(at_once)
    perturbation = Perturbation(inputs, baselines, features)
    if inputs.batch_size == 0:
        return inputs.restore(_of_no_example(features, inputs, target))
    scores = Scores(model, inputs, target, as_arguments(additional_forward_args), key)
    if features.per_example:
        _need_per_example(scores)
    values = measure(perturbation, scores, at_once=at_once, progress=progress)
    spread = features.spread(features.worth(scores.clean, values))
    return inputs.restore(spread if scores.several else [part[:, 0] for part in spread])


def measure(
    perturbation: Perturbation, scores: Scores, *, at_once: int | None, progress: str | None
) -> Tensor:
    """Give the values of all perturbed copies, `(masks, rows, targets)`.

    How many are run at once is chosen unless said; a forward that aggregates is given one copy
    at a time.

    Args:
        perturbation: what is done to which inputs.
        scores: what is measured.
        at_once: how many copies in one forward; `None` chooses.
        progress: the title of a progress bar, if one is wanted.
    """
    with tqdm(total=len(perturbation.masks), desc=progress, disable=progress is None) as bar:
        try:
            if not scores.per_example and (at_once or 1) > 1:
                raise NotPerExample("the model's output does not hold one row for each example")
            return perturbation.values(scores, at_once or _chosen(scores, perturbation.inputs), bar)
        except NotPerExample as error:
            if at_once is None:
                return perturbation.values(scores, 1, bar)
            raise NotPerExample(
                f"perturbations_per_eval={at_once} is not possible: {error}. Such a forward can be"
                " given one perturbation at a time only; pass perturbations_per_eval=1 or None"
            ) from None


def check_at_once(perturbations_per_eval: Any) -> None:
    """Check how many perturbations are asked for in one forward.

    Raises:
        InputTypeError: not an int.
        InputError: less than 1.
    """
    if perturbations_per_eval is None:
        return
    if not isinstance(perturbations_per_eval, int) or isinstance(perturbations_per_eval, bool):
        raise InputTypeError(
            "perturbations_per_eval must be an int, or None for as many as memory allows, got"
            f" {type(perturbations_per_eval).__name__}"
        )
    if perturbations_per_eval < 1:
        raise InputError(
            f"perturbations_per_eval must be at least 1, got {perturbations_per_eval}; pass None"
            " for as many as memory allows"
        )


def _chosen(scores: Scores, inputs: Inputs) -> int:
    if not scores.repeatable:
        return 1
    footprint = scores.footprint
    device = inputs.tensors[0].device
    return fitting(footprint.bytes, footprint, inputs.batch_size, device)


def _need_per_example(scores: Scores) -> None:
    if not scores.per_example:
        raise NotPerExample(
            "feature_mask has different features for each example, but the model gives"
            f" {len(scores.clean)} values for the whole batch; pass one mask for all, (1, ...)"
        )


def _fitted(baseline: Baseline, tensor: Tensor) -> Tensor:
    """Give a baseline of the input's own type; only an integer input may become floating."""
    value = torch.as_tensor(baseline, device=tensor.device)
    if tensor.is_floating_point() or not value.is_floating_point():
        return value.detach().to(tensor.dtype)
    return value.detach()


def _replaced(tensor: Tensor, baseline: Tensor, mask: Tensor | None, copies: int) -> Tensor:
    copied = tensor.detach().expand(copies, *tensor.shape)
    if mask is None:
        changed = copied
    elif mask.is_floating_point():
        changed = torch.lerp(copied, baseline, mask.to(tensor.dtype))
    else:
        changed = torch.where(mask, baseline, copied)
    return changed.reshape(copies * len(tensor), *tensor.shape[1:])


def _of_no_example(features: Features, inputs: Inputs, target: Any) -> list[Tensor]:
    first = inputs.tensors[0]
    kind = first.dtype if first.is_floating_point() else torch.get_default_dtype()
    several = isinstance(target, (TopK, Classes))
    count = target.k if isinstance(target, TopK) else len(target.indices) if several else 1
    spread = features.spread(first.new_zeros(len(features), 0, count, dtype=kind))
    return spread if several else [part[:, 0] for part in spread]
