"""Captum's names for the methods that integrate a layer's gradients along a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchattr import methods
from torchattr.captum.base import (
    LayerMethod,
    check_grad_kwargs,
    drawn_seeds,
    in_captums_form,
    one_device,
    with_deltas,
)
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods import Calls


class _OfLayerPaths(LayerMethod, methods.LayerPathAttribution):
    """A path method at layers whose first argument Captum calls `forward_func`."""

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(
            forward_func, layer, calls=calls, rules=rules, output=output, strict=strict
        )
        self.layer, self.device_ids = layer, one_device(device_ids)


class LayerConductance(_OfLayerPaths, methods.LayerConductance):
    """:class:`torchattr.LayerConductance`; several layers return a list in their order."""

    multiplies_by_inputs = True
    _gives_delta = True

    def attribute(  # type: ignore[override]  # Captum asks for zeros by `grad_kwargs`
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        allow_unused = check_grad_kwargs(grad_kwargs)
        found = super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            n_steps,
            method,
            internal_batch_size,
            return_convergence_delta,
            attribute_to_layer_input,
            allow_unused=allow_unused,
        )
        return with_deltas(found, return_convergence_delta)


class InternalInfluence(_OfLayerPaths, methods.InternalInfluence):
    """:class:`torchattr.InternalInfluence`; several layers return a list in their order."""

    def attribute(  # type: ignore[override]  # Captum asks for zeros by `grad_kwargs`
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        allow_unused = check_grad_kwargs(grad_kwargs)
        found = super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            n_steps,
            method,
            internal_batch_size,
            attribute_to_layer_input,
            allow_unused=allow_unused,
        )
        return in_captums_form(found)


class LayerIntegratedGradients(LayerMethod, methods.LayerIntegratedGradients):
    """:class:`torchattr.LayerIntegratedGradients`; a list of layers returns a list."""

    _gives_delta = True

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(
            forward_func,
            layer,
            multiply_by_inputs,
            calls=calls,
            rules=rules,
            output=output,
            strict=strict,
        )
        self.layer, self.device_ids = layer, one_device(device_ids)
        self.multiplies_by_inputs = multiply_by_inputs

    def attribute(  # type: ignore[override]  # Captum asks for zeros by `grad_kwargs`
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        allow_unused = check_grad_kwargs(grad_kwargs)
        found = super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            n_steps,
            method,
            internal_batch_size,
            return_convergence_delta,
            attribute_to_layer_input,
            allow_unused=allow_unused,
        )
        return with_deltas(found, return_convergence_delta)


class LayerGradientShap(LayerMethod, methods.LayerGradientShap):
    """:class:`torchattr.LayerGradientShap`, drawn anew by each call from PyTorch's generator."""

    _gives_delta = True

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(
            forward_func,
            layer,
            multiply_by_inputs,
            calls=calls,
            rules=rules,
            output=output,
            strict=strict,
        )
        self.layer, self.device_ids = layer, one_device(device_ids)
        self.multiplies_by_inputs = multiply_by_inputs

    def attribute(  # type: ignore[override]  # Captum's `baselines` have no default
        self,
        inputs: Tensors,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        *,
        seed: int | Sequence[int] | None = None,
        internal_batch_size: int | None = None,
    ) -> Any:
        found = super().attribute(
            inputs,
            baselines,
            n_samples,
            stdevs,
            target,
            additional_forward_args,
            return_convergence_delta,
            attribute_to_layer_input,
            seed=drawn_seeds(inputs) if seed is None else seed,
            internal_batch_size=internal_batch_size,
        )
        return with_deltas(found, return_convergence_delta)
