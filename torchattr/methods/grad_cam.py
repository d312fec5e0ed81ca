"""Grad-CAM: a layer's activations, weighted by their mean gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.rounding import settled_mean, settled_sum
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.layers import TapPoint
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.grids import (
    NOT_INFERRED,
    Grids,
    LayoutChoice,
    checked_layout,
)
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.memory import Memory
from torchattr.methods.base import GradientAttribution
from torchattr.methods.registry import register_method


@register_method("grad_cam")
class GradCAM(GradientAttribution):
    """The layer's activations, each channel weighted by its mean gradient: `Σ_c ḡ_c · A_c`.

    The result has the layer's own resolution, `(N, 1, h, w)`. Several layers give a dict by name,
    all from one forward. Selvaraju et al. 2017, arXiv:1610.02391 (whose maps are rectified:
    `relu_attributions=True`).

    A map shows *where* the layer holds evidence, at its own, coarse resolution; it is *not* a pixel
    attribution, and enlarging it does not make it one. A map that is zero everywhere after
    rectification means that the evidence is against the class: it stays zero. So do weights and
    positions whose terms cancel up to the rounding error of their dtype.

    Args:
        layer: a name, pattern or module, or several; `None` takes the last layer with spatial
            dimensions on the path to the target, with a warning that names it.
        calls: which call counts of a layer that is called several times: `"last"` (the default,
            with a warning), `"first"`, `"sum"` or `"each"`.
        layout: the layout of the layer's values: `"channels_first"`, `"channels_last"`, `"tokens"`
            `(N, tokens, C)` whose last ones form a grid with the input's aspect ratio, or a
            function from the values to `(N, C, h, w)`. By default it is inferred by tracking the
            input's dimensions through the model.

    Raises:
        LayerError: an unknown layer; one that did not run; one whose values have no spatial
            dimensions (attention heads and weights), or none that are known; one whose first
            dimension is not the batch of the inputs (frames, windows, regions).
        DisconnectedError: the graph does not connect the target with the layer.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.GradCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    differentiates_inputs: ClassVar[bool] = False

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
        self._layers = LayerChoice(model, layer, calls)
        self._layout: LayoutChoice = checked_layout(layout)

    @property
    def several(self) -> bool:
        """Whether the result is a dict with several layers."""
        return self._layers.several

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
    ) -> Any:
        """Return the map of each layer.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: use the layer's input instead of its output.
            relu_attributions: keep only evidence for the target, as in the paper.
            attr_dim_summation: sum over the channels; otherwise one map per channel.
        """
        return self._attribute(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input=attribute_to_layer_input,
            relu_attributions=relu_attributions,
            attr_dim_summation=attr_dim_summation,
        )

    @property
    def combines_at_once(self) -> bool:
        # A layout of the user's may do anything.
        return not callable(self._layout)

    def _settings(self) -> dict[str, Any]:
        layout = {"layout": self._layout}
        return {**self._layers.settings, **layout, **super()._settings()}

    def passes(
        self,
        inputs: Inputs,
        arguments: Sequence[Any],
        *,
        target: Any = None,
        attribute_to_layer_input: bool = False,
        **options: Any,
    ) -> Sequence[Pass]:
        layers = self._layers.resolve(inputs, arguments, self.output, target)
        inferred = self._layout is None
        return [
            Pass(self.table, TapPoint(module, attribute_to_layer_input, inferred), name)
            for name, module in layers.items()
        ]

    def combine(
        self,
        inputs: Inputs,
        results: Sequence[PassResult],
        *,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        **options: Any,
    ) -> Any:
        maps = {}
        for result in results:
            grids = Grids(result.name, inputs, self._layout)
            of_call = partial(_maps_of_call, result, grids, relu_attributions, attr_dim_summation)
            maps[result.name] = self._layers.pick(result.name, range(len(result.calls)), of_call)
        return self._layers.form(maps)


def _maps_of_call(
    result: PassResult, grids: Grids, rectify: bool, sum_channels: bool, number: int
) -> Any:
    """Return the map of each tensor of one call of a layer, in the form of its output."""
    call = result.calls[number]
    layouts = call.layouts or (NOT_INFERRED,) * len(call.values)
    read = map(grids.of, call.values, result.gradients[number], layouts)
    return call.restore([_map(*pair, rectify, sum_channels) for pair in read])


def _map(value: Tensor, gradient: Tensor, rectify: bool, sum_channels: bool) -> Tensor:
    spatial = tuple(range(2, gradient.dim()))
    weights = settled_mean(gradient, spatial) if spatial else gradient
    weighted = weights * value
    if sum_channels:
        weighted = settled_sum(weighted, (1,))
    return weighted.relu() if rectify else weighted
