"""The maps of several methods for labelled pictures, and why some methods have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from torchattr.core.targets import bundle
from torchattr.core.warn import unheard
from torchattr.errors import InputError, TorchattrError
from torchattr.evaluate.ground_truth.asked_methods import AskedMethod
from torchattr.evaluate.ground_truth.asked_pictures import AskedPictures
from torchattr.evaluate.ground_truth.controls import CONTROLS, control_maps
from torchattr.explanation import Explanation, explain
from torchattr.methods import GradientAttribution
from torchattr.show import COLOR, style_of

AT_ONCE = 8
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

    def steps(self, pictures: AskedPictures) -> int:
        """Return the number of steps in which the pictures are explained."""
        return batches_of(pictures) * len(_shared(pictures, self.methods))

    def explained(
        self, pictures: AskedPictures, bar: tqdm[Any] | None = None, first: int = 0
    ) -> Iterator[tuple[slice, list[Tensor]]]:
        """Yield which rows a batch has, and the maps of each method, `(rows, C or 1, h, w)`.

        There is a row for each class that is explained in a picture.

        Args:
            pictures: what is explained, by all gradient methods from one forward of each batch, and
                for all classes of a picture from the same forwards.
            bar: shows the steps.
            first: the number of the first picture among all that are measured.
        """
        groups = _shared(pictures, self.methods)
        controls = [
            one.repeat_interleave(pictures.each, 0) for one in control_maps(pictures.inputs, first)
        ]
        for start in range(0, len(pictures), AT_ONCE):
            batch = pictures[start : start + AT_ONCE]
            found: dict[str, Tensor] = {}
            for group in groups:
                with shown_step(bar, group[-1].name):
                    found |= _explained(batch, group)
            rows = slice(start * batch.each, (start + len(batch)) * batch.each)
            yield (
                rows,
                [
                    *(found[method.name] for method in self.methods),
                    *(one[rows] for one in controls),
                ],
            )


def batches_of(pictures: AskedPictures) -> int:
    """Return the number of batches in which pictures are explained."""
    return -(-len(pictures) // AT_ONCE)


@contextmanager
def shown_step(bar: tqdm[Any] | None, name: str) -> Iterator[None]:
    """Show the name of a step while it runs, and count it when it is done."""
    if bar is None:
        yield
        return
    bar.set_postfix_str(name)
    yield
    bar.update()


def progress_bar(title: str, total: int, show: bool) -> tqdm[Any]:
    """Return a bar of steps with the time that is left, by the mean of all so far, on stderr."""
    return tqdm(desc=title, total=total, disable=None if show else True, smoothing=0)


MANY = "it runs many forwards, which take long in a large network; name it to have it measured"


def fitting_methods(
    pictures: AskedPictures,
    methods: Sequence[AskedMethod],
    show_progress: bool = False,
    *,
    only_shared: bool = False,
) -> FittingMethods:
    """Try each method on the first picture, with few samples.

    Args:
        pictures: what is explained.
        methods: the methods.
        show_progress: show a progress bar.
        only_shared: leave out the methods that need forwards of their own.
    """
    found: dict[str, str] = {}
    with progress_bar("Trying methods", len(methods), show_progress) as bar:
        for method in methods:
            with shown_step(bar, method.name):
                is_dear = only_shared and not _shares(method, pictures)
                found[method.name] = MANY if is_dear else _reason(pictures[:1], method)
    refused = {name: reason for name, reason in found.items() if reason}
    return FittingMethods([one for one in methods if one.name not in refused], refused)


def _reason(picture: AskedPictures, method: AskedMethod) -> str:
    """Return why a method does not fit; empty if it does."""
    try:
        found = _explained(picture, [method], briefly=True)[method.name]
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


def _shared(pictures: AskedPictures, methods: Sequence[AskedMethod]) -> list[list[AskedMethod]]:
    """Return the methods that share a forward as one group, and each other one by itself."""
    sharing = [method for method in methods if _shares(method, pictures)]
    alone = [[method] for method in methods if method not in sharing]
    return [sharing, *alone] if sharing else alone


def _shares(method: AskedMethod, pictures: AskedPictures) -> bool:
    made = method.make(pictures.model)
    return isinstance(made, GradientAttribution) and made.shares_forward(**method.options(pictures))


def explanation_of(
    pictures: AskedPictures, methods: Sequence[AskedMethod], *, briefly: bool = False
) -> Explanation:
    """Return what methods say of pictures, for all classes of each from the same forwards."""
    made = {
        method.make(pictures.model): method.options(pictures, briefly=briefly) for method in methods
    }
    targets: Any = pictures.targets
    if targets.dim() == 2:
        targets = bundle(targets.T.tolist())
    # The table says what methods are worth.
    with unheard():
        return explain(pictures.model, pictures.inputs, made, targets)


def _explained(
    pictures: AskedPictures, methods: Sequence[AskedMethod], *, briefly: bool = False
) -> dict[str, Tensor]:
    """Return the maps of each method by name, `(rows, C or 1, h, w)`."""
    explained = explanation_of(pictures, methods, briefly=briefly)
    named = zip((method.name for method in methods), explained, strict=True)
    return {name: explained[key].detach().flatten(0, 1) for name, key in named}
