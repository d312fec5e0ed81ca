"""Captum's names for the gradient methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchattr import methods
from torchattr.captum.base import CaptumMethod, drawn_seeds
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.methods import CustomAttribution


class _OfFunction(CaptumMethod, methods.GradientAttribution):
    """A gradient method whose first argument Captum calls `forward_func`."""

    def __init__(
        self,
        forward_func: Forward,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(forward_func, rules=rules, output=output, strict=strict)


class Saliency(_OfFunction, methods.Saliency):
    """:class:`torchattr.Saliency` under Captum's argument names."""


class InputXGradient(_OfFunction, methods.InputXGradient):
    """:class:`torchattr.InputXGradient` under Captum's argument names."""

    multiplies_by_inputs = True


class Deconvolution(CaptumMethod, methods.Deconvolution):
    """:class:`torchattr.Deconvolution`; Captum's argument names are its own."""


class GuidedBackprop(CaptumMethod, methods.GuidedBackprop):
    """:class:`torchattr.GuidedBackprop`; Captum's argument names are its own."""


class _OfPaths(CaptumMethod, methods.PathAttribution):
    """A path method whose first argument Captum calls `forward_func`."""

    _gives_delta = True

    def __init__(
        self,
        forward_func: Forward,
        multiply_by_inputs: bool = True,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(
            forward_func, multiply_by_inputs, rules=rules, output=output, strict=strict
        )
        self.multiplies_by_inputs = multiply_by_inputs


class IntegratedGradients(_OfPaths, methods.IntegratedGradients):
    """:class:`torchattr.IntegratedGradients` under Captum's argument names."""


class GradientShap(_OfPaths, methods.GradientShap):
    """:class:`torchattr.GradientShap`, drawn anew by each call from PyTorch's generator."""

    def attribute(  # type: ignore[override]  # Captum's `baselines` have no default
        self,
        inputs: Tensors,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        *,
        seed: int | Sequence[int] | None = None,
        internal_batch_size: int | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            n_samples,
            stdevs,
            target,
            additional_forward_args,
            return_convergence_delta,
            seed=drawn_seeds(inputs) if seed is None else seed,
            internal_batch_size=internal_batch_size,
        )


class _OfDifferences(CaptumMethod, methods.RescaleAttribution):
    """A method whose quotients Captum takes by an absolute size of differences."""

    _gives_delta = True

    def __init__(
        self,
        model: Forward,
        multiply_by_inputs: bool = True,
        eps: float | None = 1e-10,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, multiply_by_inputs, eps, output=output)
        self.multiplies_by_inputs = multiply_by_inputs


class DeepLift(_OfDifferences, methods.DeepLift):
    """:class:`torchattr.DeepLift`; Captum's argument names are its own."""


@DeepLift.register
class DeepLiftShap(_OfDifferences, methods.DeepLiftShap):
    """:class:`torchattr.DeepLiftShap`; Captum's argument names are its own."""

    def __init__(
        self, model: Forward, multiply_by_inputs: bool = True, *, output: OutputKey = None
    ) -> None:
        super().__init__(model, multiply_by_inputs, output=output)

    def attribute(  # type: ignore[override]  # Captum's baselines have no default
        self,
        inputs: Tensors,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        internal_batch_size: int | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            return_convergence_delta,
            custom_attribution_func,
            internal_batch_size=internal_batch_size,
        )
