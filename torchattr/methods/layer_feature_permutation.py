"""Feature permutation of a layer's values."""

from __future__ import annotations

from typing import Any

from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.incremental import Mode
from torchattr.methods.ablation import Ablation
from torchattr.methods.feature_permutation import FeaturePermutation, PermutationFunction
from torchattr.methods.layer_ablation import LayerAblation


class LayerFeaturePermutation(LayerAblation):
    """The score minus the score with a part of a layer's values taken from another example.

    It is :class:`FeaturePermutation`, `s(A) − s(A_{f←A'})`, of the model as a function of the
    layer's output `A`. Fisher, Rudin and Dominici 2019, arXiv:1801.01489.

    It is *not* a property of an example alone, but depends on the others of the batch.

    Args:
        layer: as for :class:`GradCAM`. If it is called several times, its last values are permuted.
        perm_func: as for :class:`FeaturePermutation`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.LayerFeaturePermutation(model, "1").attribute(torch.rand(5, 3), target=1).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        perm_func: PermutationFunction | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, layer, output=output)
        self.perm_func = perm_func

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        layer_mask: Tensors | None = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        seed: int = 0,
        incremental: Mode = "auto",
    ) -> Any:
        """Return the attributions, in the form of the layer's values; a dict for several layers.

        Args:
            inputs: as for every method, of at least two examples; integers are allowed.
            target: as for :class:`FeatureAblation`.
            additional_forward_args: as for every method.
            layer_mask: as for :class:`LayerFeatureAblation`.
            attribute_to_layer_input: use the layer's input instead of its output.
            perturbations_per_eval: as for :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr.
            seed: as for :class:`FeaturePermutation`.
            incremental: as for :class:`FeatureAblation`, from the layer on.

        Raises:
            LayerError: a layer that is unknown or does not run.
            ShapeError: a mask that does not broadcast to the layer's values.
            InputTypeError: a mask that does not hold integers.
            OutputError: several permutations at once of a forward that aggregates the batch.
            OutOfMemory: not even one permutation fits.
        """
        options = {
            "target": target,
            "feature_mask": layer_mask,
            "perturbations_per_eval": perturbations_per_eval,
            "show_progress": show_progress,
            "seed": seed,
            "incremental": incremental,
        }
        return self._of_layers(inputs, additional_forward_args, attribute_to_layer_input, options)

    def _ablation(self, model: Forward) -> Ablation:
        return FeaturePermutation(model, self.perm_func, output=self.output)
