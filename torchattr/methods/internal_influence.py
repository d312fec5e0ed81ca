"""Internal influence: a layer's mean gradient on the path from a baseline to the input."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.pytree import with_tensors
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, Layers, OutputKey, Tensors
from torchattr.methods._gradient.baselines import fixed_baselines
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._perturbation.quadrature import (
    points_between,
    quadrature,
    weighted_copies,
)
from torchattr.methods.layer_paths import LayerPathAttribution, LayerRun
from torchattr.methods.path_attribution import check_internal_batch


class InternalInfluence(LayerPathAttribution):
    """`∫₀¹ ∂s/∂z (b + α (x − b)) dα` of a layer's values z, shaped like its output.

    Leino et al. 2018, arXiv:1802.03788, for the distribution of interest along the straight line
    from a baseline b to the input x. A tuple if the layer returns a tuple; a dict by name for
    several layers, all from the same forwards.

    It says how much the score changes for a unit of change of each value. It does *not* sum to the
    score's difference; :class:`LayerConductance` does.

    Args:
        layer: as for :class:`GradCAM`.
        calls: as for :class:`GradCAM`.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> found = ta.InternalInfluence(model, "1").attribute(torch.ones(1, 3), target=1)
    >>> torch.allclose(found[0], model[2].weight[1])
    True
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(
            model, layer, calls=calls, rules=rules, output=output, strict=strict, memory=memory
        )

    def attribute(
        self,
        inputs: Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
        *,
        allow_unused: bool = False,
    ) -> Any:
        """Return the mean gradient of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: as for :meth:`IntegratedGradients.attribute`.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method.
            n_steps: number of points on the path.
            method: as for :meth:`IntegratedGradients.attribute`.
            internal_batch_size: as for :meth:`IntegratedGradients.attribute`.
            attribute_to_layer_input: use the layer's input instead of its output.
            allow_unused: give zeros to a layer that the target does not depend on, instead of
                refusing it.

        Raises:
            InputError: an unknown `method`, too few steps, or baselines that are not finite.
            LayerError: an unknown layer, or one that did not run.
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one step fits.
        """
        given = as_inputs(inputs)
        starts = fixed_baselines(baselines, given)
        alphas, weights = quadrature(method, n_steps)
        check_internal_batch(internal_batch_size, given.batch_size, "step")
        arguments = as_arguments(additional_forward_args)
        of_input = attribute_to_layer_input
        run = LayerRun(self, given, target, arguments, of_input, allow_unused)

        def evaluate(first: int, last: int) -> Any:
            points = points_between(starts, given.tensors, alphas[first:last])
            gradients = run.at(points, last - first)[1]
            return with_tensors(gradients, partial(weighted_copies, weights=weights[first:last]))

        total = self._summed(len(alphas), evaluate, run.scores, given, internal_batch_size, "step")
        return run.like_values(total)
