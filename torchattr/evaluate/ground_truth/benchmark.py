"""Every method against every metric, on fresh pictures whose objects are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth.asked_methods import Methods, Options
from torchattr.evaluate.ground_truth.benchmark_plan import BenchmarkPlan
from torchattr.evaluate.ground_truth.benchmarked import Benchmark
from torchattr.evaluate.ground_truth.collage_pictures import collage_grids, collage_pictures
from torchattr.evaluate.ground_truth.disconnected_cells import disconnected
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.evaluate.ground_truth.measured_methods import progress_bar
from torchattr.evaluate.ground_truth.metrics import MapMetric, On
from torchattr.evaluate.ground_truth.photograph_pictures import (
    photograph_grid,
    photograph_pictures,
)
from torchattr.methods import checked_count
from torchattr.models import LoadedModel, load_model

COLLAGE, PHOTOGRAPHS = "collage", "photographs"

N = 12

OWN = "own"
"""The name of pictures that are given."""


@checked_flags
def benchmark(
    pictures: str | LabelledPictures = "collage",
    *,
    n: int | None = None,
    seed: int = 1,
    model: LoadedModel | None = None,
    methods: Methods = None,
    metrics: str | Sequence[str] | None = None,
    options: Options | None = None,
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

    For `"photographs"` a real network explains the classes that it predicts for the four bundled
    photographs, whose objects have boxes, and for the cells of a grid of them. By default only
    methods that share one forward are measured there. Four photographs are few: intervals are wide
    at best.

    Localisation: `mass` and `positive` (:func:`torchattr.evaluate.relevance_mass`,
    :func:`torchattr.evaluate.attribution_localisation`), `relevance rank`, `top 5%`, `auc`,
    `pointing`, and `grid`, the grid pointing game, with `difull` and `dipart`, the same for the
    network cut into cells (:class:`torchattr.evaluate.DisconnectedGrid`), for which evidence
    elsewhere is certainly an error. Faithfulness: `deletion`, `insertion`, `road` (half the
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
        pictures: `"collage"`, `"photographs"`, or pictures and a network of yours with the masks of
            the objects, which `grid`, `difull` and `dipart` are not measured on.
        n: number of scenes, and of cells of grids, 12 by default; the cells of a grid are not
            independent of each other.
        seed: of them; the same seed gives the same.
        model: the network of the photographs, by default
            `torchattr.models.load_model("lite0")`.
        methods: names or classes; or functions that make a method for a model, by name, such as
            `{"smooth_grad": lambda net: NoiseTunnel(Saliency(net))}`; `None` is all that are
            registered.
        metrics: some of those above; `None` is all.
        options: options of methods by the name of each, over those that bound its cost, such as
            `{"rise": {"n_masks": 1000}}`; a number stands for cells of `feature_mask` in a row.
        show_progress: show progress and the time that is left on stderr.

    Raises:
        InputError: unknown pictures or metric, no method that fits, a number out of range, or an
            argument of other pictures.
        PackageError: the weights of `"lite0"` are needed and not installed.
        InputTypeError: an argument of the wrong type.
        RegistryError: an unknown method.

    Warns `FewSamplesWarning` below ten pictures.

    >>> found = benchmark(n=10, methods=["saliency", "lrp"], metrics=["mass", "grid"])
    >>> found.values.shape  # pictures, methods and three controls, metrics
    torch.Size([10, 5, 2])
    >>> found.ranking[0]
    'lrp'
    """
    plan = BenchmarkPlan.of(methods, metrics, options)
    if isinstance(pictures, LabelledPictures):
        plan = plan.on_own_pictures()
    made = _made(pictures, n, seed, model, plan.metrics)
    only_shared = methods is None and pictures == PHOTOGRAPHS
    first = next(iter(made.values()))
    plan = plan.fitting_to(first, only_shared=only_shared, show_progress=show_progress)
    plans = {kind: plan.on(kind).also_fitting(own, first) for kind, own in made.items()}
    steps = sum(plans[kind].steps(own) for kind, own in made.items())
    by_name: dict[str, Tensor] = {}
    with progress_bar("Measuring", steps, show_progress) as bar:
        for kind, own in made.items():
            columns = plans[kind].values(own, bar, rows=plan.names).unbind(-1)
            by_name |= zip((one.name for one in plans[kind].metrics), columns, strict=True)
    name = OWN if isinstance(pictures, LabelledPictures) else pictures
    rows = (n or N) if name == COLLAGE else len(first.asked)
    values = torch.stack([by_name[metric.name][:rows] for metric in plan.metrics], -1)
    return Benchmark(
        *(name, plan.names, plan.metrics, values, plan.refused, plan.settings),
        seed if name == COLLAGE else None,
        remarks=[
            f"Not measured: {method} by {metric.name}, {reason}"
            for own in plans.values()
            for metric in own.metrics
            for method, reason in own.refused.items()
            if method not in plan.refused
        ],
    )


def _made(
    pictures: str | LabelledPictures,
    n: int | None,
    seed: int,
    model: LoadedModel | None,
    metrics: Sequence[MapMetric],
) -> dict[On, LabelledPictures]:
    """Return the pictures of each kind that the metrics are measured on."""
    kinds: dict[On, None] = dict.fromkeys(metric.on for metric in metrics)
    if n is not None and pictures != COLLAGE:
        raise InputError(f"n is the number of scenes of 'collage', got {n}; leave it out")
    if model is not None and pictures != PHOTOGRAPHS:
        raise InputError("model is the network of 'photographs'; leave it out, or name these")
    if isinstance(pictures, LabelledPictures):
        return {"scenes": pictures}
    if pictures == PHOTOGRAPHS:
        loaded = load_model("lite0") if model is None else model
        return _of_kinds(
            kinds, lambda: photograph_pictures(loaded), lambda: photograph_grid(loaded)
        )
    if pictures == COLLAGE:
        count = N if n is None else checked_count(n, "n")
        return _of_kinds(
            kinds, lambda: collage_pictures(count, seed), lambda: collage_grids(count, seed)
        )
    raise InputError(
        f"pictures must be {COLLAGE!r}, {PHOTOGRAPHS!r} or LabelledPictures, got {pictures!r};"
        " networks whose decision is known by construction are those of planted"
    )


def _of_kinds(
    kinds: Iterable[On],
    scenes: Callable[[], LabelledPictures],
    grids: Callable[[], LabelledPictures],
) -> dict[On, LabelledPictures]:
    """Return the pictures of each kind, of which those on grids show the same."""
    own = grids() if set(kinds) - {"scenes"} else None
    made: dict[On, LabelledPictures] = {}
    for kind in kinds:
        if kind == "scenes" or own is None:
            made[kind] = scenes()
        else:
            made[kind] = own if kind == "grids" else disconnected(own, kind)
    return made
