"""Turn the inputs of a model back into pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from torchattr.inspect import draw_input
from torchattr.models import Transform


@dataclass(frozen=True, eq=False)
class Display:
    """The inverse of a model's normalisation, derived from what black and white become.

    black, white: the input `(C, 1, 1)` that a black and a white picture become.

    >>> import torch
    >>> from torchvision.transforms import Compose, Normalize, ToTensor
    >>> scaled = Compose([ToTensor(), Normalize([0.5] * 3, [0.25] * 3)])
    >>> Display.of(scaled).picture(torch.zeros(3, 1, 1)).getpixel((0, 0))
    (128, 128, 128)
    """

    black: Tensor
    white: Tensor

    @classmethod
    def of(cls, transform: Transform) -> Display:
        """Derive it from a model's own preprocessing."""
        seen = [transform(Image.new("RGB", (64, 64), (v,) * 3)) for v in (0, 255)]
        return cls(*(one.double().mean((1, 2), keepdim=True) for one in seen))

    @property
    def is_known(self) -> bool:
        """Whether white is brighter than black in each channel, as any standardisation keeps it."""
        return bool((self.white > self.black).all())

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The smallest and largest input values that a picture can have."""
        return (self.black.float(), self.white.float()) if self.is_known else None

    def picture(self, inputs: Tensor) -> Image.Image:
        """Draw an input `(C, H, W)`; if the inverse is not known, stretch its brightness."""
        if not self.is_known or len(inputs) not in (1, 3) or len(inputs) != len(self.black):
            return Image.fromarray(draw_input(inputs))
        unit = (inputs.detach().cpu().double() - self.black) / (self.white - self.black)
        pixels = (unit.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())
