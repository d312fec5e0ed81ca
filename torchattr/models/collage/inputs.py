"""Preprocessing: from images to the network's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

SIZE = 128
"""The side of the network's input in pixels."""


@dataclass(frozen=True)
class Preprocess:
    """Resize an image to `size` square, divide by 255, subtract `mean`, divide by `std`.

    Example:
        >>> preprocess(Image.new("RGB", (320, 320))).shape
        torch.Size([3, 128, 128])
    """

    size: int = SIZE
    mean: tuple[float, float, float] = (0.46, 0.40, 0.34)
    std: tuple[float, float, float] = (0.27, 0.25, 0.24)

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the float32 input (3, size, size) of an image of any size and mode."""
        resized = image.convert("RGB").resize((self.size, self.size), Image.Resampling.LANCZOS)
        return self.normalised(np.asarray(resized)[None])[0]

    def normalised(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Return the float32 inputs (N, 3, H, W) of uint8 images (N, H, W, 3), not resized."""
        scaled = torch.from_numpy(pixels.astype(np.float32) / 255)
        return ((scaled - torch.tensor(self.mean)) / torch.tensor(self.std)).permute(0, 3, 1, 2)


preprocess = Preprocess()
