"""Captum's names for attacks, `captum.robust`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor

from torchattr import robust
from torchattr.captum.base import drawn_seeds
from torchattr.captum.elsewhere import refuse as _refuse
from torchattr.core.targets import select_scores
from torchattr.core.types import Forward, OutputKey, TensorsT
from torchattr.robust import Attack, AttackFunction

__path__: list[str] = []  # so that `refuse` knows an import


def __getattr__(name: str) -> object:
    return _refuse(name, __name__)


class Perturbation(Attack):
    """Base class of attacks; a subclass defines `perturb`."""

    def perturb(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define perturb")


class _SignStep(robust.FGSM):
    """The step with Captum's default loss, the logarithm of a probability."""

    zero_thresh: ClassVar[float] = 1e-6

    def default_loss(self, output: Tensor, target: Any) -> Tensor:
        """Return `−log s`: the scores must be probabilities, or the direction may be reversed."""
        return -select_scores(output.log(), target)


class FGSM(_SignStep, Perturbation):
    """:class:`torchattr.robust.FGSM` by default for models that return probabilities."""

    def __init__(
        self,
        forward_func: Forward,
        loss_func: Callable[..., Any] | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, loss_func, lower_bound, upper_bound, output=output)
        self.forward_func = forward_func


class PGD(robust.PGD, Perturbation):
    """:class:`torchattr.robust.PGD` by default for models that return probabilities."""

    attack = _SignStep

    def __init__(
        self,
        forward_func: Forward,
        loss_func: Callable[..., Any] | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, loss_func, lower_bound, upper_bound, output=output)
        self.forward_func = forward_func

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
        seed: int | Sequence[int] | None = None,
    ) -> TensorsT:
        return super().perturb(
            inputs,
            radius,
            step_size,
            step_num,
            target,
            additional_forward_args,
            targeted,
            random_start,
            norm,
            mask,
            seed=drawn_seeds(inputs) if seed is None and random_start else seed or 0,
        )


class MinParamPerturbation(robust.MinParamPerturbation):
    """:class:`torchattr.robust.MinParamPerturbation` under Captum's argument names."""

    def __init__(
        self,
        forward_func: Forward,
        attack: AttackFunction,
        arg_name: str,
        arg_min: float,
        arg_max: float,
        arg_step: float,
        mode: str = "linear",
        num_attempts: int = 1,
        preproc_fn: Callable[[Any], Any] | None = None,
        apply_before_preproc: bool = False,
        correct_fn: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(
            forward_func,
            attack,
            arg_name,
            arg_min,
            arg_max,
            arg_step,
            mode,
            num_attempts,
            preproc_fn,
            apply_before_preproc,
            correct_fn,
        )
        self.forward_func = forward_func


class AttackComparator(robust.AttackComparator):
    """:class:`torchattr.robust.AttackComparator` under Captum's argument names."""

    def __init__(
        self,
        forward_func: Forward,
        metric: Callable[..., Any],
        preproc_fn: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(forward_func, metric, preproc_fn)
        self.forward_func = forward_func
