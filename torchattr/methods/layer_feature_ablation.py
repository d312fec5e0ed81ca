"""Feature ablation of a layer's values."""

from __future__ import annotations

from typing import Any

from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, Tensors
from torchattr.incremental import Mode
from torchattr.methods.ablation import Ablation
from torchattr.methods.feature_ablation import FeatureAblation
from torchattr.methods.layer_ablation import LayerAblation


class LayerFeatureAblation(LayerAblation):
    """The score minus the score with a part of a layer's values replaced, `s(A) − s(A_{f←b})`.

    It is :class:`FeatureAblation` of the model as a function of the layer's output `A` (or input).
    With one channel as a feature this is what Ablation-CAM weights its channels by: Desai and
    Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360.

    It is *not* a map of the input, but shaped like the layer's values; and not additive.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.LayerFeatureAblation(model, "1").attribute(torch.ones(5, 3), target=1).shape
    torch.Size([5, 4])
    """

    def attribute(
        self,
        inputs: Tensors,
        layer_baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        layer_mask: Tensors | None = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        incremental: Mode = "auto",
    ) -> Any:
        """Return the attributions, in the form of the layer's values; a dict for several layers.

        Args:
            inputs: as for every method, see :class:`Attribution`; integers are allowed.
            layer_baselines: what replaces a feature: a number or a tensor that broadcasts to the
                layer's values; 0 by default.
            target: as for :class:`FeatureAblation`.
            additional_forward_args: as for every method.
            layer_mask: integers that broadcast to the layer's values; elements with equal numbers
                are replaced together. By default every element is a feature.
            attribute_to_layer_input: use the layer's input instead of its output.
            perturbations_per_eval: as for :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr.
            incremental: as for :class:`FeatureAblation`, from the layer on.

        Raises:
            LayerError: a layer that is unknown or does not run.
            ShapeError: a mask or baseline that does not broadcast to the layer's values.
            InputTypeError: a mask that does not hold integers.
            OutputError: several perturbations at once of a forward that aggregates the batch.
            OutOfMemory: not even one perturbation fits.
        """
        options = {
            "baselines": layer_baselines,
            "target": target,
            "feature_mask": layer_mask,
            "perturbations_per_eval": perturbations_per_eval,
            "show_progress": show_progress,
            "incremental": incremental,
        }
        return self._of_layers(inputs, additional_forward_args, attribute_to_layer_input, options)

    def _ablation(self, model: Forward) -> Ablation:
        return FeatureAblation(model, output=self.output)
