"""Compose the example images.

``python -m torchattr.models.collage.making.pictures`` writes ``examples/``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from torchattr.models.collage.making.scenes import compose

EXAMPLES = Path(__file__).parents[1] / "examples"
SIDE = 320


@dataclass(frozen=True)
class Recipe:
    """The objects and background of an example, and the seed for the rest."""

    objects: tuple[str, ...]
    background: str
    seed: tuple[int, ...]


RECIPES = (
    Recipe(("astronaut", "cat"), "gravel", (77, 3, 5)),
    Recipe(("astronaut", "cat", "coffee"), "wood", (2024, 1, 2)),
    Recipe(("rocket", "shuttle", "astronaut"), "galaxies", (2024, 2, 6)),
    Recipe(("photographer", "horse"), "grass", (2024, 3, 4)),
)


def main() -> None:
    """Write every recipe as a JPEG, and all labels and boxes to ``examples.json``."""
    EXAMPLES.mkdir(exist_ok=True)
    rows = []
    for recipe in RECIPES:
        made = compose(np.random.default_rng(recipe.seed), recipe.objects, SIDE, recipe.background)
        file = "_".join(recipe.objects) + ".jpg"
        Image.fromarray(made.image).save(EXAMPLES / file, quality=92, optimize=True)
        rows.append({"file": file, "labels": made.labels, "boxes": made.boxes})
    listing = json.dumps(rows, indent=2) + "\n"
    (EXAMPLES / "examples.json").write_text(listing, encoding="utf-8")


if __name__ == "__main__":
    main()
