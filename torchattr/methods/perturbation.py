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
from torchattr.methods.features import Features
from torchattr.methods.scores import NotPerExample, Scores
from torchattr.targets import Classes, TopK

Baseline = Tensor | int | float


class Perturbation:
    """Measures how the target's value falls when features of the inputs are replaced.

    Args:
        inputs: the batch.
        baselines: what replaces them, for each input a number or a tensor that broadcasts to it.
        features: what is replaced, one feature after another.
    """

    def __init__(self, inputs: Inputs, baselines: Sequence[Baseline], features: Features) -> None:
        self.inputs = inputs
        self._baselines = [
            _fitted(baseline, tensor)
            for baseline, tensor in zip(baselines, inputs.tensors, strict=True)
        ]
        self.features = features

    def perturbed(self, start: int, stop: int) -> list[Tensor]:
        """Give copies of the inputs, each with one of the features replaced.

        Returns:
            for each input `((stop - start) · N, ...)`, copy after copy.
        """
        masks = self.features.masks(start, stop)
        return [
            _replaced(tensor, baseline, mask, stop - start)
            for tensor, baseline, mask in zip(
                self.inputs.tensors, self._baselines, masks, strict=True
            )
        ]

    def effects(self, scores: Scores, size: int, progress: tqdm) -> Tensor:
        """Give clean minus perturbed values, `(features, rows, targets)`.

        Args:
            scores: what is measured.
            size: how many features at once, at most.
            progress: told about each feature.
        """

        def evaluate(start: int, stop: int) -> Tensor:
            effect = scores.clean - scores.of(self.perturbed(start, stop), stop - start)
            progress.update(stop - start)
            return effect

        parts = list(in_batches(len(self.features), size, evaluate, "perturbed copy"))
        return torch.cat(parts) if parts else scores.clean.new_zeros(0, *scores.clean.shape)


def attribute_features(
    model: Forward,
    perturbation: Perturbation,
    target: Any,
    additional_forward_args: Any,
    *,
    key: OutputKey,
    at_once: int | None,
    progress: str | None,
) -> Any:
    """Run a perturbation and give its result in the form of the inputs.

    Args:
        model: the module or function to run.
        perturbation: what is done to which inputs.
        target: as for every method.
        additional_forward_args: likewise.
        key: which entry of the model's output holds the scores.
        at_once: how many features to replace in one forward; `None` chooses.
        progress: the title of a progress bar, if one is wanted.
    """
    check_at_once(at_once)
    inputs, features = perturbation.inputs, perturbation.features
    if inputs.batch_size == 0:
        return inputs.restore([_empty(tensor, target) for tensor in inputs.tensors])
    scores = Scores(model, inputs, target, as_arguments(additional_forward_args), key)
    if features.per_example:
        _need_per_example(scores)
    with tqdm(total=len(features), desc=progress, disable=progress is None) as bar:
        effects = _effects(perturbation, scores, at_once, bar)
    spread = features.spread(effects)
    return inputs.restore(spread if scores.several else [part[:, 0] for part in spread])


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


def _effects(perturbation: Perturbation, scores: Scores, at_once: int | None, bar: tqdm) -> Tensor:
    """Choose how many at once; a forward that aggregates is given one copy at a time."""
    try:
        if not scores.per_example and (at_once or 1) > 1:
            raise NotPerExample("the model's output does not hold one row for each example")
        return perturbation.effects(scores, at_once or _chosen(scores, perturbation.inputs), bar)
    except NotPerExample as error:
        if at_once is None:
            return perturbation.effects(scores, 1, bar)
        raise NotPerExample(
            f"perturbations_per_eval={at_once} is not possible: {error}. Such a forward can be"
            " given one perturbation at a time only; pass perturbations_per_eval=1 or None"
        ) from None


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
    changed = copied if mask is None else torch.where(mask, baseline, copied)
    return changed.reshape(copies * len(tensor), *tensor.shape[1:])


def _empty(tensor: Tensor, target: Any) -> Tensor:
    more: tuple[int, ...] = ()
    if isinstance(target, (TopK, Classes)):
        more = (target.k if isinstance(target, TopK) else len(target.indices),)
    kind = tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype()
    return torch.zeros(0, *more, *tensor.shape[1:], dtype=kind, device=tensor.device)
