"""Score-CAM: a layer's activations, weighted by the scores of the images that they mask."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchattr.core.targets import Target
from torchattr.core.types import Tensors
from torchattr.methods._cam.channel_scores import ChannelScores
from torchattr.methods.registry import register_method


@register_method("score_cam")
class ScoreCAM(ChannelScores):
    """Activations weighted by scores of masked images: `Σ_c A_c · softmax_c s(x ⊙ m_c)`.

    The mask `m_c` is channel `c`, enlarged to the input's size and rescaled to [0, 1]; the map is
    `(N, 1, h, w)`. No gradient is needed. What the paper subtracts from all scores, that of a
    baseline, changes no softmax. Wang et al. 2020, arXiv:1910.01279 (whose maps are rectified:
    `relu_attributions=True`).

    It is *not* cheap: one forward for each channel. A softmax over channels of scores in the tens
    is close to 1 for one channel and to 0 for all others, so that the map may be one channel.

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
    >>> ta.ScoreCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Return the map of each layer; several targets take no more forwards than one.

        Args:
            inputs: as for every method, see :class:`Attribution`; those with as many spatial
                dimensions as the layer are masked.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: as for :class:`ClassActivationMap`.
            relu_attributions: as for :class:`ClassActivationMap`.
            perturbations_per_eval: number of channels in one forward, as for
                :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr.

        Raises:
            OutputError: the model does not return one row of scores for each example.
            ShapeError: no input can be masked by the layer.
            OutOfMemory: not even one masked copy fits.
        """
        return self._score(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input=attribute_to_layer_input,
            relu_attributions=relu_attributions,
            samples=1,
            at_once=perturbations_per_eval,
            progress=show_progress,
        )

    def changed(
        self, image: Tensor, masks: Tensor, channels: range, sample: int, **options: Any
    ) -> Tensor:
        return masks * image
