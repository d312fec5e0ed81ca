"""The noise tunnel: any method, averaged over noisy copies of the input."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.rounding import in_single
from torchattr.core.stepping import counted
from torchattr.core.targets import Neuron
from torchattr.core.types import Tensors
from torchattr.errors import InputTypeError, OutputError
from torchattr.methods._perturbation.batch_repeat import (
    repeat_arguments,
    repeat_rows,
    repeat_target,
)
from torchattr.methods._perturbation.checked import checked_count, checked_stdevs
from torchattr.methods._perturbation.memory_budget import has_fixed_batch
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores
from torchattr.methods.base import Attribution

NoiseTunnelType = Literal["smoothgrad", "smoothgrad_sq", "vargrad"]


class NoiseTunnel(Attribution):
    """A method's mean (or mean square, or variance) over inputs with Gaussian noise.

    `smoothgrad`: the mean, Smilkov et al. 2017, arXiv:1706.03825. `smoothgrad_sq`: the mean
    square, Hooker et al. 2019, arXiv:1806.10758. `vargrad`: the variance, Adebayo et al. 2018,
    arXiv:1810.03292.

    It is *not* the attribution of the input itself, but of its neighbourhood, whose width is
    `stdevs`, in the units of the model's input.

    Args:
        attribution_method: the method to smooth.

    >>> import torch, torchattr as ta
    >>> tunnel = ta.NoiseTunnel(ta.Saliency(torch.nn.Linear(3, 2)))
    >>> tunnel.attribute(torch.ones(1, 3), nt_samples=8, stdevs=0.1, target=1).shape
    torch.Size([1, 3])
    """

    def __init__(self, attribution_method: Attribution) -> None:
        if not isinstance(attribution_method, Attribution):
            raise InputTypeError(
                "attribution_method must be an object of a method, such as Saliency(model), got"
                f" {type(attribution_method).__name__}"
            )
        super().__init__(attribution_method.model, output=attribution_method.output)
        self.attribution_method = attribution_method

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.attribution_method!r})"

    def serves_copies(self, batch_size: int) -> bool:
        return self.attribution_method.serves_copies(batch_size)

    def _settings(self) -> dict[str, Any]:
        return {"attribution_method": self.attribution_method}

    def attribute(
        self,
        inputs: Tensors,
        nt_type: NoiseTunnelType = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: float | tuple[float, ...] = 1.0,
        draw_baseline_from_distrib: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the attributions, in the form of the wrapped method's result.

        The noise is drawn from PyTorch's own generator: `torch.manual_seed` makes it repeatable.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            nt_type: the statistic of the samples.
            nt_samples: number of noisy copies of each example.
            nt_samples_batch_size: number of copies attributed at once; all of them by default. A
                forward that aggregates the batch always gets one after another, and so does a
                method that holds values of each example, as `low` and `high` of :class:`LRP` may.
            stdevs: the noise's standard deviation, in the units of the input; a tuple has one for
                each input.
            draw_baseline_from_distrib: take `baselines` as samples, any number of rows, and draw
                one for each noisy example.
            **kwargs: the method's own arguments. Those with one entry per example are repeated; the
                predicted classes of `target=None` are those of the input without noise. With
                `return_convergence_delta=True` there is one delta for each noisy example, or for
                each sample that the method draws of it, those of an example side by side.

        Raises:
            InputTypeError: integer inputs, or an argument of the wrong type.
            InputError: an unknown `nt_type`, fewer than one sample, a negative `stdevs`.
            OutputError: the method's result does not hold one row for each example.
        """
        given = as_inputs(inputs, differentiable=False)
        _check_floating(given)
        _check(nt_type, nt_samples, nt_samples_batch_size)
        spreads = checked_stdevs(stdevs, given)
        at_once = nt_samples_batch_size or nt_samples
        options, at_once = fixed_options(self.attribution_method, given, kwargs, at_once)
        moments, deltas = _Moments(), []
        with counted(nt_samples) as begin:
            for start, copies in _chunks(nt_samples, at_once):
                begin(start, start + copies)
                noisy = [_noisy(x, copies, s) for x, s in zip(given.tensors, spreads, strict=True)]
                repeated = repeat_options(options, given, copies, draw=draw_baseline_from_distrib)
                result = self.attribution_method.attribute(given.restore(noisy), **repeated)
                if kwargs.get("return_convergence_delta"):
                    result, delta = result
                    deltas.append(_blocks(_of_each(delta, copies, given), copies, given.batch_size))
                moments.add(result, copies, given.batch_size)
        smoothed = moments.finish(nt_type)
        if not deltas:
            return smoothed
        return smoothed, torch.cat(deltas).transpose(0, 1).flatten(0, 2)


