"""RISE: the mean score of randomly masked inputs, weighted by their masks."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import Inputs, as_baselines, as_inputs
from torchattr.core.outputs import activated_by
from torchattr.core.targets import Target
from torchattr.core.types import Activation, Baselines, TensorsT
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.methods._perturbation.checked import checked_count, checked_seed
from torchattr.methods._perturbation.random_masks import Normalisation, RandomMasks
from torchattr.methods.ablation import Ablation
from torchattr.methods.registry import register_method


@register_method("rise")
class RISE(Ablation):
    """The mean probability where a pixel is visible, `Σ s(b + m·(x − b))·m / (n·p)` over masks m.

    Masks are coarse random grids, enlarged and shifted; `n` of them, whose cells are visible with
    probability `p`. Petsiuk, Das and Saenko 2018, arXiv:1806.07421, who take 4000 masks for VGG-16
    and 8000 for ResNet-50. All channels share a mask, so maps of images `(N, C, h, w)` are
    `(N, 1, h, w)`. The model may be any function: nothing is differentiated.

    It is *not* zero where the input does not matter: there it is the mean score of all masked
    images, so only differences within a map are meaningful. It is a random estimate, whose noise
    falls with the square root of the number of masks.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))
    >>> images = torch.rand(2, 3, 8, 8)
    >>> ta.RISE(model).attribute(images, ta.TopK(3), n_masks=100, grid_size=4).shape
    torch.Size([2, 3, 1, 8, 8])
    """

    def attribute(
        self,
        inputs: TensorsT,
        target: Target = None,
        additional_forward_args: Any = None,
        n_masks: int = 4000,
        grid_size: int | tuple[int, ...] = 7,
        probability: float = 0.5,
        baselines: Baselines = None,
        activation: Activation = "softmax",
        normalisation: Normalisation = "probability",
        seed: int = 0,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
    ) -> TensorsT:
        """Return the maps, `(N, 1, ...)` for each input.

        The masks are generated batch by batch, the same for all examples and targets; several
        targets take no more forwards than one.

        Args:
            inputs: floating tensors `(N, C, ...)` with one to three more dimensions; those of a
                tuple are masked at the same time, each by its own masks. Pass tensors that must not
                be masked as `additional_forward_args`.
            target: as for every method.
            additional_forward_args: as for every method.
            n_masks: number of masks.
            grid_size: cells of a grid in each dimension; a tuple has one number for each. Fewer
                cells give larger patches, and maps with less noise and less detail.
            probability: probability that a cell is visible.
            baselines: what replaces the input where a mask hides it, as for
                :class:`FeatureAblation`.
            activation: how the model's scores become probabilities: `"softmax"`, `"sigmoid"`, or
                `"none"` to keep the scores. A :class:`Neuron` has no activation, and a target that
                is a function of the output reads it as it is.
            normalisation: `"probability"` divides by `n·p`, the expected sum of the masks, as in
                the paper. `"coverage"` divides by their sum at each pixel: a constant added to
                all scores then adds no noise, which matters for scores far from zero. A pixel that
                no mask leaves visible is then 0.
            seed: seed of the masks, 0 or more; equal seeds give equal masks.
            perturbations_per_eval: maximum number of masks in one forward, as for
                :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr.

        Raises:
            InputTypeError: inputs of integers, or an argument of the wrong type.
            ShapeError: inputs without dimensions to mask, or a grid with a wrong number of them.
            InputError: an argument out of range, or a grid finer than the input.
            OutputError: a softmax of a single score, or of probabilities; several masks at once
                for a forward that aggregates the batch.
            OutOfMemory: not even one masked copy fits.
        """
        given = as_inputs(inputs, differentiable=False)
        probabilities = activated_by(activation)
        masks = RandomMasks(
            given.tensors,
            checked_count(n_masks, "n_masks"),
            _grids(given, grid_size),
            _probability(probability),
            checked_seed(seed),
            _normalisation(normalisation),
        )
        return self._ablate(
            given,
            as_baselines(baselines, given),
            masks,
            target,
            additional_forward_args,
            then=probabilities,
            at_once=perturbations_per_eval,
            progress=show_progress,
            incremental=False,
        )


def _grids(inputs: Inputs, grid_size: Any) -> list[tuple[int, ...]]:
    return [
        _grid(tensor, grid_size, f"inputs[{position}]" if inputs.is_tuple else "inputs")
        for position, tensor in enumerate(inputs.tensors)
    ]


def _grid(tensor: Tensor, grid_size: Any, name: str) -> tuple[int, ...]:
    _check_maskable(tensor, name)
    shape = tuple(tensor.shape[2:])
    sizes = grid_size if isinstance(grid_size, (tuple, list)) else (grid_size,) * len(shape)
    checked = tuple(checked_count(size, "grid_size") for size in sizes)
    if len(checked) != len(shape):
        raise ShapeError(
            f"grid_size has {len(checked)} entries, but {name} has the {len(shape)} dimensions"
            f" {shape} after its channels; pass an int, or one entry for each"
        )
    if any(cells > extent for cells, extent in zip(checked, shape, strict=True)):
        raise InputError(
            f"grid_size is {grid_size}, finer than the {shape} of {name}; pass at most that"
        )
    return checked


def _check_maskable(tensor: Tensor, name: str) -> None:
    if not tensor.is_floating_point():
        raise InputTypeError(
            f"{name} has dtype {tensor.dtype}, of which no part can be hidden smoothly; pass a"
            " floating tensor, and what is not to be masked as additional_forward_args"
        )
    if not 3 <= tensor.dim() <= 5:
        raise ShapeError(
            f"{name} has shape {tuple(tensor.shape)}; masks need (N, C, ...) with one to three"
            " more dimensions. Pass what is not to be masked as additional_forward_args"
        )


def _probability(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InputTypeError(f"probability must be a number, got {value!r}")
    if not 0 < value < 1:
        raise InputError(f"probability must lie between 0 and 1, both excluded, got {value}")
    return value


def _normalisation(value: Normalisation) -> Normalisation:
    check_choice("normalisation", value, get_args(Normalisation))
    return value
