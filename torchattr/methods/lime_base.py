"""The general form of LIME, of which every part is a function of the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from inspect import isgeneratorfunction
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.inputs import Inputs, as_arguments, as_inputs, as_tensors
from torchattr.core.rounding import in_single
from torchattr.core.stepping import counted
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError, OutputError
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods._perturbation.evaluate_copies import check_at_once
from torchattr.methods._perturbation.interpretable_model import check_model, coefficients
from torchattr.methods._perturbation.memory_budget import fitting, in_batches
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.base import Attribution


class LimeBase(Attribution):
    """The coefficients of an interpretable model, fitted to the scores of perturbed inputs.

    `argmin_g Σ_z π(x_z) (s(x_z) − g(z))²` and what `g` regularises, for samples `z` in the
    interpretable space and `x_z` in that of the inputs. Ribeiro, Singh and Guestrin 2016,
    arXiv:1602.04938. For features that are replaced by a baseline, :class:`Lime` is this.

    It is *not* shaped like the inputs: there is one coefficient for each interpretable feature.

    Args:
        interpretable_model: as for :class:`Lime`.
        similarity_func: the weight `π` of a sample, a function of the original inputs, the
            perturbed ones and the interpretable sample `(1, features)`.
        perturb_func: draws a sample of the original inputs, or is a generator of samples.
        perturb_interpretable_space: whether samples are interpretable, or perturbed inputs.
        from_interp_rep_transform: from an interpretable sample and the original inputs to
            perturbed inputs; needed if samples are interpretable.
        to_interp_rep_transform: from perturbed inputs and the original ones to an interpretable
            sample; needed otherwise.

    Raises:
        InputError: the transform that is needed is missing.
        InputTypeError: a model without `fit`, or a part that is no function.

    >>> import torch, torchattr as ta
    >>> from sklearn.linear_model import Ridge
    >>> lime = ta.LimeBase(
    ...     lambda x: x.sum(1),
    ...     Ridge(1e-6),
    ...     similarity_func=lambda original, perturbed, sample: 1.0,
    ...     perturb_func=lambda original: torch.randint(0, 2, (1, 2)),
    ...     perturb_interpretable_space=True,
    ...     from_interp_rep_transform=lambda sample, original: sample * original,
    ...     to_interp_rep_transform=None,
    ... )
    >>> _ = torch.manual_seed(0)
    >>> lime.attribute(torch.tensor([[3.0, 4.0]])).round()
    tensor([[3., 4.]])
    """

    def __init__(
        self,
        model: Forward,
        interpretable_model: Any,
        similarity_func: Callable[..., float | Tensor],
        perturb_func: Callable[..., Any],
        perturb_interpretable_space: bool,
        from_interp_rep_transform: Callable[..., Any] | None,
        to_interp_rep_transform: Callable[..., Tensor] | None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        check_model(interpretable_model)
        needed = ("to_interp_rep_transform", "from_interp_rep_transform")[
            bool(perturb_interpretable_space)
        ]
        parts = {
            "similarity_func": similarity_func,
            "perturb_func": perturb_func,
            "from_interp_rep_transform": from_interp_rep_transform,
            "to_interp_rep_transform": to_interp_rep_transform,
        }
        _check_parts(parts, needed, bool(perturb_interpretable_space))
        self.interpretable_model = interpretable_model
        self.similarity_func, self.perturb_func = similarity_func, perturb_func
        self.perturb_interpretable_space = perturb_interpretable_space
        self.from_interp_rep_transform = from_interp_rep_transform
        self.to_interp_rep_transform = to_interp_rep_transform

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        n_samples: int = 50,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        """Return the coefficients, `(1, features)`.

        Args:
            inputs: one example; or a batch, for a forward that aggregates it.
            target: as for every method; `None` takes the class predicted for the inputs.
            additional_forward_args: as for every method.
            n_samples: number of samples; a generator may end earlier.
            perturbations_per_eval: maximum number of samples in one forward; `None` uses as many as
                memory allows. It is halved when memory runs out.
            show_progress: show a progress bar on stderr, with the time that remains.
            **kwargs: passed on to all the functions.

        Raises:
            InputTypeError: a sample of the wrong type, or an argument of the wrong type.
            InputError: no samples, or an argument out of range.
            OutputError: the model does not return a single score for each sample.
            OutOfMemory: not even one sample fits.
        """
        count = checked_count(n_samples, "n_samples")
        check_at_once(perturbations_per_eval)
        given = as_inputs(inputs, differentiable=False, aligned=False)
        arguments = as_arguments(additional_forward_args)
        scores = TargetScores(self.model, given, target, arguments, self.output)
        _check_single(scores)
        size = perturbations_per_eval or _fitting(scores, given)
        title = self._progress_title if show_progress else None
        batches = []
        with tqdm(total=count, desc=title, disable=title is None) as bar, counted(count) as begin:
            drawn = islice(self._samples(inputs, kwargs), count)
            for number, batch in enumerate(_batched(drawn, size)):
                begin(number * size, number * size + len(batch))
                batches.append(self._batch(inputs, batch, scores, kwargs, bar))
        if not batches:
            raise InputError("perturb_func drew no sample; let it yield n_samples of them")
        kept, values, weights = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return coefficients(self.interpretable_model, kept, values, weights).reshape(1, -1)

    def _batch(
        self,
        inputs: Any,
        batch: Sequence[tuple[Tensor, Any]],
        scores: TargetScores,
        kwargs: dict[str, Any],
        bar: tqdm,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return interpretable samples `(samples, features)`, their scores, and their weights."""
        copies = [as_tensors(perturbed, "perturbed inputs") for _, perturbed in batch]

        def evaluate(start: int, stop: int) -> Tensor:
            tensors = [torch.cat(parts) for parts in zip(*copies[start:stop], strict=True)]
            values = scores.of(tensors, stop - start)
            bar.update(stop - start)
            return values.reshape(-1)

        found = list(in_batches(len(copies), len(copies), evaluate, "sample"))
        values = in_single(torch.cat(found))
        if len(values) != len(copies):
            raise OutputError(
                f"the model returned {len(values)} scores for {len(copies)} samples; LIME needs one"
                " for each"
            )
        weights = [
            float(self.similarity_func(inputs, perturbed, sample, **kwargs))
            for sample, perturbed in batch
        ]
        kept = torch.cat([sample.detach().reshape(1, -1) for sample, _ in batch])
        return kept.to(values), values, values.new_tensor(weights)

    @property
    def _progress_title(self) -> str:
        return self.title

    def _samples(self, inputs: Any, kwargs: dict[str, Any]) -> Iterator[tuple[Tensor, Any]]:
        """Yield samples in the interpretable space, and in that of the inputs."""
        for drawn in self._drawn(inputs, kwargs):
            if self.from_interp_rep_transform is not None and self.perturb_interpretable_space:
                yield drawn, self.from_interp_rep_transform(drawn, inputs, **kwargs)
            elif self.to_interp_rep_transform is not None:
                yield self.to_interp_rep_transform(drawn, inputs, **kwargs), drawn

    def _drawn(self, inputs: Any, kwargs: dict[str, Any]) -> Iterator[Any]:
        if isgeneratorfunction(self.perturb_func):
            yield from self.perturb_func(inputs, **kwargs)
            return
        while True:
            yield self.perturb_func(inputs, **kwargs)


def _batched(samples: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(samples, size)):
        yield batch


def _fitting(scores: TargetScores, inputs: Inputs) -> int:
    if not scores.repeatable:
        return 1
    device = inputs.tensors[0].device
    return fitting(scores.footprint.bytes, scores.footprint, inputs.batch_size, device)


def _check_single(scores: TargetScores) -> None:
    if scores.clean.numel() != 1:
        raise OutputError(
            f"the model returns scores for {len(scores.clean)} examples and"
            f" {scores.clean.shape[1]} targets, of which LimeBase explains a single one; pass one"
            " example at a time, or use Lime"
        )


def _check_parts(parts: dict[str, Any], needed: str, interpretable: bool) -> None:
    if parts[needed] is None:
        raise InputError(
            f"{needed} must be given with perturb_interpretable_space={interpretable}: it leads"
            " from samples to what the model, or the interpretable model, is given"
        )
    for name, part in parts.items():
        if part is not None and not callable(part):
            raise InputTypeError(f"{name} must be a function, got {type(part).__name__}")
