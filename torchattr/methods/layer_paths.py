"""The base of the path methods that read gradients at layers instead of the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.pytree import joined, tensors_of
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.layers import Trace
from torchattr.methods._gradient.attributed import AttributedLayers
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._gradient.passes import MethodCall
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.base import GradientAttribution
from torchattr.methods.path_attribution import PathAttribution, RowsElsewhere, convergence_delta


class _AtLayers(GradientAttribution):
    """The values of layers, and the gradients there, under the title of the method."""

    def __init__(self, title: str, model: Forward, **options: Any) -> None:
        super().__init__(model, **options)
        self._title = title

    @property
    def title(self) -> str:
        return self._title

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        of: AttributedLayers = options["of"]
        return of.passes(self.table)

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        of: AttributedLayers = options["of"]
        return of.values_in(results), of.gradients(results)


class LayerPathAttribution(PathAttribution):
    """A path method that reads gradients at layers, at points between baselines and the input.

    Args:
        layer: as for :class:`GradCAM`.
        multiply_by_inputs: multiply gradients by a difference of the layer's values.
        calls: as for :class:`GradCAM`.
        rules: as for :class:`PathAttribution`.
        strict: as for :class:`PathAttribution`.
        memory: as for :class:`PathAttribution`.
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
        options: dict[str, Any] = {
            "rules": rules,
            "output": output,
            "strict": strict,
            "memory": memory,
        }
        super().__init__(model, multiply_by_inputs, **options)
        self._layers = LayerChoice(model, layer, calls)
        self._at_layers = _AtLayers(self.title, model, **options)

    def _settings(self) -> dict[str, Any]:
        return {**self._layers.settings, **super()._settings()}

    def _deltas(self, found: Any, run: LayerRun, rise: Tensor) -> Any:
        """Return how far the attributions of each layer are from the rise of the scores."""
        return run.of.for_each(
            lambda one: convergence_delta(tensors_of(one), run.scores, rise), found
        )


class LayerRun:
    """The layers and the scores of one call, on the batch and on copies of it.

    Values and gradients come in the form of the layers' outputs, by name for several layers.

    Args:
        method: the method.
        inputs: the batch.
        target: what is explained.
        arguments: further arguments of the model.
        of_input: whether the layers' inputs are read instead of their outputs.
        allow_unused: whether layers that the target does not depend on get zeros.

    Attributes:
        of: the layers.
        scores: the scores of the batch.
        clean: the layers' values for the batch.
    """

    def __init__(
        self,
        method: LayerPathAttribution,
        inputs: Inputs,
        target: Any,
        arguments: Sequence[Any],
        of_input: bool,
        allow_unused: bool = False,
    ) -> None:
        self._method, self._arguments = method, arguments
        self._allow_unused = allow_unused
        self._batch = inputs.batch_size
        self.of = AttributedLayers(
            method._layers, inputs, arguments, method.output, target, of_input=of_input
        )
        self.scores = TargetScores(
            method.model,
            inputs,
            target,
            arguments,
            method.output,
            taps=list(self.of.taps.values()),
        )
        self.clean = self.of.values(self.scores.trace)

    def values(self, trace: Trace, copies: int = 1) -> Any:
        """Return the layers' values in a forward of copies of the batch.

        Raises:
            RowsElsewhere: the first dimension of a layer is not that of the batch.
        """
        return self._of_copies(self.of.values(trace), copies)

    def at(self, points: Sequence[Tensor], copies: int) -> tuple[Any, Any]:
        """Return the layers' values and gradients at copies of the batch.

        With several targets there is a dimension for them after the first.

        Raises:
            RowsElsewhere: the first dimension of a layer is not that of the batch.
        """
        call = MethodCall(self._method._at_layers, {"of": self.of}, self._allow_unused)
        values, gradients = self._method._gradients(
            points, self._arguments, self.scores, self._batch, call
        )
        return self._of_copies(values, copies), gradients

    def like_values(self, results: Any) -> Any:
        """Return results in the dtypes of the layers' values."""
        return joined([results, self.clean], lambda pair: pair[0].to(pair[1].dtype))

    def _of_copies(self, values: Any, copies: int) -> Any:
        sizes = [len(one) if one.dim() else 1 for one in tensors_of(values)]
        clean = [len(one) if one.dim() else 1 for one in tensors_of(self.clean)]
        if copies > 1 and sizes != [copies * size for size in clean]:
            raise RowsElsewhere(
                f"{self._method.title} runs {copies} copies of the batch at once, but the layer's"
                " first dimension does not grow with it; pass internal_batch_size=1"
            )
        return values
