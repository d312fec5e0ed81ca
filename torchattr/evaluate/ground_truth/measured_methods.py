"""The maps of several methods for labelled pictures, and why some methods have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from torchattr.core.warn import listening
from torchattr.errors import InputError, TorchattrError
from torchattr.evaluate.ground_truth.asked_methods import AskedMethod
from torchattr.evaluate.ground_truth.asked_pictures import AskedPictures
from torchattr.evaluate.ground_truth.controls import CONTROLS, control_maps
from torchattr.explanation import explain
from torchattr.show import COLOR, style_of

AT_ONCE = 16
"""Pictures of a batch, which share a forward."""


@dataclass(frozen=True, eq=False)
class FittingMethods:
    """The methods that fit a network, and the reasons of those that do not, by name."""

    methods: Sequence[AskedMethod]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of the rows: of the methods, then of the controls."""
        return [*(method.name for method in self.methods), *CONTROLS]

    def explained(
        self, pictures: AskedPictures, progress: str | None = None
    ) -> Iterator[tuple[slice, list[Tensor]]]:
        """Yield which pictures a batch has, and its maps for each row, `(N, C or 1, h, w)`.

        Args:
            pictures: what is explained, by all methods from one forward of each batch.
            progress: title of the progress bar; `None` shows none.
        """
        controls = control_maps(pictures.inputs)
        starts = range(0, len(pictures), AT_ONCE)
        for start in tqdm(starts, desc=progress, disable=None if progress else True):
            rows = slice(start, start + AT_ONCE)
            with listening(_ignore):
                maps = _explained(pictures[rows], self.methods)
            yield rows, [*maps, *(one[rows] for one in controls)]


def fitting_methods(pictures: AskedPictures, methods: Sequence[AskedMethod]) -> FittingMethods:
    """Try each method on the first picture."""
    found = {method.name: _reason(pictures[:1], method) for method in methods}
    refused = {name: reason for name, reason in found.items() if reason}
    return FittingMethods([one for one in methods if one.name not in refused], refused)


def _reason(picture: AskedPictures, method: AskedMethod) -> str:
    """Return why a method does not fit; empty if it does."""
    try:
        with listening(_ignore):
            (found,) = _explained(picture, [method])
    except TorchattrError as reason:
        return str(reason)
    return "" if found.isfinite().all() else "its map holds NaN or infinite values"


def need_some(fitting: FittingMethods) -> None:
    """Check that some method fits.

    Raises:
        InputError: none does.
    """
    if not fitting.methods:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in fitting.refused.items())
        raise InputError(f"no method fits the network: {reasons}")


def as_large(name: str, maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return the maps of a row `(N, h, w)` in the size of the pictures.

    Channels are summed; of gradients, which are drawn in colour, their magnitudes, since the sign
    says whether a pixel should be brighter, not whether it is evidence. Coarse maps are enlarged.
    """
    values = maps.detach().double()
    is_gradient = style_of(name, values[:1].cpu()) == COLOR
    flat = (values.abs() if is_gradient else values).sum(1, keepdim=True)
    if tuple(flat.shape[2:]) != tuple(size):
        flat = interpolate(flat, tuple(size), mode="bilinear", align_corners=False)
    return flat[:, 0]


def _explained(pictures: AskedPictures, methods: Sequence[AskedMethod]) -> list[Tensor]:
    """Return the maps of each method, `(N, C or 1, h, w)`."""
    made = {method.make(pictures.model): method.options(pictures) for method in methods}
    if not made:
        return []
    explained = explain(pictures.model, pictures.inputs, made, pictures.targets)
    return [explained[name][:, 0].detach() for name in explained]


def _ignore(_: Warning) -> None:
    """Ignore what methods warn of: the table says what they are worth."""
