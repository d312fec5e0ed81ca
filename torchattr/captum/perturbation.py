"""Captum's names for the perturbation methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchattr import methods
from torchattr.captum.base import CaptumMethod
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.incremental import Mode, Recomputed


class FeatureAblation(CaptumMethod, methods.FeatureAblation):
    """:class:`torchattr.FeatureAblation`, by default one perturbation at a time."""

    multiplies_by_inputs = True

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
        *,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            feature_mask,
            perturbations_per_eval,
            show_progress,
            incremental=incremental,
            report=report,
        )


class Occlusion(CaptumMethod, methods.Occlusion):
    """:class:`torchattr.Occlusion`, by default one perturbation at a time."""

    multiplies_by_inputs = True

    def __init__(self, forward_func: Forward, *, output: OutputKey = None) -> None:
        super().__init__(forward_func, output=output)

    def attribute(
        self,
        inputs: Tensors,
        sliding_window_shapes: Any,
        strides: Any = None,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: int | None = 1,
        show_progress: bool = False,
        *,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            sliding_window_shapes,
            strides,
            baselines,
            target,
            additional_forward_args,
            perturbations_per_eval,
            show_progress,
            incremental=incremental,
            report=report,
        )


class NoiseTunnel(CaptumMethod, methods.NoiseTunnel):
    """:class:`torchattr.NoiseTunnel` of a method of this package or of `torchattr`."""

    def __init__(self, attribution_method: methods.Attribution) -> None:
        super().__init__(attribution_method)
        if isinstance(attribution_method, CaptumMethod):
            self.multiplies_by_inputs = attribution_method.multiplies_by_inputs
            self._gives_delta = attribution_method.has_convergence_delta()
