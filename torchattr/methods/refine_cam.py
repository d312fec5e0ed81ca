"""RefineCAM: the product of the maps of several layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torchattr.core.inputs import Inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods._cam.based import based_on
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._gradient.memory import Memory
from torchattr.methods.base import GradientAttribution
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("refine_cam")
class RefineCAM(GradientAttribution):
    """The product of the maps of several layers, each between 0 and 1: `(N, 1, H, W)`.

    The positive part of each layer's map is rescaled to [0, 1], enlarged to the input's size and
    multiplied with the others, so that deep layers keep what is noise out of the fine maps of
    shallow ones. arXiv:2605.14641. The same as `fuse="product"` of the other maps.

    It is *not* in the units of the score, and a position that any of the layers misses is 0.

    Args:
        layer: several layers, as for :class:`ClassActivationMap`; a single one gives its own map,
            rescaled.
        base: the map of each layer, by name or class.
        calls: as for :class:`ClassActivationMap`, without `"each"`.
        layout: as for :class:`ClassActivationMap`.

    Raises:
        InputError: a `base` that is no class activation map.
        LayerError: as for :class:`ClassActivationMap`, or a layer with several maps.
        DisconnectedError: as for :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.RefineCAM(model, layer=["0", "1"]).attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 8, 8])
    """

    differentiates_inputs: ClassVar[bool] = False

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        base: str | type[ClassActivationMap] = "grad_cam_plus_plus",
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(model, output=output, memory=memory)
        self._cam = based_on(base, model, layer, calls=calls, layout=layout, output=output)
        self._base = base

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        eigen_smooth: bool = False,
    ) -> Any:
        """Return the map.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: as for :class:`ClassActivationMap`.
            eigen_smooth: as for :class:`ClassActivationMap`.
        """
        options = {
            "attribute_to_layer_input": attribute_to_layer_input,
            "eigen_smooth": eigen_smooth,
        }
        return self._attribute(inputs, target, additional_forward_args, **options)

    @property
    def combines_at_once(self) -> bool:
        return self._cam.combines_at_once

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        return self._cam.passes(inputs, arguments, target=target, **options)

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        return self._cam.combine(inputs, results, fuse="product", **options)

    def _settings(self) -> dict[str, Any]:
        return {"base": self._base, **self._cam._settings(), **super()._settings()}
