"""A model with its preprocessing, class names and the meaning of its scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from torch import nn

from torchattr.core.arguments import check_choice
from torchattr.errors import ModelError, ShapeError
from torchattr.models.cropping import Geometry, Transform, geometry_of
from torchattr.models.geometry import Box, place
from torchattr.models.photographs import NAMES
from torchattr.models.scores import Meaning, ScoreReading, read_scores


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A preprocessed image, and the original that it comes from.

    tensor: ``(C, H, W)``, the model's input.
    original: the image as it was read.
    box: the rectangle of ``original``, in its pixels, that ``tensor`` shows.
    """

    tensor: torch.Tensor
    original: Image.Image
    box: Box

    def __repr__(self) -> str:
        width, height = self.original.size
        return f"PreparedImage({tuple(self.tensor.shape)} from {width}×{height} pixels)"

    def place(self, values: torch.Tensor | np.ndarray, fill: float = math.nan) -> np.ndarray:
        """Return a map ``(..., h, w)`` as ``(..., H, W)`` on the original image.

        Pixels that the model has not seen get ``fill``, NaN by default: nothing is known there.
        See ``torchattr.models.place``.
        """
        width, height = self.original.size
        return place(values, self.box, (height, width), fill)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in eval mode with its preprocessing, class names and the meaning of its scores.

    It runs like its model, so that every method takes it in the model's place.

    name: the model's name in reports.
    transform: from a PIL image to a float tensor ``(C, H, W)``.
    class_names: one name for each output, or None.
    activation: how scores become probabilities: ``"softmax"`` (mutually exclusive classes),
        ``"sigmoid"`` (independent classes), ``"logits"`` (softmax of several scores, sigmoid of a
        single one) or ``"none"`` (raw values). Scores that are already probabilities stay
        unchanged. With ``"auto"``, scores are shown as probabilities only if they are known to be;
        see ``torchattr.models.read_scores``.
    geometry: which rectangle of an image ``transform`` keeps; determined if not given.
    examples: the bundled pictures that are shown if the user has none; see ``torchattr.example``.
    weights: what ``load_model`` was asked for, such as ``"random"``; None for the model's own.

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
    examples: tuple[str, ...] = NAMES
    weights: str | None = None

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, get_args(Meaning), ModelError)
        if not callable(self.transform):
            raise ModelError(
                "transform must be callable (PIL image -> tensor), "
                f"got {type(self.transform).__name__}"
            )
        if self.geometry is None:
            object.__setattr__(self, "geometry", geometry_of(self.transform))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        return self.model(*args, **kwargs)

    @property
    def __self__(self) -> nn.Module:
        """The model, whose layers are meant where this object stands for it."""
        return self.model

    def __repr__(self) -> str:
        count = "no" if self.class_names is None else len(self.class_names)
        return (
            f"LoadedModel({self.name}: {type(self.model).__name__}, {count} class names,"
            f" activation={self.activation!r})"
        )

    def preprocess(self, image: Image.Image) -> PreparedImage:
        """Preprocess an image. Raises ``ModelError`` if the transform returns no image tensor."""
        tensor = self.transform(image)
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3:
            raise ModelError(
                f"the transform of {self.name} must turn a PIL image into a tensor (C, H, W), "
                f"got {_describe(tensor)}; torchvision.transforms.ToTensor() does"
            )
        if not tensor.is_floating_point():
            raise ModelError(
                f"the transform of {self.name} must return a floating-point tensor, "
                f"got {tensor.dtype}; add ConvertImageDtype(torch.float32)"
            )
        geometry = self.geometry or geometry_of(self.transform)
        return PreparedImage(tensor, image, geometry.box(*image.size))

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of scores ``(N, K)``; raw values stay unchanged.

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
        """Return the same model with another meaning of its scores; None changes nothing."""
        return self if activation is None else replace(self, activation=activation)

    def class_name(self, index: int) -> str:
        """Return the name of an output, or ``"class 7"`` where no names are known."""
        if self.class_names is None or not 0 <= index < len(self.class_names):
            return f"class {index}"
        return self.class_names[index]


def in_eval_mode(model: nn.Module) -> nn.Module:
    """Return the same model in eval mode, including modules of exported programs.

    An exported program refuses ``eval()``, since its mode was fixed on export; only the flag is
    set.
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
