"""Projected gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import Inputs, as_inputs
from torchattr.core.stepping import step
from torchattr.core.types import Forward, OutputKey, TensorsT
from torchattr.evaluate import SampleNoise
from torchattr.methods import checked_count, checked_number
from torchattr.robust.attack import Attack, Loss, as_masks, where_masked
from torchattr.robust.fgsm import FGSM


class PGD(Attack):
    """Several steps of :class:`FGSM`, each projected to a ball around the input.

    `x_{t+1} = clamp(Π_r(x_t + α · sign(∂L/∂x)))`. Madry et al. 2018, arXiv:1706.06083.

    It is *not* a proof of robustness where it fails: a stronger attack may succeed.

    Args:
        model: as for every method, see :class:`torchattr.Attribution`.
        loss_func: as for :class:`FGSM`.
        lower_bound: smallest value of an input.
        upper_bound: largest value of an input.
        output: as for every method.

    >>> model = torch.nn.Linear(3, 2)
    >>> x = torch.zeros(1, 3)
    >>> changed = PGD(model).perturb(x, radius=0.1, step_size=0.04, step_num=5, target=0)
    >>> float(changed.abs().max()) <= 0.1 + 1e-6
    True
    """

    attack: type[FGSM] = FGSM

    def __init__(
        self,
        model: Forward,
        loss_func: Loss | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
        *,
        output: OutputKey = None,
    ) -> None:
        self.fgsm = self.attack(model, loss_func, lower_bound, upper_bound, output=output)

    def perturb(
        self,
        inputs: TensorsT,
        radius: float,
        step_size: float,
        step_num: int,
        target: Any,
        additional_forward_args: Any = None,
        targeted: bool = False,
        random_start: bool = False,
        norm: str = "Linf",
        mask: Any = None,
        *,
        seed: int | Sequence[int] = 0,
    ) -> TensorsT:
        """Return the changed inputs, in their form.

        Args:
            inputs: as for every method.
            radius: radius of the ball.
            step_size: size of a step.
            step_num: number of steps.
            target: as for :class:`FGSM`.
            additional_forward_args: as for every method.
            targeted: decrease the loss instead.
            random_start: begin at a uniformly random point of the ball.
            norm: `"Linf"` for the largest change of an element, `"L2"` for the length of all
                changes of an example's input.
            mask: 0 where an input must not change; broadcasts to it, one for each input.
            seed: seed of the random start, or one for each example.

        Raises:
            InputError: an unknown norm, a negative radius or number of steps.
            ShapeError: a mask that does not fit its input.
            TargetError: labels that do not fit the output.
        """
        project = _projection(norm)
        radius = checked_number(radius, "radius", least=0)
        step_size = checked_number(step_size, "step_size")
        checked_count(step_num, "step_num", 0)
        given = as_inputs(inputs)
        start = [x.detach().clone() for x in given.tensors]
        points = self._random(given, radius, norm, mask, seed) if random_start else start
        size = -step_size if targeted else step_size
        for _ in range(step_num):
            step()
            at = Inputs(tuple(points), given.is_tuple)
            moves = self.fgsm.directions(at, target, additional_forward_args, mask)
            points = [
                self.fgsm.bound(x + project(point + size * move - x, radius))
                for x, point, move in zip(start, points, moves, strict=True)
            ]
        found: TensorsT = given.restore(points)
        return found

    def _random(
        self, inputs: Inputs, radius: float, norm: str, mask: Any, seed: Any
    ) -> list[Tensor]:
        noise = SampleNoise(inputs, seed)
        drawn = noise.uniform(0, 1) if norm == "Linf" else _in_unit_ball(noise)
        return [
            self.fgsm.bound(where_masked(one, x.detach() + radius * shift, x.detach()))
            for x, shift, one in zip(inputs.tensors, drawn, as_masks(mask, inputs), strict=True)
        ]


def _in_unit_ball(noise: SampleNoise) -> list[Tensor]:
    """Return a uniform point of the unit ball for each example: a direction and a distance."""
    points = []
    for drawn, other in zip(noise.normal(0, 1), noise.uniform(1, 2), strict=True):
        flat = drawn.flatten(1)
        share = (other.flatten(1)[:, :1] + 1) / 2
        distance = share ** (1 / max(flat.shape[1], 1))
        unit = flat / flat.norm(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
        points.append((distance * unit).reshape(drawn.shape))
    return points


def _into_cube(change: Tensor, radius: float) -> Tensor:
    return change.clamp(-radius, radius)


def _into_ball(change: Tensor, radius: float) -> Tensor:
    return torch.renorm(change, 2, 0, radius) if change.numel() else change


_PROJECTIONS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "Linf": _into_cube,
    "L2": _into_ball,
}


def _projection(norm: str) -> Callable[[Tensor, float], Tensor]:
    check_choice("norm", norm, _PROJECTIONS)
    return _PROJECTIONS[norm]
