"""Feature permutation: ablation by the values of other examples of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors, TensorsT
from torchattr.core.warn import warn
from torchattr.errors import InputError, InputTypeError, PermutationWarning
from torchattr.incremental import Mode, Recomputed
from torchattr.methods._perturbation.checked import checked_seed
from torchattr.methods._perturbation.permuted import (
    Permute,
    PermutedCopies,
    PermutedSegments,
    seeded_permutation,
)
from torchattr.methods._perturbation.segments import segments_as
from torchattr.methods.ablation import Ablation, AblationRun

PermutationFunction = Callable[[Tensor, Tensor], Tensor]
"""From an input and the mask of a feature to the input with that feature permuted."""


class FeaturePermutation(Ablation):
    """The score minus the score with one feature taken from another example, `s(x) − s(x_{f←x'})`.

    The examples of the batch exchange their values of the feature by a random permutation. Breiman
    2001, doi:10.1023/A:1010933404324; Fisher, Rudin and Dominici 2019, arXiv:1801.01489, who take
    the mean of the loss. Every element of a feature gets the feature's value. For a forward that
    aggregates the batch, such as a loss, there is one attribution for each of its values. The model
    may be any function: nothing is differentiated.

    It is *not* a property of an example alone, but depends on the others of the batch, and on
    chance. An example that happens to keep its own value gets zero.

    Args:
        perm_func: permutes one feature of one input: a function of the input and the mask of the
            feature, which broadcasts to it. By default an order that depends on the seed and the
            feature, in all inputs the same.

    >>> import torch, torchattr as ta
    >>> x = torch.tensor([[1.0, 5.0], [2.0, 5.0]])
    >>> ta.FeaturePermutation(lambda x: x.sum(1)).attribute(x)
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """

    def __init__(
        self,
        model: Forward,
        perm_func: PermutationFunction | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        if perm_func is not None and not callable(perm_func):
            raise InputTypeError(f"perm_func must be a function, got {type(perm_func).__name__}")
        self.perm_func = perm_func

    def attribute(
        self,
        inputs: TensorsT,
        target: Target = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        seed: int = 0,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
    ) -> TensorsT:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for :class:`FeatureAblation`, of at least two examples.
            target: as for :class:`FeatureAblation`.
            additional_forward_args: as for every method.
            feature_mask: as for :class:`FeatureAblation`.
            perturbations_per_eval: maximum number of features permuted in one forward, as for
                :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr, with the time that remains.
            seed: seed of the permutations, 0 or more; a `perm_func` ignores it.
            incremental: as for :class:`FeatureAblation`.
            report: as for :class:`FeatureAblation`.

        Warns:
            PermutationWarning: a feature in an input of a single row, which gets zeros.

        Raises:
            ShapeError: a mask that does not broadcast to its input.
            InputTypeError: a mask that does not hold integers, or an argument of the wrong type.
            InputError: a `perm_func` that returns another shape, or an argument out of range.
            OutputError: as for :class:`FeatureAblation`.
            OutOfMemory: not even one permutation fits.
        """
        given = as_inputs(inputs, differentiable=False, aligned=False)
        features = segments_as(PermutedSegments, given, feature_mask)
        _warn_of_fixed(features, given)
        permute = seeded_permutation(checked_seed(seed))
        if self.perm_func is not None:
            permute = _checked(self.perm_func)
        run = AblationRun(perturbations_per_eval, show_progress, incremental, report)
        copies = PermutedCopies(given, features, permute)
        return self._effects(copies, features, target, additional_forward_args, run)


def _checked(perm_func: PermutationFunction) -> Permute:
    def permute(feature: int, tensor: Tensor, mask: Tensor) -> Tensor:
        permuted = perm_func(tensor, mask)
        if not isinstance(permuted, Tensor) or permuted.shape != tensor.shape:
            got = tuple(permuted.shape) if isinstance(permuted, Tensor) else type(permuted).__name__
            raise InputError(
                f"perm_func must return a tensor of its input's shape {tuple(tensor.shape)}, got"
                f" {got}"
            )
        return permuted

    return permute


def _warn_of_fixed(features: PermutedSegments, inputs: Inputs) -> None:
    fixed = int(features.fixed.sum())
    if fixed and any(map(len, inputs.tensors)):
        warn(
            f"{fixed} of {len(features)} features get zeros: they have elements in an input of a"
            " single row, which has no other example to take values from; pass a larger batch",
            PermutationWarning,
        )
