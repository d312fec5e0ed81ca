"""Finer-CAM: what tells a class from those that are nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.targets import (
    Classes,
    Neuron,
    Target,
    TopK,
    bundle,
    each,
    plain,
    select_scores,
)
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError, TargetError
from torchattr.methods._cam.based import based_on
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods.base import Attribution
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method

Weighting = Literal["mean", "probability"]


@register_method("finer_cam")
class FinerCAM(Attribution):
    """The class activation map of a difference of scores, `s_c − γ · Σ_d w_d · s_d`.

    The map is `(N, 1, h, w)`. `d` are the classes whose scores are nearest to that of `c`, with
    equal weights (`Σ_d w_d = 1`), or with its share of their probabilities. So what all of them
    have in common cancels, and what tells `c` from them remains. Zhang et al. 2025,
    arXiv:2501.11309.

    It is *not* the evidence for the class alone: another choice of classes has another map. With
    `weighting="probability"` the weights belong to the score, and are differentiated with it.

    Args:
        layer: as for :class:`ClassActivationMap`.
        base: the map, by name or class.
        comparison: number of classes to compare with, the nearest ones of each example; or the
            classes themselves.
        gamma: how much of them is subtracted; 0 leaves the map of the class.
        weighting: `"mean"` or `"probability"`.
        calls: as for :class:`ClassActivationMap`.
        layout: as for :class:`ClassActivationMap`.

    Raises:
        InputError: no or too many classes to compare with, a `gamma` that is negative, an unknown
            `weighting`, or a `base` that is no class activation map.
        TargetError: a target that is no class, or that is one of the classes it is compared with.
        LayerError: as for :class:`ClassActivationMap`.
        DisconnectedError: as for :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5)
    ... )
    >>> ta.FinerCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        base: str | type[ClassActivationMap] = "grad_cam",
        comparison: int | Sequence[int] = 3,
        gamma: float = 0.6,
        weighting: Weighting = "mean",
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        self._cam = based_on(base, model, layer, calls=calls, layout=layout, output=output)
        self._base = base
        self._difference = _Difference(
            _checked_comparison(comparison), _checked_gamma(gamma), _checked_weighting(weighting)
        )

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        eigen_smooth: bool = False,
    ) -> Any:
        """Return the map of each layer, from one forward and one backward.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: classes, in any form: an int, one for each example, :class:`TopK`,
                :class:`Classes`, or `None` for the predicted ones.
            additional_forward_args: as for every method.
            attribute_to_layer_input: as for :class:`ClassActivationMap`.
            relu_attributions: as for :class:`ClassActivationMap`.
            eigen_smooth: as for :class:`ClassActivationMap`.
        """
        return self._cam.attribute(
            inputs,
            self._difference.of(plain(target)),
            additional_forward_args,
            attribute_to_layer_input,
            relu_attributions,
            eigen_smooth=eigen_smooth,
        )

    def _settings(self) -> dict[str, Any]:
        difference = vars(self._difference)
        return {"base": self._base, **difference, **self._cam._settings()}


@dataclass(frozen=True)
class _Difference:
    """A class' score without those of the classes that it is compared with.

    Attributes:
        comparison: their number, or themselves.
        gamma: how much of them is subtracted.
        weighting: how they are weighted.
    """

    comparison: int | tuple[int, ...]
    gamma: float
    weighting: Weighting

    def of(self, target: Any) -> Any:
        """Return the difference as a target, for each class that the given one names."""
        if callable(target) or isinstance(target, Neuron):
            raise TargetError(f"FinerCAM compares classes of the output, got {target!r}")
        if not isinstance(target, (TopK, Classes)):
            return self._at(target, 0)
        count = target.k if isinstance(target, TopK) else len(target.indices)
        return bundle(self._at(target, number) for number in range(count))

    def _at(self, target: Any, number: int) -> Callable[[Tensor], Tensor]:
        return lambda output: self._scores(output, each(target, output)[0][number])

    def _scores(self, output: Tensor, single: Any) -> Tensor:
        if output.dim() != 2 or output.shape[1] < 2:
            raise TargetError(
                "FinerCAM compares the scores of classes, (N, classes), but the output has shape"
                f" {tuple(output.shape)}"
            )
        numbers = torch.arange(output.shape[1], device=output.device).expand(output.shape)
        own = select_scores(numbers, single)
        others = self._others(output, own)
        compared = output.gather(1, others)
        weights = self._weights(output, compared)
        return output.gather(1, own[:, None])[:, 0] - self.gamma * (weights * compared).sum(1)

    def _others(self, output: Tensor, own: Tensor) -> Tensor:
        """Return the classes to compare each example's class with, `(N, count)`."""
        classes = output.shape[1]
        if isinstance(self.comparison, int):
            if self.comparison >= classes:
                raise InputError(
                    f"comparison is {self.comparison}, but of {classes} classes there are"
                    f" {classes - 1} others; pass at most that"
                )
            found = output.detach()
            distances = (found - found.gather(1, own[:, None])).abs()
            distances.scatter_(1, own[:, None], float("inf"))
            return distances.topk(self.comparison, dim=1, largest=False).indices
        chosen = torch.tensor(self.comparison, device=output.device)
        if int(chosen.min()) < 0 or int(chosen.max()) >= classes:
            raise TargetError(
                f"comparison holds {list(self.comparison)}, but allowed are 0 to {classes - 1}"
            )
        if bool((own[:, None] == chosen).any()):
            raise TargetError(
                f"comparison {list(self.comparison)} contains the target itself, whose score would"
                " be subtracted from itself; name other classes, or their number"
            )
        return chosen.expand(len(output), -1)

    def _weights(self, output: Tensor, compared: Tensor) -> Tensor:
        if self.weighting == "probability":
            return compared.softmax(1)
        return torch.full_like(compared, 1 / compared.shape[1])


def _checked_comparison(comparison: Any) -> int | tuple[int, ...]:
    comparison = plain(comparison)
    if isinstance(comparison, torch.Tensor):
        comparison = comparison.tolist()
    if not isinstance(comparison, (list, tuple)):
        return checked_count(comparison, "comparison", expected="an int, or a list of classes")
    if not comparison:
        raise InputError("comparison is empty; name classes, or their number")
    return tuple(checked_count(one, "each class of comparison", 0) for one in comparison)


def _checked_gamma(gamma: Any) -> float:
    if not isinstance(gamma, (int, float)) or isinstance(gamma, bool):
        raise InputTypeError(f"gamma must be a number, got {gamma!r}")
    if not 0 <= gamma < float("inf"):
        raise InputError(f"gamma must be finite and not negative, got {gamma}")
    return float(gamma)


def _checked_weighting(weighting: Any) -> Weighting:
    check_choice("weighting", weighting, get_args(Weighting))
    return weighting
