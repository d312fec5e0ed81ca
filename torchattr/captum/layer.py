"""Captum's names for the layer methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchattr import methods
from torchattr.captum.base import CaptumMethod, LayerAttribution, in_captums_form, one_device
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import InputError
from torchattr.methods import Calls


class LayerActivation(LayerAttribution, methods.LayerActivation):
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


class LayerGradCam(LayerAttribution, methods.GradCAM):
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

        Raises:
            InputError: `grad_kwargs` would change the result of `torch.autograd.grad`.
        """
        _check_grad_kwargs(grad_kwargs or {})
        found = super().attribute(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input,
            relu_attributions,
            attr_dim_summation,
        )
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


def _check_grad_kwargs(grad_kwargs: Mapping[str, Any]) -> None:
    changing = {
        name for name, value in grad_kwargs.items() if value and name not in _WITHOUT_EFFECT
    }
    if changing:
        raise InputError(
            f"grad_kwargs sets {', '.join(sorted(changing))}, but the gradient is always that of"
            f" the target, without a graph; only {', '.join(_WITHOUT_EFFECT)} are"
            " accepted, which change no result"
        )


_WITHOUT_EFFECT = ("retain_graph", "allow_unused", "materialize_grads")
