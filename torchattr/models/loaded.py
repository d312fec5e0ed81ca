"""A model together with all that is needed to feed it a picture and to read its answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import nn

from torchattr.errors import ModelError, ShapeError
from torchattr.models.cropping import Geometry, Transform, geometry_of
from torchattr.models.geometry import Box, place
from torchattr.models.scores import Meaning, ScoreReading, read_scores


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A picture made ready for a model, which still knows where it came from.

    tensor: ``(C, H, W)``, what the model sees.
    original: the picture as it was read.
    box: the rectangle of ``original``, in its pixels, that ``tensor`` shows.
    """

    tensor: torch.Tensor
    original: Image.Image
    box: Box

    def place(self, values: torch.Tensor | np.ndarray, fill: float = math.nan) -> np.ndarray:
        """A map ``(..., h, w)`` drawn back as ``(..., H, W)`` on the original picture.

        Outside the rectangle that the model has seen stands ``fill``, NaN by default: nothing is
        known there. See ``torchattr.models.place``.
        """
        width, height = self.original.size
        return place(values, self.box, (height, width), fill)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in eval mode with its own preprocessing, class names and meaning of its scores.

    name: what the model is called in reports.
    transform: from a PIL image to a float tensor ``(C, H, W)``.
    class_names: one name for each output, or None.
    activation: how scores become probabilities: ``"softmax"`` (one class is right), ``"sigmoid"``
        (each class for itself), ``"logits"`` (the first of several scores, the second of one) or
        ``"none"`` (they are values). What is a softmax or sigmoid already stays as it is. With
        ``"auto"`` scores are probabilities only where that is known, and values otherwise; see
        ``torchattr.models.read_scores``.
    geometry: which rectangle of a picture ``transform`` keeps; found out when not given.

    >>> from torchvision.transforms import ToTensor
    >>> tiny = LoadedModel("tiny", nn.Flatten(), ToTensor(), ("dark", "light"))
    >>> tiny.preprocess(Image.new("RGB", (4, 2))).box
    Box(x0=0.0, y0=0.0, x1=4.0, y1=2.0)
    """

    name: str
    model: nn.Module
    transform: Transform
    class_names: tuple[str, ...] | None = None
    activation: Meaning = "auto"
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        if self.activation not in get_args(Meaning):
            raise ModelError(
                f"activation must be one of {get_args(Meaning)}, got {self.activation!r}"
            )
        if not callable(self.transform):
            raise ModelError(
                "transform must be callable (PIL image -> tensor), "
                f"got {type(self.transform).__name__}"
            )
        if self.geometry is None:
            object.__setattr__(self, "geometry", geometry_of(self.transform))

    def preprocess(self, image: Image.Image) -> PreparedImage:
        """Make a picture ready. Raises ``ModelError`` when the transform gives no image tensor."""
        tensor = self.transform(image)
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3:
            raise ModelError(
                f"the transform of {self.name} must turn a PIL image into a tensor (C, H, W), "
                f"got {_describe(tensor)}; torchvision.transforms.ToTensor() makes one"
            )
        if not tensor.is_floating_point():
            raise ModelError(
                f"the transform of {self.name} must give a floating-point tensor, "
                f"got {tensor.dtype}; add ConvertImageDtype(torch.float32)"
            )
        geometry = self.geometry or geometry_of(self.transform)
        return PreparedImage(tensor, image, geometry.box(*image.size))

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """Return scores ``(N, K)`` as the model means them, unchanged where they are values.

        Raises ``ShapeError`` for scores of another shape.
        """
        if scores.ndim != 2:
            raise ShapeError(f"scores must have the shape (N, K), got {tuple(scores.shape)}")
        return self.read(scores).shown(scores)

    def read(self, scores: torch.Tensor, ending: str | None = None) -> ScoreReading:
        """Return how scores ``(N, K)`` are shown; see ``torchattr.models.read_scores``."""
        named = self.class_names is not None and len(self.class_names) == scores.shape[1]
        return read_scores(scores, self.activation, ending, named)

    def meaning(self, activation: Meaning | None) -> LoadedModel:
        """Return the same model with scores of another meaning; None leaves it as it is."""
        return self if activation is None else replace(self, activation=activation)

    def class_name(self, index: int) -> str:
        """The name of an output, or ``"class 7"`` where no names are known."""
        if self.class_names is None or not 0 <= index < len(self.class_names):
            return f"class {index}"
        return self.class_names[index]


def in_eval_mode(model: nn.Module) -> nn.Module:
    """The same model in eval mode, also when it is an exported program.

    An exported program refuses ``eval()``, since its mode was fixed on export; the flag is all
    that is left to set.
    """
    try:
        return model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False
        return model


def _describe(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return type(value).__name__
