"""Captum's names for the neuron methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torchattr import methods
from torchattr.captum.base import CaptumMethod, bare, one_device
from torchattr.core.targets import Neuron
from torchattr.core.types import Forward, OutputKey, Tensors


class NeuronAttribution(CaptumMethod, methods.GradientAttribution):
    """Base class of Captum's neuron methods, which explain a neuron of a layer."""

    def __init__(
        self,
        model: Forward,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(model, rules=rules, output=output, strict=strict)
        self.layer, self.device_ids = layer, one_device(device_ids)

    def attribute(  # type: ignore[override]  # Captum's neuron methods take no `target`
        self,
        inputs: Tensors,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        """Attribute a neuron's value to the inputs.

        Args:
            inputs: see :class:`torchattr.Attribution`.
            neuron_selector: see :class:`torchattr.Neuron`; a list is read as a tuple.
            additional_forward_args: see :class:`torchattr.Attribution`.
            attribute_to_neuron_input: use the layer's input instead of its output.
        """
        neuron = Neuron(self.layer, _of_bare(neuron_selector), attribute_to_neuron_input)
        return self._attribute(inputs, neuron, additional_forward_args)


class NeuronGuidedBackprop(NeuronAttribution):
    """:class:`torchattr.GuidedBackprop` with a :class:`torchattr.Neuron` as target."""

    rules: ClassVar[Mapping[str, Any]] = methods.GuidedBackprop.rules


class NeuronDeconvolution(NeuronAttribution):
    """:class:`torchattr.Deconvolution` with a :class:`torchattr.Neuron` as target."""

    rules: ClassVar[Mapping[str, Any]] = methods.Deconvolution.rules


def _of_bare(selector: Any) -> Any:
    if isinstance(selector, list):
        return tuple(selector)
    return (lambda values: selector(bare(values))) if callable(selector) else selector
