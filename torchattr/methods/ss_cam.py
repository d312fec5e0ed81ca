"""SS-CAM: Score-CAM with the mean score over noisy masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.targets import Target
from torchattr.core.types import Tensors
from torchattr.errors import InputError
from torchattr.methods._cam.channel_scores import ChannelScores
from torchattr.methods._perturbation.checked import checked_count, checked_seed
from torchattr.methods._perturbation.random_numbers import key_of, normal
from torchattr.methods.registry import register_method


@register_method("ss_cam")
class SSCAM(ChannelScores):
    """Score-CAM with noisy masks: `Σ_c A_c · softmax_c E s(x ⊙ (m_c + δ))`, `δ ~ N(0, σ²)`.

    `E` is the mean over the noise; masks and maps are those of :class:`ScoreCAM`. Wang et al. 2020,
    arXiv:2006.14255 (whose maps are rectified: `relu_attributions=True`).

    It is *not* cheap: `n_samples` forwards for each channel. With the paper's `stdev` of 2, most of
    a mask between 0 and 1 is noise.

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
    >>> ta.SSCAM(model, layer="1").attribute(images, target=1, n_samples=2).shape
    torch.Size([2, 1, 6, 6])
    """

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        n_samples: int = 35,
        stdev: float = 2.0,
        seed: int = 0,
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
            n_samples: number of noisy masks of each channel.
            stdev: the noise's standard deviation, in units of the mask.
            seed: seed of the noise, 0 or more, which is the same for all examples.
            perturbations_per_eval: as for :class:`ScoreCAM`.
            show_progress: show a progress bar on stderr.

        Raises:
            InputError: an argument out of range.
            OutputError: as for :class:`ScoreCAM`.
            ShapeError: as for :class:`ScoreCAM`.
            OutOfMemory: not even one masked copy fits.
        """
        if not 0 <= stdev < float("inf"):
            raise InputError(f"stdev must be finite and not negative, got {stdev}")
        return self._score(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input=attribute_to_layer_input,
            relu_attributions=relu_attributions,
            samples=checked_count(n_samples, "n_samples"),
            at_once=perturbations_per_eval,
            progress=show_progress,
            stdev=stdev,
            seed=checked_seed(seed),
        )

    def changed(
        self, image: Tensor, masks: Tensor, channels: range, sample: int, **options: Any
    ) -> Tensor:
        pixels = masks.shape[2:].numel()
        key = key_of(options["seed"], sample)
        drawn = torch.from_numpy(normal(key, channels.start, channels.stop, pixels))
        noise = drawn.to(masks.device, masks.dtype).view(len(channels), 1, *masks.shape[2:])
        return (masks + options["stdev"] * noise) * image
