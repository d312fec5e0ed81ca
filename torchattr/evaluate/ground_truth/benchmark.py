"""Every method against every metric, on fresh pictures whose objects are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.warn import listening
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth.asked_methods import Methods, asked_methods
from torchattr.evaluate.ground_truth.benchmarked import Benchmark
from torchattr.evaluate.ground_truth.collage_pictures import collage_grids, collage_pictures
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.evaluate.ground_truth.measured_methods import (
    FittingMethods,
    as_large,
    batches_of,
    fitting_methods,
    need_some,
    progress_bar,
    shown_step,
)
from torchattr.evaluate.ground_truth.metrics import MapMetric, On, asked_metrics
from torchattr.methods import checked_count

Maker = Callable[[int, int], LabelledPictures]

PICTURES: Mapping[str, Mapping[On, Maker]] = {
    "collage": {"scenes": collage_pictures, "grids": collage_grids}
}
"""What makes the pictures of each kind from their number and a seed, by name."""

OWN = "own"
"""The name of pictures that are given."""


def benchmark(
    pictures: str | LabelledPictures = "collage",
    *,
    n: int = 12,
    seed: int = 1,
    methods: Methods = None,
    metrics: str | Sequence[str] | None = None,
    show_progress: bool = False,
) -> Benchmark:
    """Measure methods by metrics on pictures whose objects are known, and rank them.

    For `"collage"` the bundled network explains one object in each of `n` fresh scenes of two or
    three, which it finds, and the objects in `n` cells of grids of four scenes. All gradient
    methods share one forward of each batch, the classes of a grid share all forwards, and metrics
    whose forwards do not depend on the maps share these, too. Maps
    are enlarged to the pictures, and channels summed (of guided and deconvolved gradients, whose
    sign is no evidence, their magnitudes). Methods that replace features get cells, and
    those that draw samples few, so that none takes more than few hundreds of forwards a picture;
    `settings` of the result says which. Those that do not fit the network are left out with their
    reason.

    Localisation: `mass` and `positive` (:func:`torchattr.evaluate.relevance_mass`,
    :func:`torchattr.evaluate.attribution_localisation`), `rank`, `top 5%`, `auc`, `pointing`, and
    `grid`, the grid pointing game. Faithfulness: `deletion`, `insertion`, `road` (half the
    difference of removing the least and the most first), `sets`
    (:func:`torchattr.evaluate.faithfulness_correlation`), `single`
    (:func:`torchattr.evaluate.single_deletion`, which `feature_ablation` computes, so that it is no
    evidence for that). Complexity, which is not ranked: `gini`,
    `entropy`.

    It is *not* the truth about a method: metrics of localisation presume that the network uses the
    object and nothing else, those of faithfulness that it treats pictures with holes as it does
    others, and both contradict each other, as `agreement` shows. The network is small. Where right
    and wrong are known, see :func:`torchattr.evaluate.planted`.

    Args:
        pictures: `"collage"`, or pictures and a network of yours with the masks of the objects,
            which `grid` is not measured on.
        n: number of scenes, and of cells of grids; the cells of a grid are not independent of each
            other.
        seed: of them; the same seed gives the same.
        methods: names or classes; or functions that make a method for a model, by name, such as
            `{"smooth_grad": lambda net: NoiseTunnel(Saliency(net))}`; `None` is all that are
            registered.
        metrics: some of those above; `None` is all.
        show_progress: show progress and the time that is left on stderr.

    Raises:
        InputError: unknown pictures or metric, no method that fits, or a number out of range.
        InputTypeError: an argument of the wrong type.
        RegistryError: an unknown method.

    Warns `FewSamplesWarning` below ten pictures.

    >>> found = benchmark(n=10, methods=["saliency", "lrp"], metrics=["mass", "grid"])
    >>> found.values.shape  # pictures, methods and three controls, metrics
    torch.Size([10, 5, 2])
    >>> found.ranking[0]
    'lrp'
    """
    asked, columns = asked_methods(methods), asked_metrics(metrics)
    made = _made(pictures, n, seed, columns)
    columns = [metric for metric in columns if metric.on in made]
    fitting = fitting_methods(next(iter(made.values())).asked, asked, show_progress)
    need_some(fitting)
    by_name = _measured(made, fitting, columns, show_progress)
    is_own = isinstance(pictures, LabelledPictures)
    name, rows = (OWN, len(pictures)) if is_own else (pictures, n)
    return Benchmark(
        name,
        fitting.names,
        columns,
        torch.stack([by_name[metric.name][:rows] for metric in columns], -1),
        fitting.refused,
        {one.name: one.settings for one in fitting.methods if one.settings},
        None if is_own else seed,
    )


def _made(
    pictures: str | LabelledPictures, n: int, seed: int, metrics: Sequence[MapMetric]
) -> dict[On, LabelledPictures]:
    """Return the pictures of each kind that the metrics are measured on."""
    if isinstance(pictures, LabelledPictures):
        if all(metric.on == "grids" for metric in metrics):
            raise InputError(
                "the metric grid is measured on grids of fresh scenes, not on pictures of yours;"
                " leave it out"
            )
        return {"scenes": pictures}
    if pictures not in PICTURES:
        raise InputError(
            f"pictures must be {' or '.join(map(repr, PICTURES))} or LabelledPictures, got"
            f" {pictures!r}; networks whose decision is known by construction are those of planted"
        )
    checked_count(n, "n")
    kinds: dict[On, None] = dict.fromkeys(metric.on for metric in metrics)
    return {kind: PICTURES[pictures][kind](n, seed) for kind in kinds}


def _measured(
    made: Mapping[On, LabelledPictures],
    fitting: FittingMethods,
    metrics: Sequence[MapMetric],
    show_progress: bool,
) -> dict[str, Tensor]:
    """Return what each metric says of each map, `(N, methods)`, by the metric's name."""
    own = {kind: [metric for metric in metrics if metric.on == kind] for kind in made}
    asked = {kind: pictures.asked for kind, pictures in made.items()}
    steps = sum(
        fitting.steps(asked[kind]) + batches_of(asked[kind]) * len(own[kind]) for kind in made
    )
    found: dict[str, Tensor] = {}
    with progress_bar("Measuring", steps, show_progress) as bar:
        for kind, pictures in made.items():
            found |= _values(pictures, fitting, own[kind], bar)
    return found


def _values(
    pictures: LabelledPictures,
    fitting: FittingMethods,
    metrics: Sequence[MapMetric],
    bar: tqdm[Any],
) -> dict[str, Tensor]:
    """Return what some metrics say of the maps of some pictures."""
    batches: dict[str, list[Tensor]] = {metric.name: [] for metric in metrics}
    for chosen, maps in fitting.explained(pictures.asked, bar):
        batch = pictures[chosen]
        rows = zip(fitting.names, maps, strict=True)
        large = torch.stack([as_large(name, one, batch.masks.shape[1:]) for name, one in rows])
        for metric in metrics:
            with listening(_ignore), shown_step(bar, metric.name):
                batches[metric.name].append(metric.measure(batch, large).T)
    return {name: torch.cat(parts).double().cpu() for name, parts in batches.items()}


def _ignore(_: Warning) -> None:
    """Ignore where a metric is undefined: it is NaN there, and counted in the intervals."""
