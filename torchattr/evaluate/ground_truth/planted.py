"""Every method on networks whose decision is known by construction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth.asked_methods import (
    AskedMethod,
    Methods,
    Options,
    asked_methods,
)
from torchattr.evaluate.ground_truth.controls import CONTROLS
from torchattr.evaluate.ground_truth.measured_methods import (
    FittingMethods,
    fitting_methods,
    progress_bar,
)
from torchattr.evaluate.ground_truth.planted_report import PlantedReport, gains_of
from torchattr.evaluate.ground_truth.plants import PLANTS, Plant
from torchattr.methods import checked_count, checked_seed


@checked_flags
def planted(
    methods: Methods = None,
    plants: str | Sequence[str] | None = None,
    *,
    n: int = 16,
    seed: int = 0,
    options: Options | None = None,
    show_progress: bool = False,
) -> PlantedReport:
    """Report which methods find what decides, in networks that are built by hand.

    Their weights are set, not trained, so that a map is right or wrong without any metric: the
    share of its absolute attribution on what decides is compared with the share of area.

    - `stamp`: a stamp in a corner decides.
    - `distractor`: so it does, but the same stamp in another corner and stripes that the network
      sees best do not matter.
    - `cancelled`: what the network sees of stripes is added and subtracted again.
    - `saturated`: a quarter of the stamp would be enough, so that the score is flat around the
      picture (Shrikumar, Greenside and Kundaje 2017, arXiv:1704.02685).
    - `colour`: the red one of three squares decides. `channel`: the red channel decides.
    - `token`: a transformer attends to the stamp and reads it. `bystander`: it attends to stripes,
      whose values are 0, and reads the stamp past its attention.

    It is *not* a ranking for networks at large: each case is one way to be right or wrong, and the
    networks are small. A method that misses one is wrong there for a reason that real networks have
    as well, in part.

    Args:
        methods: as for :func:`torchattr.evaluate.benchmark`; one that does not fit the network of a
            case has no verdict there.
        plants: the names of some cases; `None` is all.
        n: number of pictures of each case.
        seed: of them, and the same for all cases.
        options: as for :func:`torchattr.evaluate.benchmark`.
        show_progress: show progress and the time that is left on stderr.

    Raises:
        InputError: an unknown case, no case, or a number out of range.
        InputTypeError: an argument of the wrong type.
        RegistryError: an unknown method.

    Warns `FewSamplesWarning` below ten pictures.

    >>> report = planted(["saliency", "integrated_gradients"], ["stamp", "saturated"])
    >>> report.verdict("saliency", "stamp"), report.verdict("saliency", "saturated")
    ('found', 'nothing')
    >>> report.verdict("integrated_gradients", "saturated")
    'found'
    """
    checked_count(n, "n")
    asked, cases = asked_methods(methods, options), _asked_plants(plants)
    found = [_grown(plant, asked, n, checked_seed(seed), show_progress) for plant in cases]
    return PlantedReport(
        [*(method.name for method in asked), *CONTROLS],
        {plant.name: plant.what for plant in cases},
        torch.stack([gains for gains, _, _ in found], 2),
        torch.stack([shown for _, shown, _ in found], 1),
        {
            (name, plant.name): reason
            for plant, (_, _, fitting) in zip(cases, found, strict=True)
            for name, reason in fitting.refused.items()
        },
        {method.name: method.settings for method in asked if method.settings},
        seed,
    )


def _grown(
    plant: Plant, methods: Sequence[AskedMethod], n: int, seed: int, show_progress: bool
) -> tuple[Tensor, Tensor, FittingMethods]:
    """Return gains `(N, rows)`, the share of each row's maps that show anything, and what fits."""
    pictures, truth = plant.pictures(n, seed)
    fitting = fitting_methods(pictures, methods)
    gains: dict[str, list[Tensor]] = {name: [] for name in fitting.names}
    shown: dict[str, list[Tensor]] = {name: [] for name in fitting.names}
    with progress_bar(plant.name, fitting.steps(pictures), show_progress) as bar:
        for batch, maps in fitting.explained(pictures, bar):
            for name, values in zip(fitting.names, maps, strict=True):
                gains[name].append(gains_of(values, truth[batch]).cpu())
                shown[name].append(values.flatten(1).any(1).double().cpu())
    rows = [*(method.name for method in methods), *CONTROLS]
    none = torch.full((n,), torch.nan, dtype=torch.float64)
    return (
        torch.stack([torch.cat(gains[name]) if name in gains else none for name in rows], 1),
        torch.stack([torch.cat(shown[name]).mean() if name in shown else none[0] for name in rows]),
        fitting,
    )


def _asked_plants(plants: str | Sequence[str] | None) -> list[Plant]:
    names = list(PLANTS) if plants is None else [plants] if isinstance(plants, str) else plants
    if not names:
        raise InputError(f"plants is empty; name some of {', '.join(PLANTS)}")
    for name in names:
        if name not in PLANTS:
            raise InputError(f"plants must be some of {', '.join(PLANTS)}, got {name!r}")
        if list(names).count(name) > 1:
            raise InputError(f"plants has {name} twice; name it once")
    return [PLANTS[name] for name in names]