def fixed_options(
    method: Attribution, inputs: Inputs, options: Mapping[str, Any], at_once: int
) -> tuple[dict[str, Any], int]:
    """Return options of a method with a target that ignores noise, and the copies at once.

    A forward that aggregates the batch must get one copy at a time, and so must a method that
    holds values of each example.
    """
    if not method.serves_copies(inputs.batch_size):
        at_once = 1
    target = options.get("target")
    target = method.missing_target if target is None else target
    takes = inspect.signature(method.attribute).parameters
    if "target" not in takes or isinstance(target, Neuron) or inputs.batch_size == 0:
        return dict(options), 1 if has_fixed_batch(method.model) else at_once
    arguments = as_arguments(options.get("additional_forward_args"))
    scores = TargetScores(method.model, inputs, target, arguments, method.output)
    apart = not scores.repeatable or (at_once > 1 and not _scales(scores, inputs))
    return {**options, "target": scores.target}, 1 if apart else at_once


class _Moments:
    """The running mean and variance of a method's results, of any form, chunk by chunk."""

    def __init__(self) -> None:
        self._result: Any = None
        self._count = 0
        self._means: list[Tensor] = []
        self._squares: list[Tensor] = []

    def add(self, result: Any, copies: int, batch_size: int) -> None:
        """Merge a chunk's moments into those so far, without cancellation (Chan et al. 1979)."""
        self._result = result
        blocks = [in_single(_blocks(leaf, copies, batch_size)) for leaf in tensors_of(result)]
        means = [block.mean(0) for block in blocks]
        squares = [
            (block - mean).square().sum(0) for block, mean in zip(blocks, means, strict=True)
        ]
        if self._count == 0:
            self._means, self._squares, self._count = means, squares, copies
            return
        count = self._count + copies
        shifts = [new - old for new, old in zip(means, self._means, strict=True)]
        weight = self._count * copies / count
        self._squares = [
            old + new + shift.square() * weight
            for old, new, shift in zip(self._squares, squares, shifts, strict=True)
        ]
        self._means = [
            old + shift * (copies / count) for old, shift in zip(self._means, shifts, strict=True)
        ]
        self._count = count

    def finish(self, kind: NoiseTunnelType) -> Any:
        """Return the statistic, in the form of the results."""
        pairs = zip(self._means, self._squares, strict=True)
        finished = iter([_FINISH[kind](mean, square / self._count) for mean, square in pairs])
        return with_tensors(self._result, lambda leaf: next(finished).to(leaf.dtype))


_FINISH: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "smoothgrad": lambda mean, variance: mean,
    "smoothgrad_sq": lambda mean, variance: mean.square() + variance,
    "vargrad": lambda mean, variance: variance,
}


def _check_floating(inputs: Inputs) -> None:
    for tensor in inputs.tensors:
        if not tensor.is_floating_point():
            raise InputTypeError(
                f"inputs have dtype {tensor.dtype}, to which no noise can be added; pass floating"
                " tensors"
            )


