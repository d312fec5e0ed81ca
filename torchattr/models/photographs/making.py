"""Make the photographs from scikit-image's.

``python -m torchattr.models.photographs.making`` writes them. Only this module needs scikit-image,
since the files that it writes are part of the repository.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from skimage import data

from torchattr.models.photographs import NAMES, photograph

QUALITY = 86
"""The best of JPEG's that keeps each file below 60 kB."""


def original(name: str) -> Image.Image:
    """Return the picture of scikit-image that a photograph is made from."""
    return Image.fromarray(np.asarray(getattr(data, name)()))


def main() -> None:
    """Write every photograph."""
    for name in NAMES:
        original(name).save(photograph(name), quality=QUALITY, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
