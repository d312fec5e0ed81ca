"""Integrated gradients of the score as a function of a layer's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, Layers, OutputKey, Tensors
from torchattr.core.undoing import Undo, undoing
from torchattr.errors import LayerError
from torchattr.layers import TapPoint, Trace
from torchattr.methods._gradient.baselines import fixed_baselines
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._gradient.target_reader import last_call
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods._perturbation.substitution import LayerPlace, Substitution, places_of
from torchattr.methods.integrated_gradients import IntegratedGradients
from torchattr.methods.path_attribution import (
    PathAttribution,
    check_internal_batch,
    convergence_delta,
)


class _OfValues(IntegratedGradients):
    """Integrated gradients of the values of layers, under the title of the method.

    Args, besides those of :class:`IntegratedGradients`:
        layers: their names, for messages.
        allow_unused: whether values that the target does not depend on get zeros.
    """

    def __init__(
        self,
        model: Forward,
        multiply_by_inputs: bool,
        *,
        layers: str,
        allow_unused: bool,
        **options: Any,
    ) -> None:
        self._names = layers
        super().__init__(model, multiply_by_inputs, **options)
        self._allow_unused = allow_unused

    @property
    def title(self) -> str:
        return "LayerIntegratedGradients"

    @property
    def _points_of(self) -> str:
        return self._names


class LayerIntegratedGradients(PathAttribution):
    """`(z − z') · ∫₀¹ ∂s/∂z (z' + α (z − z')) dα` of a layer's values z, shaped like its output.

    :class:`IntegratedGradients` (Sundararajan, Taly and Yan 2017, arXiv:1703.01365) of the score as
    a function of the layer's values, which go straight from z', those for the baseline, to z, those
    for the input. All else that the model computes from the input stays as it is. A tuple if the
    layer returns a tuple; a dict by name for several layers, whose values go together, as those of
    several inputs do: a layer that depends on another one among them is fixed by its own values.

    The attributions sum to `s(z) − s(z')`. If all of the score passes the layer, that is
    `s(x) − s(b)` up to the error of the integral, which `return_convergence_delta` returns. It is
    *not* :class:`LayerConductance`, which follows the values that the straight path of the *input*
    gives.

    Args:
        layer: as for :class:`GradCAM`.
        multiply_by_inputs: multiply by `z − z'`; otherwise the mean gradient itself.
        calls: as for :class:`GradCAM`; only the values of the calls that count go from z' to z.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> maps, delta = ta.LayerIntegratedGradients(model, "1").attribute(
    ...     torch.ones(1, 3), target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, bool(delta.abs() < 1e-5)
    (torch.Size([1, 4]), True)
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        multiply_by_inputs: bool = True,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        self._options: dict[str, Any] = {
            "rules": rules,
            "output": output,
            "strict": strict,
            "memory": memory,
        }
        super().__init__(model, multiply_by_inputs, **self._options)
        self._layers = LayerChoice(model, layer, calls)

    def _settings(self) -> dict[str, Any]:
        return {**self._layers.settings, **super()._settings()}

    def attribute(
        self,
        inputs: Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        *,
        allow_unused: bool = False,
    ) -> Any:
        """Return the attributions of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`; also integers, for a layer behind
                an embedding.
            baselines: the inputs that give z': a number or a tensor that broadcasts to the input,
                one for each input; 0 by default.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method.
            n_steps: number of points on the path.
            method: as for :meth:`IntegratedGradients.attribute`.
            internal_batch_size: as for :meth:`IntegratedGradients.attribute`.
            return_convergence_delta: return `(attributions, delta)`: for each example also how far
                the sum of its attributions, of all layers, is from `s(x) − s(b)`.
            attribute_to_layer_input: use the layer's input instead of its output.
            allow_unused: give zeros to a layer that the target does not depend on, instead of
                refusing it.

        Raises:
            InputError: an unknown `method`, too few steps, or baselines that are not finite.
            DisconnectedError: the target does not depend on the layer.
            LayerError: an unknown layer, one that did not run, or one whose values are not floating
                or do not have the batch first.
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one step fits.
        """
        given = as_inputs(inputs, differentiable=False)
        starts = fixed_baselines(baselines, given)
        check_internal_batch(internal_batch_size, given.batch_size, "step")
        arguments = as_arguments(additional_forward_args)
        named = self._layers.resolve(given, arguments, self.output, target)
        taps = {name: TapPoint(one, attribute_to_layer_input) for name, one in named.items()}
        scores = TargetScores(
            self.model, given, target, arguments, self.output, taps=list(taps.values())
        )
        begin = scores.traced(starts)
        places = self._places(taps, scores.trace, given)
        path = {"n_steps": n_steps, "method": method, "internal_batch_size": internal_batch_size}
        variables = _values_for(places, begin)
        integrate = partial(self._integrated, places, variables, given, scores, path, allow_unused)
        found = undoing(integrate)
        formed = self._formed(places, found)
        if not return_convergence_delta:
            return formed
        return formed, convergence_delta(found, scores, scores.clean - scores.read(begin)[0])

    def _places(
        self, taps: Mapping[str, TapPoint], trace: Trace, inputs: Inputs
    ) -> list[LayerPlace]:
        """Return where the layers' values are, checked."""
        for tap in taps.values():
            last_call(trace, tap)
        places = places_of(self._layers, taps, trace.calls)
        for place in places:
            if not place.values:
                raise LayerError(
                    f"layer {place.name!r} has no floating values, which a path could lead through;"
                    " choose another layer, such as what follows it"
                )
            lengths = {len(one) if one.dim() else 0 for one in place.values}
            if lengths != {inputs.batch_size}:
                shapes = ", ".join(str(tuple(one.shape)) for one in place.values)
                raise LayerError(
                    f"{self.title} needs a layer whose first dimension is the batch, of"
                    f" {inputs.batch_size}, but the values of {place.name!r} have shape {shapes};"
                    " choose another layer, or LayerConductance, which takes any"
                )
        return places

    def _integrated(
        self,
        places: Sequence[LayerPlace],
        starts: Sequence[Tensor],
        inputs: Inputs,
        scores: TargetScores,
        path: Mapping[str, Any],
        allow_unused: bool,
        undo: Undo,
    ) -> tuple[Tensor, ...]:
        """Return the attribution of each value."""
        arguments = (*(one.detach() for one in inputs.tensors), *scores.arguments)
        substitution = Substitution(self.model, places, arguments, inputs.batch_size)
        substitution.hook(undo)
        ends = tuple(value for place in places for value in place.values)
        if scores.repeatable:
            both = [torch.cat([end, start]) for end, start in zip(ends, starts, strict=True)]
            substitution.run_rest_once(both, self.output, scores.target_taps)
        method = _OfValues(
            substitution.forward,
            self.multiply_by_inputs,
            layers=", ".join(place.name for place in places),
            allow_unused=allow_unused,
            **self._options,
        )
        found: tuple[Tensor, ...] = method.attribute(ends, tuple(starts), scores.target, **path)
        return found

    def _formed(self, places: Sequence[LayerPlace], found: Sequence[Tensor]) -> Any:
        remaining = iter(found)
        return self._layers.form(
            {
                place.name: self._layers.gathered(place.restore(remaining, torch.zeros_like))
                for place in places
            }
        )


def _values_for(places: Sequence[LayerPlace], begin: Trace) -> list[Tensor]:
    """Return the layers' values for the baselines.

    Raises:
        LayerError: a layer ran otherwise for them than for the inputs.
    """
    own = [
        [begin.calls(place.tap)[number] for number in place.counted]
        if len(begin.calls(place.tap)) == place.calls
        else []
        for place in places
    ]
    values = [
        [one for call in calls for one in call.values if one.is_floating_point()] for calls in own
    ]
    for place, found in zip(places, values, strict=True):
        if [one.shape for one in found] != [one.shape for one in place.values]:
            raise LayerError(
                f"layer {place.name!r} runs otherwise for the baselines than for the inputs, so no"
                " path leads from its values there to those here; choose other baselines, or"
                " another layer"
            )
    return [one for found in values for one in found]
