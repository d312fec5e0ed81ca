"""Captum's names for DeepLIFT at layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchattr import methods
from torchattr.captum.base import LayerMethod, check_grad_kwargs, with_deltas
from torchattr.captum.gradient import DeepLift, DeepLiftShap
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods import Calls, CustomAttribution


@DeepLift.register
class LayerDeepLift(LayerMethod, methods.LayerDeepLift):
    """:class:`torchattr.LayerDeepLift` with Captum's absolute size of differences."""

    _gives_delta = True

    def __init__(
        self,
        model: Forward,
        layer: Layers,
        multiply_by_inputs: bool = True,
        *,
        eps: float | None = 1e-10,
        calls: Calls | None = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, layer, multiply_by_inputs, eps, calls=calls, output=output)
        self.layer = layer
        self.multiplies_by_inputs = multiply_by_inputs

    def attribute(  # type: ignore[override]  # Captum asks for zeros by `grad_kwargs`
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        allow_unused = check_grad_kwargs(grad_kwargs)
        found = super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            return_convergence_delta,
            attribute_to_layer_input,
            custom_attribution_func,
            allow_unused=allow_unused,
        )
        return with_deltas(found, return_convergence_delta)


@DeepLiftShap.register
@LayerDeepLift.register
class LayerDeepLiftShap(LayerMethod, methods.LayerDeepLiftShap):
    """:class:`torchattr.LayerDeepLiftShap` with Captum's absolute size of differences."""

    _gives_delta = True

    def __init__(
        self,
        model: Forward,
        layer: Layers,
        multiply_by_inputs: bool = True,
        *,
        eps: float | None = 1e-10,
        calls: Calls | None = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, layer, multiply_by_inputs, eps, calls=calls, output=output)
        self.layer = layer
        self.multiplies_by_inputs = multiply_by_inputs

    def attribute(  # type: ignore[override]  # Captum's baselines have no default
        self,
        inputs: Tensors,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        internal_batch_size: int | None = None,
    ) -> Any:
        found = super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            return_convergence_delta,
            attribute_to_layer_input,
            custom_attribution_func,
            internal_batch_size=internal_batch_size,
        )
        return with_deltas(found, return_convergence_delta)
