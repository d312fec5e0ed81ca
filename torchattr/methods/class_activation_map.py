"""The bases of the class activation maps: what a layer's values and gradients become a map by."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.rounding import settled_sum
from torchattr.core.targets import Classes, Target, TopK
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import InputError
from torchattr.layers import TapPoint, Trace
from torchattr.methods._cam.augmented import augmented
from torchattr.methods._cam.fusing import Fusion, checked_fusion, fused
from torchattr.methods._cam.principal import first_component
from torchattr.methods._gradient.backward_pass import Pass, PassResult, calls_of
from torchattr.methods._gradient.grids import (
    NOT_INFERRED,
    Grids,
    LayoutChoice,
    checked_layout,
    warn_of_numbers,
)
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.base import GradientAttribution


class ClassActivationMap(GradientAttribution):
    """A map of a layer's own resolution, `(N, 1, h, w)`, from its values and gradients there.

    A subclass says how they become weighted channels: :meth:`weigh`. That is all. Several layers,
    their calls and layouts, several targets, and what is done with the channels are the same for
    all, and any number of methods and layers share one forward and one backward in
    :func:`torchattr.explain`.

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

    Warns `NotSpatialWarning` where the sum over the channels of a layer without positions, such as
    a linear one, is a single number `(N, 1)`.

    >>> import torch, torchattr as ta
    >>> class SquaredCAM(ta.ClassActivationMap):
    ...     def weigh(self, values, gradients):
    ...         return gradients.square() * values
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    >>> SquaredCAM(model, layer="0").attribute(torch.rand(2, 3, 8, 8), target=5).shape
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

    @abstractmethod
    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Return the weighted channels `(N, C, ...)` of a layer, whose sum is the map.

        Args:
            values: the layer's values, `(N, C, ...)`.
            gradients: the gradients of the score with respect to them; the values themselves for
                a method that reads none.
        """

    def project(self, weighted: Tensor) -> Tensor:
        """Return the map `(N, 1, ...)` of weighted channels; their sum by default."""
        return settled_sum(weighted, (1,))

    @property
    def reads_gradients(self) -> bool:
        """Whether the map depends on gradients, and so on the target."""
        return True

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
        eigen_smooth: bool = False,
        aug_smooth: bool = False,
        fuse: Fusion | None = None,
    ) -> Any:
        """Return the map of each layer.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: use the layer's input instead of its output.
            relu_attributions: keep only evidence for the target, as in the paper.
            attr_dim_summation: sum over the channels; otherwise one map per channel.
            eigen_smooth: replace the sum over the channels by their first principal component, in
                the direction of the sum; it has less noise, but no longer the sum's size.
            aug_smooth: average the maps of six copies of the images: mirrored or not, times 0.9, 1
                and 1.1. This runs six forwards.
            fuse: fuse the layers into one map between 0 and 1 of the input's size: the `"mean"`,
                `"product"` or `"max"` of their positive parts, each rescaled to [0, 1] and
                enlarged.

        Raises:
            InputError: options that exclude each other, or `aug_smooth` without images.
            LayerError: `eigen_smooth` of a layer with fewer than two positions.
        """
        options: dict[str, Any] = {
            "attribute_to_layer_input": attribute_to_layer_input,
            "relu_attributions": relu_attributions,
            "attr_dim_summation": attr_dim_summation,
            "eigen_smooth": eigen_smooth,
            "fuse": fuse,
        }
        if aug_smooth:
            return self._augmented(inputs, target, additional_forward_args, options)
        return self._attribute(inputs, target, additional_forward_args, **options)

    @property
    def combines_at_once(self) -> bool:
        # A layout of the user's may do anything.
        return self.reads_gradients and not callable(self._layout)

    def shares_forward(self, *, aug_smooth: bool = False, **options: Any) -> bool:
        return not aug_smooth

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
        _check(**options)
        layers = self._layers.resolve(inputs, arguments, self.output, target)
        inferred = self._layout is None
        return [
            Pass(
                self.table,
                TapPoint(module, attribute_to_layer_input, inferred),
                name,
                reads_gradients=self.reads_gradients,
            )
            for name, module in layers.items()
        ]

    def combine(
        self,
        inputs: Inputs,
        results: Sequence[PassResult],
        *,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        eigen_smooth: bool = False,
        fuse: Fusion | None = None,
        may_be_numbers: bool = False,
        **options: Any,
    ) -> Any:
        """Return the map of each layer, or the fused one.

        may_be_numbers: give a layer without positions its number without a warning.
        """
        maps = {}
        for result in results:
            grids = Grids(result.name, inputs, self._layout)
            form = partial(self._formed, relu_attributions, attr_dim_summation, eigen_smooth)
            of_call = partial(self._of_call, result, grids, form)
            maps[result.name] = self._layers.pick(result.name, range(len(result.calls)), of_call)
            if attr_dim_summation and fuse is None and not may_be_numbers:
                warn_of_numbers(self.title, result.name, tensors_of(maps[result.name]))
        return self._layers.form(maps) if fuse is None else fused(maps, inputs, fuse)

    def _of_call(self, result: PassResult, grids: Grids, form: Any, number: int) -> Any:
        """Return the map of each tensor of one call of a layer, in the form of its output."""
        call = result.calls[number]
        layouts = call.layouts or (NOT_INFERRED,) * len(call.values)
        gradients = result.gradients[number] or call.values
        read = map(grids.of, call.values, gradients, layouts)
        return call.restore([form(self.weigh(*pair)) for pair in read])

    def _formed(self, rectify: bool, sum_channels: bool, smooth: bool, weighted: Tensor) -> Tensor:
        """Return the map of weighted channels, or the channels, as the options say."""
        if smooth:
            weighted = first_component(weighted, self.project(weighted))
        elif sum_channels:
            weighted = self.project(weighted)
        return weighted.relu() if rectify else weighted

    def _augmented(
        self, inputs: Tensors, target: Any, arguments: Any, options: Mapping[str, Any]
    ) -> Any:
        given = as_inputs(inputs, differentiable=False)
        # The class of the images themselves, which a copy may not have.
        if self.reads_gradients and (target is None or isinstance(target, TopK)):
            further = as_arguments(arguments)
            target = TargetScores(self.model, given, target, further, self.output).target
        return augmented(
            lambda copies: self._attribute(copies, target, arguments, **options), given
        )


class ActivationMap(ClassActivationMap):
    """A map that depends on a layer's values alone, so not on the target, which is not read.

    It runs one forward without a graph; the model may return anything.
    """

    @property
    def reads_gradients(self) -> bool:
        return False

    def _attribute(
        self, inputs: Tensors, target: Any, additional_forward_args: Any, **options: Any
    ) -> Any:
        given = as_inputs(inputs, differentiable=False)
        arguments = as_arguments(additional_forward_args)
        asked = self.passes(given, arguments, target=None, **options)
        taps = [request.tap for request in asked if request.tap is not None]
        key = any_output
        trace = Trace(
            self.model, given.tensors, arguments, taps=taps, key=key, differentiable=False
        )
        calls = [(request.name, tuple(calls_of(trace, given, request))) for request in asked]
        results = [PassResult(name, of_layer, ((),) * len(of_layer)) for name, of_layer in calls]
        return _for_each(target, self.combine(given, results, **options))


def _for_each(target: Any, maps: Any) -> Any:
    """Return maps that are the same for all targets."""
    if not isinstance(target, (TopK, Classes)):
        return maps
    count = target.k if isinstance(target, TopK) else len(target.indices)
    return with_tensors(maps, lambda one: one.unsqueeze(1).repeat_interleave(count, 1))


def _check(
    *,
    attr_dim_summation: bool = True,
    eigen_smooth: bool = False,
    fuse: Fusion | None = None,
    **options: Any,
) -> None:
    """Check the options that exclude each other.

    Raises:
        InputError: channels are to be kept and reduced, or an unknown way to fuse layers.
    """
    reduced = "eigen_smooth" if eigen_smooth else "fuse" if checked_fusion(fuse) else None
    if reduced and not attr_dim_summation:
        raise InputError(
            f"{reduced} makes one map of all channels, which attr_dim_summation=False keeps; leave"
            " one of them out"
        )
