"""Inputs described by a few features that can be switched off, and baselines drawn for them."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchattr.core.arguments import check_function, plain_numbers
from torchattr.core.arrays import tensor_of
from torchattr.errors import InputError, InputTypeError, ShapeError


class InterpretableInput(ABC):
    """An input of any type, described by features that are on or off.

    Attributes:
        n_itp_features: number of features.
        values: a name for each.
    """

    n_itp_features: int
    values: list[str]

    @abstractmethod
    def to_tensor(self) -> Tensor:
        """Return the features of the input as it is, all on: `(1, features)`."""

    @abstractmethod
    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """Return what the model takes, with the features off that are 0 in `(1, features)`."""

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """Return attributions of the features in the form that is shown."""
        return itp_attr


class ImageMaskInput(InterpretableInput):
    """A picture whose features are regions, painted in one colour where they are off.

    Args:
        image: the picture.
        mask: the number of each pixel's region, a tensor or array `(H, W)`; one region by default.
        mask_list: instead of it a mask `(H, W)` for each region, in a list or stacked; they may
            overlap.
        baseline: the colour, red, green and blue from 0 to 255, whose fractions are dropped.
        processor_fn: turns a picture into what the model takes.

    Raises:
        InputTypeError: an argument of another type.
        InputError: no masks, a mask with NaN, or no colour of the picture.
        ShapeError: a mask of another size than the picture.

    >>> picture = Image.new("RGB", (2, 1), (9, 9, 9))
    >>> halves = ImageMaskInput(picture, torch.tensor([[4, 7]]), baseline=(0, 0, 0))
    >>> changed = halves.to_model_input(torch.tensor([[1.0, 0.0]]))
    >>> changed.getpixel((0, 0)), changed.getpixel((1, 0)), halves.values
    ((9, 9, 9), (0, 0, 0), ['image_feature_4', 'image_feature_7'])
    """

    def __init__(
        self,
        image: Image.Image,
        mask: Tensor | None = None,
        mask_list: list[Tensor] | None = None,
        baseline: tuple[int, int, int] = (255, 255, 255),
        processor_fn: Callable[[Image.Image], Any] = lambda x: x,
    ) -> None:
        if not isinstance(image, Image.Image):
            raise InputTypeError(
                f"image must be a PIL image, got {type(image).__name__}; make one of an array with"
                " PIL.Image.fromarray, and of a file with PIL.Image.open"
            )
        check_function("processor_fn", processor_fn)
        self.image, self.processor_fn = image, processor_fn
        self.baseline = _color_of(image, baseline)
        size = (image.height, image.width)
        if mask_list is not None:
            self.mask_list = _as_masks(mask_list)
            ids = list(range(len(self.mask_list)))
        else:
            numbers = _as_mask(torch.zeros(size, dtype=torch.int32) if mask is None else mask)
            ids = numbers.unique().tolist()
            self.mask_list = [numbers == number for number in ids]
        for position, one in enumerate(self.mask_list):
            if tuple(one.shape) != size:
                raise ShapeError(
                    f"mask {position} has shape {tuple(one.shape)}, but the picture is {size}"
                )
        self.mask_id_to_idx = {int(number): position for position, number in enumerate(ids)}
        self.n_itp_features = len(ids)
        self.values = [f"image_feature_{number}" for number in ids]

    @property
    def original_model_inputs(self) -> Any:
        """What the model takes for the unchanged picture."""
        return self.processor_fn(self.image)

    def to_tensor(self) -> Tensor:
        return torch.ones(1, self.n_itp_features)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        if perturbed_tensor is None:
            return self.original_model_inputs
        if not isinstance(perturbed_tensor, Tensor) or (
            perturbed_tensor.shape != (1, self.n_itp_features)
        ):
            raise ShapeError(
                f"perturbed_tensor must be a tensor (1, {self.n_itp_features}), 1 for each feature"
                f" that is on, got {tuple(np.shape(perturbed_tensor))}"
            )
        pixels = np.array(self.image)
        for is_on, mask in zip(perturbed_tensor[0].tolist(), self.mask_list, strict=True):
            if not is_on:
                pixels[mask.bool().cpu().numpy()] = self.baseline
        return self.processor_fn(Image.fromarray(pixels))

    def get_mask_list(self) -> list[Tensor]:
        """Return the mask of each region."""
        return self.mask_list

    def format_pixel_attr(self, itp_attr: Tensor) -> Tensor:
        """Return the attribution of each pixel's region, `(..., H, W)`, summed where they overlap.

        Args:
            itp_attr: attributions of the regions, `(..., regions)`.
        """
        masks = torch.stack([mask.bool() for mask in self.mask_list]).to(itp_attr)
        return torch.einsum("...r,rhw->...hw", itp_attr, masks)

    def plot_mask_overlay(
        self, show: bool = False, border_width: int = 0, show_legends: bool = True
    ) -> Any:
        """Draw the regions over the picture.

        Args:
            show: show the figure now and return nothing.
            border_width: width of a line around each region; 0 for none.
            show_legends: write the number of each region at its middle.

        Returns:
            The figure and its axes, unless shown.
        """
        from matplotlib import pyplot

        figure, axes = pyplot.subplots()
        axes.imshow(self.image)
        colors = pyplot.get_cmap("hsv", self.n_itp_features + 1)
        for number, position in self.mask_id_to_idx.items():
            region = self.mask_list[position].bool().cpu().numpy()
            color = np.array(colors(position))
            axes.imshow(region[..., None] * color * [1, 1, 1, 0.6])
            if border_width and region.any():
                axes.contour(region, levels=[0.5], colors=[color], linewidths=border_width)
            if show_legends and region.any():
                row, column = (float(places.mean()) for places in np.nonzero(region))
                axes.text(column, row, str(number), ha="center", va="center")
        axes.axis("off")
        if not show:
            return figure, axes
        pyplot.show()
        return None


def _color_of(image: Image.Image, baseline: Any) -> Any:
    """Return a colour of the channels that a picture has."""
    channels = len(image.getbands())
    is_array = isinstance(baseline, (Tensor, np.ndarray))
    color = baseline.tolist() if is_array else plain_numbers(baseline)
    levels = list(color) if isinstance(color, (tuple, list)) else [color]
    if not all(isinstance(level, (int, float)) and 0 <= level <= 255 for level in levels):
        raise InputError(
            f"baseline must be a colour: red, green and blue, 0..255, got {baseline!r}"
        )
    if len(levels) not in (1, channels):
        raise InputError(
            f"baseline has {len(levels)} numbers for a picture of {channels} channels"
            f" ({image.mode}); pass as many, or image.convert('RGB')"
        )
    return color


def _as_masks(mask_list: Any) -> list[Tensor]:
    is_stack = isinstance(mask_list, (Tensor, np.ndarray)) and mask_list.ndim == 3
    if not is_stack and not isinstance(mask_list, (tuple, list)):
        raise InputTypeError(
            f"mask_list must be a list of masks (H, W), got {type(mask_list).__name__}; pass one"
            " mask of the numbers of regions as mask"
        )
    if not len(mask_list):
        raise InputError("mask_list is empty; pass a mask (H, W) for each region")
    return [_as_mask(one, f"mask_list[{place}]") for place, one in enumerate(mask_list)]


def _as_mask(mask: Any, name: str = "mask") -> Tensor:
    is_array = isinstance(mask, np.ndarray) and mask.dtype.kind in "biuf"
    found = tensor_of(mask) if is_array else mask
    if not isinstance(found, Tensor):
        raise InputTypeError(
            f"{name} must be a tensor or an array (H, W), got {type(mask).__name__}; make one with"
            " torch.tensor"
        )
    if not torch.isfinite(found).all():
        raise InputError(f"{name} holds NaN or infinite values, which number no region")
    return found


class ProductBaselines:
    """Draws a value for each feature, independently of each other.

    Args:
        baseline_values: for each feature the values to draw from; in a dict, by its name, or by a
            tuple of names for values that are drawn together.

    Raises:
        InputTypeError: something else, or nothing to draw from.

    >>> draw = ProductBaselines({"size": [1], ("hue", "tone"): [("red", "dark")]})
    >>> draw()
    {'size': 1, 'hue': 'red', 'tone': 'dark'}
    """

    def __init__(
        self,
        baseline_values: list[list[Any]] | dict[str | tuple[str, ...], list[Any]],
    ) -> None:
        lists: Any = baseline_values
        if isinstance(baseline_values, Mapping):
            lists = list(baseline_values.values())
        if not _is_row(lists) or not all(_is_row(values) and len(values) for values in lists):
            raise InputTypeError(
                "baseline_values must hold a sequence of at least one value for each feature, in a"
                f" list or by name, got {baseline_values!r}"
            )
        self.baseline_values = baseline_values

    def sample(self) -> list[Any] | dict[str, Any]:
        """Return a value of each, from Python's own generator."""
        if not isinstance(self.baseline_values, Mapping):
            return [random.choice(values) for values in self.baseline_values]
        drawn: dict[str, Any] = {}
        for key, values in self.baseline_values.items():
            value = random.choice(values)
            drawn.update(zip(key, value, strict=True) if isinstance(key, tuple) else [(key, value)])
        return drawn

    def __call__(self) -> list[Any] | dict[str, Any]:
        return self.sample()


def _is_row(values: Any) -> bool:
    if isinstance(values, (Tensor, np.ndarray)):
        return values.ndim > 0
    return isinstance(values, Sequence) and not isinstance(values, str)
