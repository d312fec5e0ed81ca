"""Gradient ascent of an objective over an image, with octaves and regularisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from tqdm.auto import tqdm

from torchattr.core.gradient_mode import gradients
from torchattr.core.stepping import counted
from torchattr.errors import Hint, InputError, ShapeError, TargetError, WayOut
from torchattr.inspect.maximisation.augmentations import Transform
from torchattr.inspect.maximisation.objectives import Goal
from torchattr.inspect.maximisation.smoothing import (
    blurred,
    laplacian_normalised,
    normalised,
    variation_gradient,
)

Smooth = Literal["gaussian", "laplacian"]
Bounds = tuple["float | Tensor", "float | Tensor"]

LEVELS = 4
"""Number of frequency bands of the Laplacian normalisation."""


@dataclass(frozen=True)
class Step:
    """State of the ascent after a step, as passed to a callback.

    Attributes:
        octave: index of the octave; 0 is the smallest.
        number: index of the step within the octave.
        scores: the objective of each example *before* the step, as the model saw it.
        image: the images after the step; copy them to keep them.
    """

    octave: int
    number: int
    scores: Tensor
    image: Tensor


@dataclass
class Ascent:
    """Settings of an ascent; the fields are documented at :func:`torchattr.maximise`."""

    goal: Goal
    arguments: Sequence[Any]
    transforms: Sequence[Transform]
    generator: Generator
    steps: int
    rate: float
    tv: float
    l2: float
    smooth: Smooth | None
    sigma: float
    octaves: int
    octave_scale: float
    bounds: Bounds | None
    callback: Callable[[Step], None] | None = None
    progress: str | None = None
    _bar: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        for name, number in (("steps", self.steps), ("octaves", self.octaves)):
            if type(number) is not int or number < 1:
                raise InputError(f"{name} must be a whole number from 1, got {number!r}")
        for name, value in (("rate", self.rate), ("tv", self.tv), ("l2", self.l2)):
            if not value >= 0:
                raise InputError(f"{name} must not be negative, got {value!r}")
        if not self.octave_scale > 1:
            raise InputError(f"octave_scale must be above 1, got {self.octave_scale!r}")
        if self.smooth is not None and self.smooth not in get_args(Smooth):
            raise InputError(f"smooth must be 'gaussian', 'laplacian' or None, got {self.smooth!r}")

    def climb(self, image: Tensor) -> Tensor:
        """Return an image `(N, C, ...)` optimised through all octaves, as a new tensor."""
        total = self.steps * self.octaves
        with gradients(False), self._counting(total) as self._bar, counted(total) as begin:
            found = base = image.detach().clone()
            detail = torch.zeros_like(base)
            for octave, size in enumerate(self._sizes(base.shape[2:])):
                start = resized(base, size)
                found = self._octave(octave, start + resized(detail, size), begin)
                detail = found - start
            return found

    def _octave(self, octave: int, image: Tensor, begin: Callable[[int, int], None]) -> Tensor:
        for number in range(self.steps):
            done = octave * self.steps + number
            begin(done, done + 1)
            gradient, scores = self._gradient(image)
            rate = self.rate * (1 - number / self.steps)
            image = self._bounded(image + rate * self._direction(image, gradient))
            self._bar.set_postfix(score=f"{scores.mean().item():.4g}", refresh=False)
            self._bar.update()
            if self.callback is not None:
                self.callback(Step(octave, number, scores, image))
        return image

    def _gradient(self, image: Tensor) -> tuple[Tensor, Tensor]:
        with gradients():
            leaf = image.detach().requires_grad_()
            seen = leaf
            for transform in self.transforms:
                seen = transform(seen, self.generator)
            trace = self.goal.trace(seen.detach(), self.arguments)
            scores = self.goal.measure(trace, seen)
        (found,) = trace.gradients(scores, trace.input_edges, keep=False)
        if found is None:
            raise TargetError("the objective does not depend on the image; maximise another")
        if seen is not leaf:
            (found,) = torch.autograd.grad(seen, leaf, found)
        return found, scores.detach()

    def _direction(self, image: Tensor, gradient: Tensor) -> Tensor:
        if self.smooth == "laplacian":
            direction = laplacian_normalised(gradient, LEVELS)
        else:
            sigma = self.sigma if self.smooth == "gaussian" else 0.0
            direction = normalised(blurred(gradient, sigma))
        if self.tv:
            direction = direction - self.tv * variation_gradient(image)
        return direction - self.l2 * image if self.l2 else direction

    def _bounded(self, image: Tensor) -> Tensor:
        if self.bounds is None:
            return image
        low, high = (torch.as_tensor(b, dtype=image.dtype).to(image.device) for b in self.bounds)
        return torch.minimum(torch.maximum(image, low), high)

    def _sizes(self, size: Sequence[int]) -> Iterator[tuple[int, ...]]:
        for small in octave_sizes(size, self.octaves, self.octave_scale):
            if min(small) < 2 and self.octaves == 1:
                raise ShapeError(f"images of {small} are too small; pass at least 2 on each side")
            if min(small) < 2:
                raise ShapeError(
                    f"{{setting}} would start with an image of {small}",
                    hint=Hint(
                        "octaves",
                        self.octaves,
                        ways_out=[
                            WayOut("use fewer"),
                            WayOut("or a smaller {setting}", "octave_scale"),
                        ],
                    ),
                )
            yield small

    def _counting(self, total: int) -> Any:
        return tqdm(total=total, desc=self.progress, disable=self.progress is None)


def octave_sizes(size: Sequence[int], octaves: int, scale: float) -> list[tuple[int, ...]]:
    """Return the sizes at which images are optimised, from small to their own.

    >>> octave_sizes((56, 28), 3, 2.0)
    [(14, 7), (28, 14), (56, 28)]
    """
    return [
        tuple(round(side / scale**octave) for side in size) for octave in reversed(range(octaves))
    ]


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images `(N, C, ...)` by linear interpolation."""
    if images.shape[2:] == torch.Size(size):
        return images
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    smaller = len(size) == 2 and size[0] < images.shape[2]
    return F.interpolate(images, tuple(size), mode=mode, align_corners=False, antialias=smaller)
