"""Captum's names for the methods that score coalitions of features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions.categorical import Categorical

from torchattr import methods
from torchattr.captum.base import CaptumMethod
from torchattr.captum.perturbation import PerturbationMethod, every_value, in_future
from torchattr.core.inputs import Inputs, as_tensors
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError
from torchattr.incremental import Mode, Recomputed
from torchattr.methods import CoalitionDraws, ExponentialKernel, TargetScores

get_exp_kernel_similarity_function = ExponentialKernel
"""Captum's name: `get_exp_kernel_similarity_function(distance_mode, kernel_width)`."""


class GeneratorDraws(CoalitionDraws):
    """Draws from PyTorch's generator, in the order in which Captum draws."""

    def orders(self, count: int, members: Tensor, rows: int) -> Tensor:
        orders = [torch.randperm(members.shape[1]) for _ in range(count)]
        return torch.stack(orders).argsort(1)[:, None]

    def coins(self, count: int, members: Tensor, rows: int) -> Tensor:
        fair = torch.full((1, members.shape[1]), 0.5)
        return _by_rows(rows, count, lambda: torch.bernoulli(fair)[0] == 1)

    def subsets(self, count: int, members: Tensor, rows: int) -> Tensor:
        features = members.shape[1]
        if features < 2 or not count:
            return torch.zeros(count, 1, features, dtype=torch.bool)
        sizes = Categorical(_size_weights(features))
        return _by_rows(rows, count, lambda: _subset(sizes, features))


def _subset(sizes: Categorical, features: int) -> Tensor:
    """Draw a coalition, `(features,)`, of a drawn size."""
    size = int(sizes.sample())
    keys = torch.randn(1, features)[0]
    return keys > keys.kthvalue(features - size).values


def _size_weights(features: int) -> Tensor:
    """Return weights of the sizes of coalitions, rounded as Captum rounds them."""
    sizes = torch.arange(features, dtype=torch.float)
    weights = torch.tensor(features - 1) / (sizes * (features - sizes))
    weights[0] = 0.0
    return weights


def _by_rows(rows: int, count: int, draw: Callable[[], Tensor]) -> Tensor:
    """Draw all samples of an example before those of the next."""
    drawn = [torch.stack([draw() for _ in range(count)]) for _ in range(rows)]
    return torch.stack(drawn, 1)


class _FromGenerator(methods.CoalitionAttribution):
    """Draws from PyTorch's generator where no seed is given."""

    def _draws(self, seed: Any, inputs: Inputs) -> CoalitionDraws:
        return GeneratorDraws() if seed is None else super()._draws(seed, inputs)


class _OfEveryValue(PerturbationMethod):
    """Keeps the dimensions of each example's scores where no target is given."""

    def _in_form(self, elements: Sequence[Tensor], scores: TargetScores) -> Sequence[Tensor]:
        if scores.every is None:
            return methods.Ablation._in_form(self, elements, scores)
        return [part.unflatten(1, scores.every) for part in elements]


class ShapleyValueSampling(_FromGenerator, _OfEveryValue, methods.ShapleyValueSampling):
    """:class:`torchattr.ShapleyValueSampling`, drawn by PyTorch's generator without a `seed`."""

    def __init__(self, forward_func: Forward, *, output: OutputKey = None) -> None:
        super().__init__(forward_func, output=output)

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,
        perturbations_per_eval: int | None = 1,
        show_progress: bool = False,
        *,
        seed: Any = None,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            every_value(target),
            additional_forward_args,
            feature_mask,
            n_samples,
            perturbations_per_eval,
            show_progress,
            seed=seed,
            incremental=incremental,
            report=report,
        )

    attribute_future = in_future(attribute)


@ShapleyValueSampling.register
class ShapleyValues(_OfEveryValue, methods.ShapleyValues):
    """:class:`torchattr.ShapleyValues`, by default one coalition at a time."""

    def __init__(self, forward_func: Forward, *, output: OutputKey = None) -> None:
        super().__init__(forward_func, output=output)

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int | None = 1,
        show_progress: bool = False,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            every_value(target),
            additional_forward_args,
            feature_mask,
            perturbations_per_eval,
            show_progress,
        )

    attribute_future = in_future(attribute)


