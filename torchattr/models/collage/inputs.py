"""From pictures to what the network takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torchattr.models.collage.making.scenes import SIZE


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes an input: resized to `size` square, over 255, less `mean`, by `std`.

    Example:
        >>> preprocess(Image.new("RGB", (320, 320))).shape
        torch.Size([3, 128, 128])
    """

    size: int = SIZE
    mean: tuple[float, float, float] = (0.46, 0.40, 0.34)
    std: tuple[float, float, float] = (0.27, 0.25, 0.24)

    def __call__(self, image: Image.Image) -> Tensor:
        """The input (3, size, size) in float32 of a picture of any size and mode."""
        resized = image.convert("RGB").resize((self.size, self.size), Image.Resampling.LANCZOS)
        return self.normalised(np.asarray(resized)[None])[0]

    def normalised(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The inputs (N, 3, H, W) in float32 of uint8 pictures (N, H, W, 3), not resized."""
        scaled = torch.from_numpy(pixels.astype(np.float32) / 255)
        return ((scaled - torch.tensor(self.mean)) / torch.tensor(self.std)).permute(0, 3, 1, 2)


preprocess = Preprocess()
