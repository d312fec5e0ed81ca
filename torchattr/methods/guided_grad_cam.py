"""Guided Grad-CAM: guided backpropagation times the enlarged Grad-CAM map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.core.warn import warn
from torchattr.errors import LayerError, NotSpatialWarning
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.grids import LayoutChoice, check_mode, enlarge, fits
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._gradient.memory import Memory
from torchattr.methods.base import GradientAttribution
from torchattr.methods.grad_cam import GradCAM
from torchattr.methods.guided_backprop import GuidedBackprop
from torchattr.methods.registry import register_method


@register_method("guided_grad_cam")
class GuidedGradCAM(GradientAttribution):
    """Guided backpropagation times the enlarged, rectified Grad-CAM, shaped like the input.

    One forward serves both. Several layers give a dict by name, from the same forward and one
    guided backward. Selvaraju et al. 2017, arXiv:1610.02391.

    With several inputs each gets the product of its own gradient; one onto which the map cannot be
    enlarged (a table next to an image) gets an empty tensor of shape `(0,)`, with a
    :class:`NotSpatialWarning`. That is *not* zero: such an input is not attributed at all.

    It is as sharp as guided backpropagation and localises like Grad-CAM; its fine detail is still
    *not* class-discriminative (see :class:`GuidedBackprop`).

    Args:
        layer: as for :class:`GradCAM`.
        calls: as for :class:`GradCAM`, without `"each"`.
        layout: as for :class:`GradCAM`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.GuidedGradCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 3, 8, 8])
    """

    rules: ClassVar[Mapping[str, Any]] = GuidedBackprop.rules

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(model, rules=rules, output=output, strict=strict, memory=memory)
        self._cam = GradCAM(model, layer, calls=calls, layout=layout, output=output)
        self._guided = GuidedBackprop(
            model, rules=rules, output=output, strict=strict, memory=memory
        )

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Return the product for each input.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            interpolate_mode: how the map is enlarged: a mode of `F.interpolate`.
            attribute_to_layer_input: as for :class:`GradCAM`.

        Raises:
            InputError: a mode that does not exist, or does not support the map's dimensions.
            ShapeError: the layer's map cannot be enlarged to any input.
            LayerError: a layer that returns several tensors, and so has several maps.
        """
        check_mode(interpolate_mode)
        return self._attribute(
            inputs,
            target,
            additional_forward_args,
            interpolate_mode=interpolate_mode,
            attribute_to_layer_input=attribute_to_layer_input,
        )

    @property
    def combines_at_once(self) -> bool:
        return self._cam.combines_at_once

    def _settings(self) -> dict[str, Any]:
        return {**self._cam._settings(), **super()._settings()}

    def passes(
        self,
        inputs: Inputs,
        arguments: Sequence[Any],
        *,
        target: Any = None,
        attribute_to_layer_input: bool = False,
        **options: Any,
    ) -> Sequence[Pass]:
        cam = self._cam.passes(
            inputs, arguments, target=target, attribute_to_layer_input=attribute_to_layer_input
        )
        return [*self._guided.passes(inputs, arguments, target=target), *cam]

    def combine(
        self,
        inputs: Inputs,
        results: Sequence[PassResult],
        *,
        interpolate_mode: str = "nearest",
        **options: Any,
    ) -> Any:
        guided = results[0].gradients[0]
        maps = self._cam.combine(inputs, results[1:], relu_attributions=True, may_be_numbers=True)
        if not self._cam.several:
            return inputs.restore(_products(guided, maps, interpolate_mode))
        return {
            name: inputs.restore(_products(guided, of_layer, interpolate_mode))
            for name, of_layer in maps.items()
        }


def _products(guided: Sequence[Tensor], maps: Any, mode: str) -> list[Tensor]:
    several = maps if isinstance(maps, tuple) else (maps,)
    if len(several) != 1 or not isinstance(several[0], Tensor):
        raise LayerError(
            f"GuidedGradCAM needs one map, but the layer returns {len(several)} tensors, each with"
            " its own map; choose a layer inside it, or multiply GradCAM's maps yourself"
        )
    can_enlarge = [fits(several[0], grad.shape[2:]) for grad in guided]
    if not any(can_enlarge):
        enlarge(several[0], guided[0].shape[2:], mode)
    _warn_of_empty(
        [number for number, possible in enumerate(can_enlarge) if not possible], several[0]
    )
    return [
        grad * enlarge(several[0], grad.shape[2:], mode) if possible else grad.new_empty(0)
        for grad, possible in zip(guided, can_enlarge, strict=True)
    ]


def _warn_of_empty(positions: Sequence[int], maps: Tensor) -> None:
    if positions:
        names = ", ".join(f"inputs[{position}]" for position in positions)
        warn(
            f"GuidedGradCAM: the layer's map of shape {tuple(maps.shape)} cannot be enlarged to"
            f" {names}, which gets an empty tensor; use GuidedBackprop for its contribution",
            NotSpatialWarning,
        )