def _check(nt_type: Any, nt_samples: Any, nt_samples_batch_size: Any) -> None:
    check_choice("nt_type", nt_type, get_args(NoiseTunnelType))
    checked_count(nt_samples, "nt_samples")
    if nt_samples_batch_size is not None:
        checked_count(nt_samples_batch_size, "nt_samples_batch_size")


def _scales(scores: TargetScores, inputs: Inputs) -> bool:
    """Whether two copies of the batch give twice the rows; a single example does not show it."""
    if inputs.batch_size != 1:
        return True
    try:
        scores.of([repeat_rows(x.detach(), 2) for x in inputs.tensors], 2)
    except NotPerExample:
        return False
    return True


def _chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(size, total - start)


def _noisy(tensor: Tensor, copies: int, stdev: float) -> Tensor:
    """Return noisy copies of a batch, copy after copy.

    The noise is drawn example by example and in the default dtype, so that a seed gives the same
    noise for inputs of every dtype, and the same noise as in Captum.
    """
    shape = (len(tensor), copies, *tensor.shape[1:])
    noise = torch.normal(0.0, torch.full(shape, float(stdev), device=tensor.device))
    return (tensor.detach() + noise.to(tensor.dtype).transpose(0, 1)).flatten(0, 1)


def repeat_options(
    options: Mapping[str, Any], inputs: Inputs, copies: int, *, draw: bool = False
) -> dict[str, Any]:
    """Return a method's options for a batch of copies, copy after copy; `draw` draws baselines."""
    repeated = dict(options)
    if "target" in repeated:
        repeated["target"] = repeat_target(repeated["target"], copies)
    if "additional_forward_args" in repeated:
        arguments = as_arguments(repeated["additional_forward_args"])
        repeated["additional_forward_args"] = repeat_arguments(arguments, copies, inputs.batch_size)
    if isinstance(repeated.get("seed"), Sequence):
        repeated["seed"] = [*repeated["seed"]] * copies
    if repeated.get("feature_mask") is not None:
        repeated["feature_mask"] = _for_each(repeated["feature_mask"], inputs, copies, _rows)
    if repeated.get("baselines") is not None:
        repeated["baselines"] = _for_each(
            repeated["baselines"], inputs, copies, _drawn if draw else _rows
        )
    return repeated


def _for_each(
    values: Any, inputs: Inputs, copies: int, repeat: Callable[[Any, Tensor, int], Any]
) -> Any:
    if not isinstance(values, (tuple, list)):
        return repeat(values, inputs.tensors[0], copies)
    if len(values) != len(inputs.tensors):
        return values
    return tuple(
        repeat(value, tensor, copies) for value, tensor in zip(values, inputs.tensors, strict=True)
    )


def _rows(value: Any, tensor: Tensor, copies: int) -> Any:
    per_example = isinstance(value, Tensor) and value.dim() == tensor.dim()
    return repeat_rows(value, copies) if per_example and len(value) == len(tensor) else value


def _drawn(value: Any, tensor: Tensor, copies: int) -> Any:
    """Draw a row for each noisy copy, example by example like the noise."""
    if not isinstance(value, Tensor) or value.dim() != tensor.dim():
        return value
    rows = torch.randint(len(value), (len(tensor), copies), device=value.device)
    return value[rows.transpose(0, 1).flatten()]


def _of_each(delta: Tensor, copies: int, inputs: Inputs) -> Tensor:
    """Return deltas with a dimension for those of each noisy example, one or more."""
    rows = max(copies * inputs.batch_size, 1)
    return delta.unflatten(0, (-1, max(len(delta) // rows, 1)))


def _blocks(result: Tensor, copies: int, batch_size: int) -> Tensor:
    if copies == 1 or not len(result):
        return result.detach()[None]
    if len(result) != copies * batch_size:
        raise OutputError(
            f"the method returned {len(result)} rows for {copies * batch_size} noisy examples; the"
            " noise tunnel needs a model with one row of scores for each example"
        )
    return result.detach().reshape(copies, batch_size, *result.shape[1:])
