"""Maps that know nothing of the model: what a method must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from torchattr.evaluate.reference_maps import centre_gaussian, random_maps, sobel_edges

CONTROLS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "(random)": lambda pictures, first: random_maps(pictures, 0, first),
    "(edges)": lambda pictures, _: sobel_edges(pictures),
    "(centre)": lambda pictures, _: centre_gaussian(pictures),
}
"""Maps `(N, h, w)` of pictures and the number of the first one, by the name in tables, where
brackets tell them from methods."""


def control_maps(pictures: Tensor, first: int = 0) -> list[Tensor]:
    """Return the maps of each control, `(N, 1, h, w)`.

    Args:
        pictures: `(N, C, h, w)`.
        first: the number of the first picture among all that are measured.
    """
    return [control(pictures, first)[:, None] for control in CONTROLS.values()]