class LimeBase(CaptumMethod, methods.LimeBase):
    """:class:`torchattr.LimeBase`, by default one sample at a time."""

    def __init__(
        self,
        forward_func: Forward,
        interpretable_model: Any,
        similarity_func: Callable[..., Any],
        perturb_func: Callable[..., Any],
        perturb_interpretable_space: bool,
        from_interp_rep_transform: Callable[..., Any] | None,
        to_interp_rep_transform: Callable[..., Any] | None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(
            forward_func,
            interpretable_model,
            similarity_func,
            perturb_func,
            perturb_interpretable_space,
            from_interp_rep_transform,
            to_interp_rep_transform,
            output=output,
        )

    def attribute(
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        n_samples: int = 50,
        perturbations_per_eval: int | None = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        return super().attribute(
            inputs,
            target,
            additional_forward_args,
            n_samples,
            perturbations_per_eval,
            show_progress,
            **kwargs,
        )

    @property
    def _progress_title(self) -> str:
        return f"{self.get_name()} attribution"


@LimeBase.register
class Lime(_FromGenerator, PerturbationMethod, methods.Lime):
    """:class:`torchattr.Lime`, drawn by PyTorch's generator without a `seed`."""

    multiplies_by_inputs = False

    def __init__(
        self,
        forward_func: Forward,
        interpretable_model: Any = None,
        similarity_func: Callable[..., Any] | None = None,
        perturb_func: Callable[..., Any] | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(
            forward_func, interpretable_model, similarity_func, perturb_func, output=output
        )

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,
        perturbations_per_eval: int | None = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
        *,
        seed: Any = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            feature_mask,
            n_samples,
            perturbations_per_eval,
            return_input_shape,
            show_progress,
            seed=seed,
        )


@Lime.register
class KernelShap(_FromGenerator, PerturbationMethod, methods.KernelShap):
    """:class:`torchattr.KernelShap`, drawn by PyTorch's generator without a `seed`."""

    multiplies_by_inputs = False
    inf_weight = 1000000.0

    def __init__(self, forward_func: Forward, *, output: OutputKey = None) -> None:
        super().__init__(forward_func, output=output)

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,
        perturbations_per_eval: int | None = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
        *,
        seed: Any = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            feature_mask,
            n_samples,
            perturbations_per_eval,
            return_input_shape,
            show_progress,
            seed=seed,
        )

    def kernel_shap_perturb_generator(
        self, original_inp: Tensors, **kwargs: Any
    ) -> Iterator[Tensor]:
        """Yield coalitions of 0 and 1, `(1, features)`: all features, none, and then random ones.

        It is a `perturb_func` for :class:`Lime` or :class:`LimeBase`. What `attribute` scores is
        drawn alike, but not by a method that a subclass could replace.

        Args:
            original_inp: the inputs, on whose device the coalitions are.
            **kwargs: `num_interp_features`, the number of features, and if wanted the distribution
                of the number of those kept, `num_select_distribution`.

        Raises:
            InputError: the number of features is missing.
        """
        features = _features(kwargs, "kernel_shap_perturb_generator")
        device = as_tensors(original_inp, "original_inp")[0].device
        yield torch.ones(1, features, device=device, dtype=torch.long)
        yield torch.zeros(1, features, device=device, dtype=torch.long)
        if features > 1:
            sizes = kwargs.get("num_select_distribution") or Categorical(_size_weights(features))
            while True:
                yield _subset(sizes, features)[None].to(device).long()

    def kernel_shap_similarity_kernel(
        self, _: Any, __: Any, interpretable_sample: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the weight of a coalition `(1, features)`: a million of all and none, 1 else.

        It is a `similarity_func` for :class:`Lime` or :class:`LimeBase`; `attribute` lets the
        attributions sum to the difference of the scores exactly instead.

        Args:
            interpretable_sample: the coalition.
            **kwargs: `num_interp_features`, the number of features.

        Raises:
            InputError: the number of features is missing.
        """
        kept = int(interpretable_sample.sum())
        at_end = kept in (0, _features(kwargs, "kernel_shap_similarity_kernel"))
        return torch.tensor([self.inf_weight if at_end else 1.0])


def _features(kwargs: Mapping[str, Any], function: str) -> int:
    if "num_interp_features" not in kwargs:
        raise InputError(
            f"{function} needs num_interp_features=..., the number of features, which Lime passes"
            " to its functions by name, and LimeBase if its attribute is given it"
        )
    return int(kwargs["num_interp_features"])
