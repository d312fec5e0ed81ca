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
from torchattr.evaluate.ground_truth.controls import CONTROLS
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.explanation import explain

AT_ONCE = 16
"""Pictures of a batch, which share a forward."""

GRADIENTS = ("deconvolution", "guided_backprop", "guided_grad_cam")
"""Methods whose sign says whether a pixel should be brighter, not whether it is evidence."""


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
        self, pictures: LabelledPictures, progress: str | None = None
    ) -> Iterator[tuple[LabelledPictures, list[Tensor]]]:
        """Yield the pictures batch by batch with the maps of each row, `(N, C or 1, h, w)`.

        Args:
            pictures: what is explained, by all methods from one forward of each batch.
            progress: title of the progress bar; `None` shows none.
        """
        controls = [control(pictures.inputs) for control in CONTROLS.values()]
        starts = range(0, len(pictures), AT_ONCE)
        for start in tqdm(starts, desc=progress, disable=None if progress else True):
            rows = slice(start, start + AT_ONCE)
            batch = pictures[rows]
            with listening(_ignore):
                maps = _explained(batch, self.methods)
            yield batch, [*maps, *(one[rows] for one in controls)]


def fitting_methods(pictures: LabelledPictures, methods: Sequence[AskedMethod]) -> FittingMethods:
    """Try each method on the first picture."""
    found = {method.name: _reason(pictures[:1], method) for method in methods}
    refused = {name: reason for name, reason in found.items() if reason}
    return FittingMethods([one for one in methods if one.name not in refused], refused)


def _reason(picture: LabelledPictures, method: AskedMethod) -> str:
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


def as_large(name: str, maps: Tensor, pictures: LabelledPictures) -> Tensor:
    """Return the maps of a row `(N, h, w)` in the pictures' size.

    Channels are summed, of gradients their magnitudes; coarse maps are enlarged.
    """
    values = maps.detach().double()
    flat = (values.abs() if name in GRADIENTS else values).sum(1, keepdim=True)
    size = pictures.inputs.shape[2:]
    if flat.shape[2:] != size:
        flat = interpolate(flat, size, mode="bilinear", align_corners=False)
    return flat[:, 0]


def _explained(pictures: LabelledPictures, methods: Sequence[AskedMethod]) -> list[Tensor]:
    """Return the maps of each method, `(N, C or 1, h, w)`."""
    made = {method.make(pictures.model): method.options(pictures) for method in methods}
    if not made:
        return []
    explained = explain(pictures.model, pictures.inputs, made, pictures.targets)
    return [explained[name][:, 0].detach() for name in explained]


def _ignore(_: Warning) -> None:
    """Ignore what methods warn of: the table says what they are worth."""
