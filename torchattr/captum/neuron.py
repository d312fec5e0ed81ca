"""Captum's names for the neuron methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from torchattr import methods
from torchattr.captum.base import CaptumMethod, bare, check_grad_kwargs, drawn_seeds, one_device
from torchattr.core.pytree import tensors_of
from torchattr.core.targets import Neuron
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.methods import CustomAttribution


class _OfNeuron(CaptumMethod):
    """A method that explains, or goes through, a neuron of a layer."""

    layer: Any
    device_ids: Sequence[int] | None

    def _at(self, layer: Any, device_ids: Sequence[int] | None = None) -> None:
        self.layer, self.device_ids = layer, one_device(device_ids)

    def _neuron(self, selector: Any, of_input: bool) -> Neuron:
        """Return the neuron of a selector; see :class:`torchattr.Neuron`, a list is a tuple."""
        return Neuron(self.layer, _of_bare(selector), of_input)


class _OfSteps(_OfNeuron, methods.PathAttribution):
    """A path method of a neuron."""

    def __init__(
        self,
        forward_func: Forward,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(
            forward_func, multiply_by_inputs, rules=rules, output=output, strict=strict
        )
        self._at(layer, device_ids)
        self.multiplies_by_inputs = multiply_by_inputs


class _OfComparison(_OfNeuron, methods.RescaleAttribution):
    """A method of a neuron that compares with baselines."""

    def __init__(
        self,
        model: Forward,
        layer: Any,
        multiply_by_inputs: bool = True,
        *,
        eps: float | None = 1e-10,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, multiply_by_inputs, eps, output=output)
        self._at(layer)
        self.multiplies_by_inputs = multiply_by_inputs


class NeuronAttribution(_OfNeuron, methods.GradientAttribution):
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
        self._at(layer, device_ids)

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
        neuron = self._neuron(neuron_selector, attribute_to_neuron_input)
        return self._attribute(inputs, neuron, additional_forward_args)


class NeuronGuidedBackprop(NeuronAttribution):
    """:class:`torchattr.GuidedBackprop` with a :class:`torchattr.Neuron` as target."""

    rules: ClassVar[Mapping[str, Any]] = methods.GuidedBackprop.rules


class NeuronDeconvolution(NeuronAttribution):
    """:class:`torchattr.Deconvolution` with a :class:`torchattr.Neuron` as target."""

    rules: ClassVar[Mapping[str, Any]] = methods.Deconvolution.rules


class NeuronGradient(NeuronAttribution):
    """The gradient of a :class:`torchattr.Neuron`: `∂z/∂x`."""

    def __init__(
        self,
        forward_func: Forward,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, rules=rules, output=output, strict=strict)


class NeuronIntegratedGradients(_OfSteps, methods.IntegratedGradients):
    """:class:`torchattr.IntegratedGradients` with a :class:`torchattr.Neuron` as target."""

    def attribute(  # type: ignore[override]  # Captum's neuron methods take no `target`
        self,
        inputs: Tensors,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            self._neuron(neuron_selector, attribute_to_neuron_input),
            additional_forward_args,
            n_steps,
            method,
            internal_batch_size,
        )


class NeuronGradientShap(_OfSteps, methods.GradientShap):
    """:class:`torchattr.GradientShap` of a neuron, drawn anew by each call."""

    def attribute(  # type: ignore[override]  # Captum's neuron methods take no `target`
        self,
        inputs: Tensors,
        neuron_selector: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float = 0.0,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        *,
        seed: int | Sequence[int] | None = None,
        internal_batch_size: int | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            n_samples,
            stdevs,
            self._neuron(neuron_selector, attribute_to_neuron_input),
            additional_forward_args,
            seed=drawn_seeds(inputs) if seed is None else seed,
            internal_batch_size=internal_batch_size,
        )


class NeuronConductance(_OfNeuron, methods.NeuronConductance):
    """:class:`torchattr.NeuronConductance` under Captum's argument names."""

    def __init__(
        self,
        forward_func: Forward,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(forward_func, multiply_by_inputs, output=output)
        self._at(layer, device_ids)
        self.multiplies_by_inputs = multiply_by_inputs

    def attribute(  # type: ignore[override]  # Captum asks for zeros by `grad_kwargs`
        self,
        inputs: Tensors,
        neuron_selector: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        allow_unused = check_grad_kwargs(grad_kwargs)
        return super().attribute(
            inputs,
            self._neuron(neuron_selector, attribute_to_neuron_input),
            baselines,
            target,
            additional_forward_args,
            n_steps,
            method,
            internal_batch_size,
            allow_unused=allow_unused,
        )


class NeuronDeepLift(_OfComparison, methods.DeepLift):
    """:class:`torchattr.DeepLift` with a :class:`torchattr.Neuron` as target."""

    def attribute(  # type: ignore[override]  # Captum's neuron methods take no `target`
        self,
        inputs: Tensors,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            self._neuron(neuron_selector, attribute_to_neuron_input),
            additional_forward_args,
            custom_attribution_func=custom_attribution_func,
        )


class NeuronDeepLiftShap(_OfComparison, methods.DeepLiftShap):
    """:class:`torchattr.DeepLiftShap` with a :class:`torchattr.Neuron` as target."""

    def attribute(  # type: ignore[override]  # Captum's neuron methods take no `target`
        self,
        inputs: Tensors,
        neuron_selector: Any,
        baselines: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        internal_batch_size: int | None = None,
    ) -> Any:
        return super().attribute(
            inputs,
            baselines,
            self._neuron(neuron_selector, attribute_to_neuron_input),
            additional_forward_args,
            custom_attribution_func=custom_attribution_func,
            internal_batch_size=internal_batch_size,
        )


def _of_bare(selector: Any) -> Any:
    if isinstance(selector, list):
        return tuple(selector)
    return partial(_selected, selector) if callable(selector) else selector


def _selected(selector: Callable[..., Any], values: Any) -> Tensor:
    """Return a value for each example; one for all is a sum over them, of which each has a part."""
    found: Tensor = selector(bare(values))
    if found.dim():
        return found
    rows = len(tensors_of(values)[0])
    return (found / rows).expand(rows)
