"""Ablation-CAM: a layer's activations, weighted by what the score loses without each channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.rounding import settled_sum
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import InputTypeError, LayerError
from torchattr.layers import Captured, TapPoint, Trace
from torchattr.methods._cam.ablated import AblatedScores
from torchattr.methods._gradient.grids import (
    NOT_INFERRED,
    Grids,
    LayoutChoice,
    checked_layout,
    warn_of_numbers,
)
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.target_reader import last_call
from torchattr.methods._perturbation.evaluate_copies import check_at_once
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores
from torchattr.methods.base import Attribution
from torchattr.methods.registry import register_method


@register_method("ablation_cam")
class AblationCAM(Attribution):
    """Activations weighted by the loss without their channel: `Σ_c A_c · (s − s_c) / s`.

    `s_c` is the score with channel `c` of the layer set to 0; the map is `(N, 1, h, w)`. No
    gradient is needed. Only what follows the layer runs for each channel. Desai and Ramaswamy 2020,
    doi:10.1109/WACV45572.2020.9093360 (whose maps are rectified: `relu_attributions=True`).

    It is *not* additive: channels that do each other's work each count as dispensable. A negative
    score turns the map's sign, and one of 0 has a map of zeros. Of tokens, those of the grid are
    ablated; a class token stays.

    Args:
        layer: as for :class:`ClassActivationMap`; it must return a single tensor.
        calls: as for :class:`ClassActivationMap`.
        layout: as for :class:`ClassActivationMap`.

    Raises:
        LayerError: as for :class:`ClassActivationMap`, or a layer that returns several tensors.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.AblationCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
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
        self._layers = LayerChoice(model, layer, calls)
        self._layout: LayoutChoice = checked_layout(layout)

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        relu_attributions: bool = False,
        incremental: bool = True,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Return the map of each layer; several targets take no more forwards than one.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            relu_attributions: as for :class:`ClassActivationMap`.
            incremental: run only what follows the layer for each channel, where that is possible.
            perturbations_per_eval: number of channels in one forward, as for
                :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr.

        Raises:
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one ablated copy fits.
        """
        if not isinstance(incremental, bool):
            raise InputTypeError(f"incremental must be True or False, got {incremental!r}")
        check_at_once(perturbations_per_eval)
        given = as_inputs(inputs, differentiable=False)
        arguments = as_arguments(additional_forward_args)
        scores = TargetScores(self.model, given, target, arguments, self.output)
        if not scores.per_example:
            raise NotPerExample(
                "AblationCAM scores each example by itself, but the model does not return one row"
                " of scores for each"
            )
        options: dict[str, Any] = {"at_once": perturbations_per_eval, "incremental": incremental}
        maps = {}
        for name, module, calls in self._recorded(given, arguments, target):
            with tqdm(desc=self.title, disable=not show_progress) as bar:
                run = partial(AblatedScores, scores, given, module, bar=bar, **options)
                of_call = partial(self._map, name, calls, given, scores, run, relu_attributions)
                maps[name] = self._layers.pick(name, range(len(calls)), of_call)
        return self._layers.form(maps)

    def _recorded(
        self, inputs: Inputs, arguments: Sequence[Any], target: Any
    ) -> list[tuple[str, nn.Module, list[Captured]]]:
        """Return the layers and their calls."""
        layers = self._layers.resolve(inputs, arguments, self.output, target)
        inferred = self._layout is None
        taps = {name: TapPoint(module, with_layout=inferred) for name, module in layers.items()}
        free: dict[str, Any] = {"key": any_output, "differentiable": False}
        trace = Trace(self.model, inputs.tensors, arguments, taps=list(taps.values()), **free)
        for tap in taps.values():
            last_call(trace, tap)
        return [(name, tap.module, trace.calls(tap)) for name, tap in taps.items()]

    def _map(
        self,
        name: str,
        calls: Sequence[Captured],
        inputs: Inputs,
        scores: TargetScores,
        run: Any,
        rectify: bool,
        number: int,
    ) -> Tensor:
        """Return the map of one call of a layer."""
        call = calls[number]
        if len(call.values) != 1:
            raise LayerError(
                f"AblationCAM ablates one tensor, but layer {name!r} returns {len(call.values)};"
                " choose a layer inside it"
            )
        (value,), (layout,) = call.values, call.layouts or (NOT_INFERRED,)
        grid, _ = Grids(name, inputs, self._layout).of(value, value, layout)
        warn_of_numbers(self.title, name, [grid])

        def grids(some: Inputs) -> Grids:
            return Grids(name, some, self._layout)

        ablated = run(call=number).of_channels(value, grids, layout)
        weights = _losses(scores.clean, ablated).permute(1, 2, 0)
        spread = weights.reshape(*weights.shape, *[1] * (grid.dim() - 2)).to(grid.dtype)
        maps = settled_sum(spread * grid.unsqueeze(1), (2,))
        maps = maps.relu() if rectify else maps
        return maps if scores.several else maps[:, 0]

    def _settings(self) -> dict[str, Any]:
        return {**self._layers.settings, "layout": self._layout, **super()._settings()}


def _losses(clean: Tensor, ablated: Tensor) -> Tensor:
    """Return what the score loses, as a share of it; nothing of a score of 0."""
    return (clean - ablated) / clean.where(clean != 0, 1) * (clean != 0)
