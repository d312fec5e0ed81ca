"""SmoothGrad: the mean gradient at noisy copies of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.rounding import in_single
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._perturbation.checked import checked_count, checked_seeds
from torchattr.methods._perturbation.random_numbers import SeededStreams
from torchattr.methods.path_attribution import PathAttribution, check_internal_batch
from torchattr.methods.registry import register_method


@register_method("smooth_grad")
class SmoothGrad(PathAttribution):
    """`E[∂s/∂x (x + n)]` over Gaussian noise n, shaped like the input.

    The noise is `noise` times the range of the example's values. Smilkov, Thorat, Kim, Viégas and
    Wattenberg 2017, arXiv:1706.03825, whose images are of the absolute values. For the mean of
    another method, its square or its variance, see :class:`NoiseTunnel`.

    It is *not* the gradient at the input, but that of the score blurred by the noise. It is a
    random estimate, whose error falls with the square root of the number of samples.

    Args:
        multiply_by_inputs: multiply the mean by the input.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    >>> import torch, torchattr as ta
    >>> ta.SmoothGrad(torch.nn.Linear(3, 2)).attribute(torch.rand(4, 3), target=1).shape
    torch.Size([4, 3])
    """

    def __init__(
        self,
        model: Forward,
        multiply_by_inputs: bool = False,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(
            model, multiply_by_inputs, rules=rules, output=output, strict=strict, memory=memory
        )

    def _settings(self) -> dict[str, Any]:
        by_inputs = self.multiply_by_inputs or None
        return {**super()._settings(), "multiply_by_inputs": by_inputs}

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        n_samples: int = 25,
        noise: float = 0.15,
        *,
        seed: int | Sequence[int] = 0,
        internal_batch_size: int | None = None,
    ) -> Any:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method; the predicted class is that of the input without noise.
            additional_forward_args: as for every method.
            n_samples: number of noisy copies of each example.
            noise: standard deviation of the noise, as a share of the difference of the largest and
                the smallest value of the example; the paper advises 0.1 to 0.2.
            seed: seed of the noise, 0 or more. All examples share what is drawn from one seed; a
                list has one for each example.
            internal_batch_size: as for :class:`GradientShap`.

        Raises:
            InputTypeError: an argument of the wrong type.
            InputError: an argument out of range.
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one sample fits.
        """
        given = as_inputs(inputs)
        copies = _NoisyCopies(given, _checked_share(noise), checked_seeds(seed, given))
        count = checked_count(n_samples, "n_samples")
        check_internal_batch(internal_batch_size, given.batch_size, "sample")
        arguments = as_arguments(additional_forward_args)
        scores = self._scores(given, target, arguments)

        def evaluate(first: int, last: int) -> list[Tensor]:
            points = copies.drawn(first, last)
            grads = self._gradients(points, arguments, scores, given.batch_size)
            form = (last - first, given.batch_size)
            return [in_single(grad).unflatten(0, form).sum(0) for grad in grads]

        sums = self._summed(count, evaluate, scores, given, internal_batch_size, "sample")
        starts = [torch.zeros_like(tensor) for tensor in given.tensors]
        return given.restore(self._finished(given, starts, [total / count for total in sums]))


class _NoisyCopies:
    """Noisy copies of a batch, each determined by its number and a seed alone."""

    def __init__(self, inputs: Inputs, share: float, seeds: Sequence[int]) -> None:
        self._tensors = [tensor.detach() for tensor in inputs.tensors]
        self._spreads = [share * value_ranges(tensor) for tensor in self._tensors]
        self._streams = SeededStreams(seeds)

    def drawn(self, start: int, stop: int) -> list[Tensor]:
        """Return copies `[start, stop)` of each input: `(copies · N, ...)`."""
        return [self._of(position, start, stop) for position in range(len(self._tensors))]

    def _of(self, position: int, start: int, stop: int) -> Tensor:
        tensor = self._tensors[position]
        noise = self._streams.normal_like(position, start, stop, in_single(tensor))
        return (tensor + self._spreads[position] * noise).to(tensor.dtype).flatten(0, 1)


def value_ranges(tensor: Tensor) -> Tensor:
    """Return the difference of the extremes of each example, to broadcast with it, `(N, 1, ...)`.

    >>> value_ranges(torch.tensor([[1.0, 4.0], [0.0, 0.0]])).tolist()
    [[3.0], [0.0]]
    """
    if not tensor[:1].numel():
        return tensor.new_zeros(())
    flat = tensor.reshape(len(tensor), -1)
    spans = flat.amax(1) - flat.amin(1)
    return spans.reshape(-1, *(1 for _ in tensor.shape[1:]))


def _checked_share(noise: Any) -> float:
    if isinstance(noise, bool) or not isinstance(noise, (int, float)):
        raise InputTypeError(f"noise must be a number, got {noise!r}")
    if not 0 <= noise < float("inf"):
        raise InputError(f"noise must be a finite number, 0 or more, got {noise!r}")
    return float(noise)
