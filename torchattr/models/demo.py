"""Load the bundled model."""

from __future__ import annotations

from pathlib import Path

import torch

from torchattr.models.cropping import WholePicture
from torchattr.models.loaded import LoadedModel
from torchattr.models.weights import RANDOM, fit_weights, read_weights, same_random_weights


def load(weights: str | Path | None, device: torch.device) -> LoadedModel:
    """Load the collage model; its classes are independent, so scores are logits of sigmoids."""
    from torchattr.models import collage

    with same_random_weights():
        model = collage.collage(weights=weights is None)
    if weights is not None and weights != RANDOM:
        fit_weights(model, read_weights(weights), str(weights))
    return LoadedModel(
        name="demo",
        model=model.eval().to(device),
        transform=collage.preprocess,
        class_names=tuple(collage.CLASSES),
        activation="sigmoid",
        geometry=WholePicture(),
        examples=tuple(one.path.stem for one in collage.examples()),
    )
