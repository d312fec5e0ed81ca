"""IS-CAM: Score-CAM with the mean score along a path to the masked image."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchattr.core.targets import Target
from torchattr.core.types import Tensors
from torchattr.methods._cam.channel_scores import ChannelScores
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods.registry import register_method


@register_method("is_cam")
class ISCAM(ChannelScores):
    """Score-CAM with scores along a path: `Σ_c A_c · softmax_c (1/n) Σ_i s(i/n · x ⊙ m_c)`.

    `i` runs from 1 to `n`: from near 0 to the masked image. Masks and maps are those of
    :class:`ScoreCAM`. Naidu et al. 2020, arXiv:2010.03023 (whose maps are rectified:
    `relu_attributions=True`).

    It is *not* integrated gradients: the mean is of scores, and no sum of the map is known.

    Args:
        layer: as for :class:`ClassActivationMap`.
        calls: as for :class:`ClassActivationMap`, without `"each"`.
        layout: as for :class:`ClassActivationMap`.

    Raises:
        LayerError: as for :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> images = torch.rand(2, 3, 8, 8)
    >>> ta.ISCAM(model, layer="1").attribute(images, target=1, n_steps=2).shape
    torch.Size([2, 1, 6, 6])
    """

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        n_steps: int = 10,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Return the map of each layer; several targets take no more forwards than one.

        Args:
            inputs: as for :class:`ScoreCAM`.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: as for :class:`ClassActivationMap`.
            relu_attributions: as for :class:`ClassActivationMap`.
            n_steps: number of steps of the path, `n`.
            perturbations_per_eval: as for :class:`ScoreCAM`.
            show_progress: show a progress bar on stderr.

        Raises:
            InputError: an argument out of range.
            OutputError: as for :class:`ScoreCAM`.
            ShapeError: as for :class:`ScoreCAM`.
            OutOfMemory: not even one masked copy fits.
        """
        steps = checked_count(n_steps, "n_steps")
        return self._score(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input=attribute_to_layer_input,
            relu_attributions=relu_attributions,
            samples=steps,
            at_once=perturbations_per_eval,
            progress=show_progress,
            steps=steps,
        )

    def changed(
        self, image: Tensor, masks: Tensor, channels: range, sample: int, **options: Any
    ) -> Tensor:
        return masks * ((sample + 1) / options["steps"] * image)
