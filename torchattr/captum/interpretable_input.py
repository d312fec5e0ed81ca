"""Inputs described by a few features that can be switched off, and baselines drawn for them."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchattr.errors import ShapeError


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
        mask: the number of each pixel's region, `(H, W)`; one region by default.
        mask_list: instead of it a mask `(H, W)` for each region; they may overlap.
        baseline: the colour, red, green and blue from 0 to 255.
        processor_fn: turns a picture into what the model takes.

    Raises:
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
        self.image, self.baseline, self.processor_fn = image, baseline, processor_fn
        size = (image.height, image.width)
        if mask_list is not None:
            self.mask_list, ids = list(mask_list), list(range(len(mask_list)))
        else:
            numbers = torch.zeros(size, dtype=torch.int32) if mask is None else mask
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


class ProductBaselines:
    """Draws a value for each feature, independently of each other.

    Args:
        baseline_values: for each feature the values to draw from; in a dict, by its name, or by a
            tuple of names for values that are drawn together.

    >>> draw = ProductBaselines({"size": [1], ("hue", "tone"): [("red", "dark")]})
    >>> draw()
    {'size': 1, 'hue': 'red', 'tone': 'dark'}
    """

    def __init__(
        self,
        baseline_values: list[list[Any]] | dict[str | tuple[str, ...], list[Any]],
    ) -> None:
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
