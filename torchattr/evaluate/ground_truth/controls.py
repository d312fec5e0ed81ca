"""Maps that know nothing of the model: what a method must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from torchattr.evaluate.reference_maps import centre_gaussian, random_maps, sobel_edges

CONTROLS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "(random)": partial(random_maps, seed=0),
    "(edges)": sobel_edges,
    "(centre)": centre_gaussian,
}
"""Maps `(N, h, w)` of pictures, by the name in tables, where brackets tell them from methods."""


def control_maps(pictures: Tensor) -> list[Tensor]:
    """Return the maps of each control, `(N, 1, h, w)`."""
    return [control(pictures)[:, None] for control in CONTROLS.values()]
