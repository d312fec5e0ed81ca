"""Captum's names for the layer methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr import methods
from torchattr.captum.base import (
    CaptumMethod,
    LayerMethod,
    check_grad_kwargs,
    in_captums_form,
    one_device,
)
from torchattr.core.pytree import with_tensors
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods import Calls


class LayerActivation(LayerMethod, methods.LayerActivation):
    """:class:`torchattr.LayerActivation`; several layers return a list in their order."""

    multiplies_by_inputs = True

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        *,
        calls: Calls | None = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, layer, calls=calls, output=output)
        self.layer, self.device_ids = layer, one_device(device_ids)

    def attribute(
        self,
        inputs: Tensors,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        found = super().attribute(inputs, additional_forward_args, attribute_to_layer_input)
        return in_captums_form(found)


class LayerGradCam(LayerMethod, methods.GradCAM):
    """:class:`torchattr.GradCAM` under Captum's argument names."""

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

    def attribute(  # type: ignore[override]  # Captum has no further options
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the map of the layer, as :meth:`torchattr.GradCAM.attribute` does.

        As in Captum, a layer without positions has a number for each example, without a warning.

        Raises:
            InputError: `grad_kwargs` would change the result of `torch.autograd.grad`.
        """
        found = self._attribute(
            inputs,
            target,
            additional_forward_args,
            allow_unused=check_grad_kwargs(grad_kwargs),
            attribute_to_layer_input=attribute_to_layer_input,
            relu_attributions=relu_attributions,
            attr_dim_summation=attr_dim_summation,
            may_be_numbers=True,
        )
        return in_captums_form(found)


class LayerGradientXActivation(LayerMethod, methods.LayerGradientXActivation):
    """:class:`torchattr.LayerGradientXActivation`; several layers return a list in their order.

    With `memory_efficient`, the attributions are moved to the CPU.
    """

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        multiply_by_inputs: bool = True,
        memory_efficient: bool = False,
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
        self._memory_efficient = memory_efficient

    def attribute(  # type: ignore[override]  # Captum asks for zeros by `grad_kwargs`
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = super().attribute(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input,
            allow_unused=check_grad_kwargs(grad_kwargs),
        )
        if self._memory_efficient:
            found = with_tensors(found, Tensor.cpu)
        return in_captums_form(found)


class GuidedGradCam(CaptumMethod, methods.GuidedGradCAM):
    """:class:`torchattr.GuidedGradCAM` under Captum's argument names."""

    def __init__(
        self,
        model: Forward,
        layer: Layers,
        device_ids: Sequence[int] | None = None,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(model, layer, calls=calls, rules=rules, output=output, strict=strict)
        self.layer, self.device_ids = layer, one_device(device_ids)
