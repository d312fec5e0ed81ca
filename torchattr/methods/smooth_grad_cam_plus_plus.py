"""Smooth Grad-CAM++: Grad-CAM++ with the mean gradients of noisy images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import joined, tensors_of
from torchattr.core.rounding import settled_sum
from torchattr.core.stepping import counted
from torchattr.core.targets import Classes, Neuron, Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods._cam.channel_scores import LayerValues
from torchattr.methods._cam.second_order import second_order_weights
from torchattr.methods._gradient.backward_pass import PassResult
from torchattr.methods._gradient.grids import LayoutChoice, warn_of_numbers
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._perturbation.checked import checked_count, checked_seed, checked_stdevs
from torchattr.methods._perturbation.random_numbers import SeededStreams
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.base import Attribution
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("smooth_grad_cam_plus_plus")
class SmoothGradCAMPlusPlus(Attribution):
    """Grad-CAM++ with moments over noisy images: `Σ_c A_c · Σ_p α_cp · (E g_cp)⁺`, `(N, 1, h, w)`.

    `α = E g² / (2 E g² + E g³ · Σ_p A)`, where `E` is the mean over images with Gaussian noise and
    `A` the activations of the image itself. Omeiza et al. 2019, arXiv:1908.01224, whose numerator
    is `E g`; with `E g²` it is :class:`GradCAMPlusPlus` where there is no noise.

    It is *not* the mean of the maps of noisy images: `NoiseTunnel(GradCAMPlusPlus(model))` is.

    Args:
        layer: as for :class:`ClassActivationMap`.
        calls: as for :class:`ClassActivationMap`.
        layout: as for :class:`ClassActivationMap`.

    Raises:
        LayerError: as for :class:`ClassActivationMap`.
        DisconnectedError: as for :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> smooth = ta.SmoothGradCAMPlusPlus(model, layer="1")
    >>> smooth.attribute(torch.rand(2, 3, 8, 8), target=1, n_samples=2).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        self._gradients = _Gradients(model, layer, calls=calls, layout=layout, output=output)
        self._values = _PlacedValues(model, layer, calls=calls, layout=layout, output=output)

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        n_samples: int = 4,
        stdevs: float | tuple[float, ...] = 0.3,
        seed: int = 0,
    ) -> Any:
        """Return the map of each layer.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method; predicted classes are those of the images without noise.
            additional_forward_args: as for every method.
            attribute_to_layer_input: as for :class:`ClassActivationMap`.
            relu_attributions: as for :class:`ClassActivationMap`.
            n_samples: number of noisy copies, each with a forward and a backward.
            stdevs: the noise's standard deviation, in the units of the input; a tuple has one for
                each input.
            seed: seed of the noise, 0 or more, which is the same for all examples.

        Raises:
            InputError: an argument out of range.
        """
        given = as_inputs(inputs)
        spreads, seed = checked_stdevs(stdevs, given), checked_seed(seed)
        layer: Any = {
            "attribute_to_layer_input": attribute_to_layer_input,
            "attr_dim_summation": False,
        }
        fixed = self._fixed(given, target, additional_forward_args)
        values = self._values.attribute(inputs, fixed, additional_forward_args, **layer)
        sums: Any = None
        with counted(checked_count(n_samples, "n_samples")) as begin:
            for number in range(n_samples):
                begin(number, number + 1)
                noisy = given.restore(_noisy(given, spreads, seed, number))
                found = self._gradients.attribute(noisy, fixed, additional_forward_args, **layer)
                powers = [joined([found], partial(_power, order)) for order in (1, 2, 3)]
                sums = powers if sums is None else [*map(_added, sums, powers)]

        several = isinstance(fixed, Classes)
        return joined([values, *sums], partial(_map, n_samples, several, relu_attributions))

    def _fixed(self, inputs: Inputs, target: Any, additional_forward_args: Any) -> Any:
        """Return a target that ignores the noise."""
        if isinstance(target, Neuron):
            return target
        arguments = as_arguments(additional_forward_args)
        return TargetScores(self.model, inputs, target, arguments, self.output).target

    def _settings(self) -> dict[str, Any]:
        return self._gradients._settings()


class _PlacedValues(LayerValues):
    """The values of a layer, as its grid; without positions, the map will be a number."""

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        found = super().combine(inputs, results, **options)
        for result in results:
            own = found[result.name] if self.several else found
            warn_of_numbers(SmoothGradCAMPlusPlus.__name__, result.name, tensors_of(own))
        return found


class _Gradients(ClassActivationMap):
    """The gradients of a layer, as its grid."""

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return gradients


def _power(order: int, one: Sequence[Tensor]) -> Tensor:
    return one[0] ** order


def _added(sums: Any, more: Any) -> Any:
    return joined([sums, more], lambda pair: pair[0] + pair[1])


def _map(count: int, several: bool, rectify: bool, tensors: Sequence[Tensor]) -> Tensor:
    """Return the map of a layer from its values and the sums of the gradients' powers.

    Several targets come after the batch.
    """
    flat = [one.flatten(0, 1) if several else one for one in tensors]
    values, slopes, squares, cubes = flat[0], *(one / count for one in flat[1:])
    weights = second_order_weights(values, slopes, cubes / squares.where(squares > 0, 1))
    summed = settled_sum(weights * values, (1,))
    found = summed.unflatten(0, tensors[0].shape[:2]) if several else summed
    return found.relu() if rectify else found


def _noisy(inputs: Inputs, spreads: Sequence[float], seed: int, number: int) -> list[Tensor]:
    streams = SeededStreams([seed])
    return [
        tensor + spread * streams.normal_like(position, number, number + 1, tensor)[0]
        for position, (tensor, spread) in enumerate(zip(inputs.tensors, spreads, strict=True))
    ]
