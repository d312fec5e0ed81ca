"""The base of the maps whose weights are scores of images that a channel masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import with_tensors
from torchattr.core.rounding import settled_sum
from torchattr.core.stepping import counted
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import ShapeError
from torchattr.methods._cam.fusing import mode_of
from torchattr.methods._gradient.grids import LayoutChoice, enlarge, fits, from_0_to_1
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._perturbation.evaluate_copies import check_at_once
from torchattr.methods._perturbation.memory_budget import fitting, in_batches
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores
from torchattr.methods.base import Attribution
from torchattr.methods.class_activation_map import ActivationMap


class LayerValues(ActivationMap):
    """The values of a layer, as its grid `(N, C, ...)`."""

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return values


class ChannelScores(Attribution):
    """Activations weighted by the softmax over channels of a score of the image that each masks.

    A subclass says how a channel's mask, the enlarged channel between 0 and 1, changes the image in
    each of the forwards whose mean score counts: :meth:`changed`.

    Args:
        layer: as for :class:`ClassActivationMap`.
        calls: as for :class:`ClassActivationMap`.
        layout: as for :class:`ClassActivationMap`.
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
        self._values = LayerValues(model, layer, calls=calls, layout=layout, output=output)

    @abstractmethod
    def changed(
        self, image: Tensor, masks: Tensor, channels: range, sample: int, **options: Any
    ) -> Tensor:
        """Return masked copies of an input, `(channels, N, C, ...)`.

        Args:
            image: the input, `(N, C, ...)`.
            masks: `(channels, N, 1, ...)`, of the input's size.
            channels: the numbers of the channels.
            sample: the number of the forward.
            **options: those of the method.
        """

    def _score(
        self,
        inputs: Tensors,
        target: Any,
        additional_forward_args: Any,
        *,
        attribute_to_layer_input: bool,
        relu_attributions: bool,
        samples: int,
        at_once: int | None,
        progress: bool,
        **options: Any,
    ) -> Any:
        """Return the map of each layer.

        Args:
            inputs: the inputs.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: mask by the layer's input.
            relu_attributions: keep only the positive part.
            samples: number of forwards for each channel.
            at_once: number of channels in one forward; `None` chooses.
            progress: whether to show a progress bar.
            **options: passed on to :meth:`changed`.
        """
        given, arguments = as_inputs(inputs, differentiable=False), additional_forward_args
        check_at_once(at_once)
        scores = TargetScores(self.model, given, target, as_arguments(arguments), self.output)
        if not scores.per_example:
            raise NotPerExample(
                f"{self.title} scores each example by itself, but the model does not return one row"
                " of scores for each"
            )
        values = self._values.attribute(
            inputs, None, arguments, attribute_to_layer_input, attr_dim_summation=False
        )
        run = _MaskedRun(given, scores, samples, at_once, self.title if progress else None)
        change = partial(self.changed, **options)
        maps = with_tensors(values, lambda of_layer: run.map_of(of_layer, change))
        return with_tensors(maps, torch.relu) if relu_attributions else maps

    def _settings(self) -> dict[str, Any]:
        return self._values._settings()


class _MaskedRun:
    """The scores of images that channels mask, in batches that fit into memory."""

    def __init__(
        self,
        inputs: Inputs,
        scores: TargetScores,
        samples: int,
        at_once: int | None,
        progress: str | None,
    ) -> None:
        self._inputs = inputs
        self._scores = scores
        self._samples = samples
        self._progress = progress
        footprint, device = scores.footprint, inputs.tensors[0].device
        fit = fitting(footprint.bytes, footprint, inputs.batch_size, device)
        self._at_once = (at_once or fit) if scores.repeatable else 1

    def map_of(self, values: Tensor, change: Any) -> Tensor:
        """Return the map of a layer's channels `(N, C, ...)`, with several targets after N."""
        _require_masks(values, self._inputs)
        channels = values.shape[1]
        total: Any = 0
        bar = tqdm(
            total=channels * self._samples, desc=self._progress, disable=self._progress is None
        )
        with bar, counted(self._samples) as begin:
            for sample in range(self._samples):
                begin(sample, sample + 1)
                evaluate = partial(self._of_channels, values, change, sample, bar)
                found = in_batches(channels, self._at_once, evaluate, "masked copy")
                total = total + torch.cat(list(found))
        weights = (total / self._samples).softmax(0).permute(1, 2, 0)
        maps = settled_sum(_beside(weights, values), (2,))
        return maps if self._scores.several else maps[:, 0]

    def _of_channels(
        self, values: Tensor, change: Any, sample: int, bar: tqdm, start: int, stop: int
    ) -> Tensor:
        """Return the scores of copies, `(channels, N, targets)`."""
        chosen, channels = values[:, start:stop], range(start, stop)
        copies = [
            self._masked(tensor, chosen, change, channels, sample)
            for tensor in self._inputs.tensors
        ]
        found = self._scores.of(copies, stop - start)
        bar.update(stop - start)
        return found

    def _masked(
        self, tensor: Tensor, chosen: Tensor, change: Any, channels: range, sample: int
    ) -> Tensor:
        if not (tensor.is_floating_point() and fits(chosen, tensor.shape[2:])):
            return tensor.expand(len(channels), *tensor.shape).flatten(0, 1)
        size = tensor.shape[2:]
        enlarged = enlarge(chosen, size, mode_of(len(size))).transpose(0, 1)
        masks = from_0_to_1(enlarged.flatten(0, 1)).view_as(enlarged)
        # Enlarged, a channel that is the same everywhere may differ by its rounding error.
        flat = chosen.transpose(0, 1).flatten(2)
        contrast = (flat.amax(2) > flat.amin(2)).view(*flat.shape[:2], *[1] * len(size))
        shown = (masks * contrast).unsqueeze(2).to(tensor.dtype)
        copies: Tensor = change(tensor.detach(), shown, channels, sample)
        return copies.flatten(0, 1)


def _beside(weights: Tensor, values: Tensor) -> Tensor:
    """Return channels `(N, targets, C, ...)`, weighted for each target."""
    spread = weights.reshape(*weights.shape, *[1] * (values.dim() - 2))
    return spread.to(values.dtype) * values.unsqueeze(1)


def _require_masks(values: Tensor, inputs: Inputs) -> None:
    images: Sequence[Tensor] = inputs.tensors
    if not any(one.is_floating_point() and fits(values, one.shape[2:]) for one in images):
        raise ShapeError(
            f"a layer of shape {tuple(values.shape)} masks no input of shapes"
            f" {[tuple(one.shape) for one in images]}: it needs a floating one with as many spatial"
            " dimensions"
        )
