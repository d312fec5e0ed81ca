"""Captum's names for the methods that replace features one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.futures import Future

from torchattr import methods
from torchattr.captum.base import (
    CaptumMethod,
    LayerMethod,
    bare,
    in_captums_form,
    one_device,
)
from torchattr.core.targets import Neuron
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import InputError, OutputError
from torchattr.incremental import Mode, Recomputed, run_by
from torchattr.methods import EVERY_VALUE, TargetScores


class PerturbationMethod(CaptumMethod, methods.Ablation):
    """Base class of Captum's perturbation methods."""

    multiplies_by_inputs = True

    @property
    def _progress_title(self) -> str:
        return f"{self.get_name()} attribution"

    def _in_form(self, elements: Sequence[Tensor], scores: TargetScores) -> Sequence[Tensor]:
        """Return attributions as Captum does: without a target, a row for each value."""
        formed = super()._in_form(elements, scores)
        return formed if scores.every is None else [part.flatten(0, 1) for part in formed]


def in_future(attribute: Callable[..., Any]) -> Callable[..., Future[Any]]:
    """Return the `attribute_future` that belongs to an `attribute`."""

    @wraps(attribute)
    def attribute_future(self: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        waiting = copy(self)
        waiting.model = awaited(self.model)
        future: Future[Any] = Future()
        future.set_result(attribute(waiting, *args, **kwargs))
        return future

    attribute_future.__name__ = "attribute_future"
    attribute_future.__doc__ = """Return a future of the result of `attribute`, already set.

        The forward returns futures of scores, each of which is awaited before the next call.

        Raises:
            OutputError: the forward returns no future.
        """
    return attribute_future


def awaited(model: Forward) -> Forward:
    """Return a model that waits for the futures that another one returns."""

    def run(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
        output = run_model(*args)
        if not isinstance(output, Future):
            raise OutputError(
                "attribute_future needs a forward that returns a torch.futures.Future, got"
                f" {type(output).__name__}; call attribute instead"
            )
        return output.wait()

    return run_by(model, run)


def every_value(target: Any) -> Any:
    """Return a target that names every value where Captum, given none, explains each of them."""
    return EVERY_VALUE if target is None else target


def _permute_feature(x: Tensor, feature_mask: Tensor) -> Tensor:
    """Permute a feature among the examples by a random order from PyTorch's generator.

    Raises:
        InputError: a single example.
    """
    if len(x) < 2:
        raise InputError("a feature of a single example cannot be permuted; pass a larger batch")
    order = unchanged = torch.arange(len(x))
    while torch.equal(order, unchanged):
        order = torch.randperm(len(x))
    return torch.where(feature_mask, x[order.to(x.device)], x)


class FeatureAblation(PerturbationMethod, methods.FeatureAblation):
    """:class:`torchattr.FeatureAblation`, by default one perturbation at a time."""

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
            every_value(target),
            additional_forward_args,
            feature_mask,
            perturbations_per_eval,
            show_progress,
            incremental=incremental,
            report=report,
        )

    attribute_future = in_future(attribute)


@FeatureAblation.register
class Occlusion(PerturbationMethod, methods.Occlusion):
    """:class:`torchattr.Occlusion`, by default one perturbation at a time."""

    def __init__(self, forward_func: Forward, *, output: OutputKey = None) -> None:
        super().__init__(forward_func, output=output)

    def attribute(  # type: ignore[override]  # Captum's window has no default
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
            every_value(target),
            additional_forward_args,
            perturbations_per_eval,
            show_progress,
            incremental=incremental,
            report=report,
        )


@FeatureAblation.register
class FeaturePermutation(PerturbationMethod, methods.FeaturePermutation):
    """:class:`torchattr.FeaturePermutation`, drawn by PyTorch's generator for each input anew."""

    def __init__(
        self,
        forward_func: Forward,
        perm_func: Callable[[Tensor, Tensor], Tensor] = _permute_feature,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, perm_func, output=output)

    def attribute(
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int | None = 1,
        show_progress: bool = False,
        *,
        seed: int = 0,
        incremental: Mode = False,
        report: Callable[[Recomputed], object] | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            every_value(target),
            additional_forward_args,
            feature_mask,
            perturbations_per_eval,
            show_progress,
            seed=seed,
            incremental=incremental,
            report=report,
        )

    attribute_future = in_future(attribute)


class LayerFeatureAblation(LayerMethod, methods.LayerFeatureAblation):
    """:class:`torchattr.LayerFeatureAblation`, by default one perturbation at a time."""

    multiplies_by_inputs = True

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, layer, output=output)
        self.layer, self.device_ids = layer, one_device(device_ids)

    def attribute(  # type: ignore[override]  # Captum shows no progress here
        self,
        inputs: Tensors,
        layer_baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        layer_mask: Tensors | None = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int | None = 1,
        *,
        show_progress: bool = False,
        incremental: Mode = "auto",
    ) -> Any:
        found = super().attribute(
            inputs,
            layer_baselines,
            target,
            additional_forward_args,
            layer_mask,
            attribute_to_layer_input,
            perturbations_per_eval,
            show_progress,
            incremental=incremental,
        )
        return in_captums_form(found)

    def _ablation(self, model: Forward) -> methods.Ablation:
        return FeatureAblation(model, output=self.output)


@FeaturePermutation.register
class LayerFeaturePermutation(LayerMethod, methods.LayerFeaturePermutation):
    """:class:`torchattr.LayerFeaturePermutation`, drawn by PyTorch's generator."""

    multiplies_by_inputs = True

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, layer, _permute_feature, output=output)
        self.layer, self.device_ids = layer, one_device(device_ids)

    def attribute(  # type: ignore[override]  # Captum permutes outputs only
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        layer_mask: Tensors | None = None,
        perturbations_per_eval: int | None = 1,
        *,
        show_progress: bool = False,
        incremental: Mode = False,
    ) -> Any:
        found = super().attribute(
            inputs,
            target,
            additional_forward_args,
            layer_mask,
            False,
            perturbations_per_eval,
            show_progress,
            incremental=incremental,
        )
        return in_captums_form(found)

    def _ablation(self, model: Forward) -> methods.Ablation:
        return FeaturePermutation(model, output=self.output)


class NeuronFeatureAblation(PerturbationMethod, methods.FeatureAblation):
    """:class:`torchattr.FeatureAblation` with a :class:`torchattr.Neuron` as target."""

    def __init__(
        self,
        forward_func: Forward,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, output=output)
        self.layer, self.device_ids = layer, one_device(device_ids)

    def attribute(  # type: ignore[override]  # Captum's neuron methods take no `target`
        self,
        inputs: Tensors,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        attribute_to_neuron_input: bool = False,
        perturbations_per_eval: int | None = 1,
        *,
        show_progress: bool = False,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            Neuron(self.layer, _selector(neuron_selector), attribute_to_neuron_input),
            additional_forward_args,
            feature_mask,
            perturbations_per_eval,
            show_progress,
        )


def _selector(selector: Any) -> Any:
    if isinstance(selector, list):
        return tuple(selector)
    return (lambda values: selector(bare(values))) if callable(selector) else selector


class NoiseTunnel(CaptumMethod, methods.NoiseTunnel):
    """:class:`torchattr.NoiseTunnel` of a method of this package or of `torchattr`."""

    def __init__(self, attribution_method: methods.Attribution) -> None:
        super().__init__(attribution_method)
        if isinstance(attribution_method, CaptumMethod):
            self.multiplies_by_inputs = attribution_method.multiplies_by_inputs
            self._gives_delta = attribution_method.has_convergence_delta()
