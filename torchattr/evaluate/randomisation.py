"""Model parameter randomisation tests: do maps change when what the model learnt is destroyed?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.arguments import checked_flags
from torchattr.core.checked_numbers import as_number
from torchattr.core.types import Layers, OutputKey
from torchattr.errors import InputError, Message
from torchattr.evaluate.bootstrap import Interval, bootstrap_interval
from torchattr.evaluate.map_similarity import ReferenceMaps, Similarity
from torchattr.evaluate.randomised_model import RandomisedModel, RandomLayer
from torchattr.evaluate.shared_maps import (
    Maps,
    Methods,
    Noise,
    Question,
    asked,
    joined,
    undefined_for,
)
from torchattr.explanation import METHODS
from torchattr.methods import checked_count
from torchattr.show import notebook, plot_intervals, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Order = Literal["top_down", "bottom_up"]
MapsOf: TypeAlias = Callable[..., Maps]
"""Maps by method from a question, a model and whether it is meant to be broken (`quiet`)."""


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How alike maps stay to those of the model as its layers are randomised.

    Attributes:
        layers: the layer that each step randomised last.
        counts: the number of layers that are random at each step.
        similarities: for each method, `(N, steps)`; NaN where it is undefined.
        similarity: how maps were compared.
        order: from which end of the model.
        cascading: whether layers stay random in the steps that follow.
        refused: why methods were left out, by name.
    """

    layers: tuple[str, ...]
    counts: tuple[int, ...]
    similarities: Mapping[str, Tensor]
    similarity: Similarity
    order: Order
    cascading: bool
    refused: Mapping[str, Message] = field(default_factory=dict)

    def interval(self, method: str, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Return the mean over the pictures at each step, with bootstrap intervals."""
        return bootstrap_interval(self[method], level=level, seed=seed)

    def __getitem__(self, method: str) -> Tensor:
        if method not in self.similarities:
            raise KeyError(f"{method!r} was not measured; there are: {', '.join(self)}")
        return self.similarities[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self.similarities)

    def __len__(self) -> int:
        return len(self.similarities)

    def plot(self, ax: Axes | None = None, *, methods: Sequence[str] | None = None) -> Axes:
        """Draw a curve with its interval for each method on Matplotlib axes."""
        return self.drawn({name: self.interval(name) for name in methods or self}, ax)

    def drawn(self, curves: Mapping[str, Interval], ax: Axes | None = None) -> Axes:
        """Draw curves that were averaged before; cascading ones begin at the trained model."""
        labels = [f"{count}: {name}" for count, name in zip(self.counts, self.layers, strict=True)]
        series = [(name, one.value, one.low, one.high) for name, one in curves.items()]
        if self.cascading:
            labels = ["0: trained", *labels]
            series = [
                (name, _from_one(value), _from_one(low), _from_one(high))
                for name, value, low, high in series
            ]
        axes = plot_intervals(series, labels, ax)
        axes.set_ylabel(f"similarity ({self.similarity})")
        axes.set_xlabel("randomised " + ("up to" if self.cascading else "alone"))
        return axes

    def __repr__(self) -> str:
        ends = ", ".join(f"{name} {self[name][:, -1].nanmean():.2f}" for name in self)
        how = "cascading" if self.cascading else "independent"
        return f"Randomisation({how}, {self.order}, {len(self.layers)} steps; at the end {ends})"

    def _repr_html_(self) -> str:
        return notebook(self, lambda: [("similarity", rendered(self.plot()))])


@checked_flags
def mprt(
    model: Any,
    inputs: Tensor,
    methods: Methods = METHODS,
    target: Any = None,
    *,
    order: Order = "top_down",
    cascading: bool = True,
    similarity: Similarity = "spearman",
    absolute: bool = False,
    layers: Layers | None = None,
    steps: int | None = None,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    skip_refused: bool = False,
    seed: int = 0,
    show_progress: bool = False,
) -> Randomisation:
    """Measure how alike maps stay as the model's layers are randomised: the lower, the better.

    The model parameter randomisation test, Adebayo et al. 2018, arXiv:1810.03292:
    `ρ(Φ(f, x), Φ(f_l, x))`, in -1..1, for models `f_l` whose layers are random from the output down
    to `l` (cascading), or only at `l`. A map that stays the same shows what does not depend on the
    parameters: the picture.

    It is *not* evidence that a map is right: random maps pass. Nor does a high value at the first
    steps condemn a method, since a random layer keeps much of what is below it (Binder et al. 2023,
    arXiv:2211.12486): look at the end of the curve, and compare methods at the same step.

    Unlike in Quantus, layers follow each other as the model runs them; those that the output does
    not depend on are left out; parameters of modules without `reset_parameters` are permuted, not
    kept; maps keep their sign and are compared in their own resolution; constant maps are NaN.

    Args:
        model: a module; a copy of it is randomised.
        inputs: pictures, `(N, C, h, w)`.
        methods: as for :func:`torchattr.explain`; all share the forward of each randomised model.
        target: what is explained; `None` is the class that the model itself predicts, also for
            randomised models.
        order: randomise from the output (`"top_down"`) or from the input (`"bottom_up"`).
        cascading: keep what is randomised, instead of one layer at a time.
        similarity: how maps are compared, see :func:`map_similarity`.
        absolute: compare their magnitudes, summed over channels.
        layers: the layers to randomise, by name, pattern or class; what lies within them, too.
        steps: number of steps, each of about as many layers; `None` measures after each layer.
        layer: for methods that use a layer; `None` uses the last spatial one of the model.
        rules: as for :func:`torchattr.explain`.
        additional_forward_args: as for every method.
        output: as for every method.
        skip_refused: leave out methods that do not fit the model, with the reason in `refused`.
        seed: seed of the random parameters; what a layer gets depends on it and its name alone.
        show_progress: show a progress bar on stderr.

    Raises:
        InputTypeError: a function instead of a module, or several inputs.
        ModelError: the model cannot be copied.
        InputError: an argument out of range, or nothing to randomise.

    Warns `UndefinedMetricWarning` where maps are constant, NaN or infinite.

    >>> import torch
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5)
    ... )
    >>> found = mprt(model, torch.rand(2, 3, 8, 8), ["saliency", "guided_backprop"])
    >>> found.layers, found["saliency"].shape
    (('3', '0'), torch.Size([2, 2]))
    """
    test = RandomisationTest(order, cascading, similarity, layers, steps, seed, show_progress)
    made_with = _made_with(layer, rules, additional_forward_args, output, skip_refused, absolute)
    question = asked(model, inputs, methods, target, **made_with)
    return test.run(model, question, Question.maps)


@checked_flags
def smooth_mprt(
    model: Any,
    inputs: Tensor,
    methods: Methods = METHODS,
    target: Any = None,
    *,
    n_samples: int = 50,
    noise: float = 0.1,
    order: Order = "bottom_up",
    cascading: bool = True,
    similarity: Similarity = "spearman",
    absolute: bool = False,
    layers: Layers | None = None,
    steps: int | None = None,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    skip_refused: bool = False,
    seed: int = 0,
    show_progress: bool = False,
) -> Randomisation:
    """Measure the same as :func:`mprt` for maps averaged over noisy inputs: the lower, the better.

    `1/n Σ Φ(f, x + ε_k)` with `ε_k ~ N(0, σ²)` takes the place of `Φ(f, x)`, for the model and the
    randomised ones. Hedström et al. 2024, arXiv:2405.02383: the noise of a single gradient lowers
    similarities on its own, which favours noisy methods. All copies of an example have the same
    noise for every model.

    It is *not* a test of the method itself but of its smoothed form. The paper randomises from the
    input, the default here. Range, other arguments and errors are those of :func:`mprt`; unlike in
    Quantus, the noise is a share of the range of each picture, not of the batch.

    Args:
        n_samples: number of noisy copies of each example.
        noise: its standard deviation as a share of the range of each example's values.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)).eval()
    >>> found = smooth_mprt(model, torch.rand(2, 3, 4, 4), "saliency", n_samples=4)
    >>> found["saliency"].shape
    torch.Size([2, 1])
    """
    checked_count(n_samples, "n_samples")
    test = RandomisationTest(order, cascading, similarity, layers, steps, seed, show_progress)
    made_with = _made_with(layer, rules, additional_forward_args, output, skip_refused, absolute)
    question = asked(model, inputs, methods, target, **made_with)
    drawn = Noise(n_samples, checked_noise(noise), seed)

    def maps(question: Question, model: Any, *, quiet: bool = False) -> Maps:
        return question.smooth_maps(model, drawn, quiet=quiet)

    return test.run(model, question, maps)


def _from_one(values: Tensor) -> Tensor:
    """Return values after that of equal maps."""
    return torch.cat([values.new_ones(1), values])


def checked_noise(noise: float) -> float:
    """Return a level of noise after a check.

    Raises:
        InputError: it is not positive and finite.
    """
    noise = as_number(noise, "noise")
    if not 0 < noise < float("inf"):
        raise InputError(f"noise must be a share of the inputs' range, such as 0.1, got {noise}")
    return float(noise)


def _made_with(
    layer: Any,
    rules: Any,
    additional_forward_args: Any,
    output: Any,
    skip_refused: bool,
    absolute: bool,
) -> dict[str, Any]:
    return {
        "layer": layer,
        "rules": rules,
        "additional_forward_args": additional_forward_args,
        "output": output,
        "skip_refused": skip_refused,
        "reading": "magnitude" if absolute else "signed",
    }


@dataclass(frozen=True)
class RandomisationTest:
    """The settings of a randomisation test."""

    order: Order
    cascading: bool
    similarity: Similarity
    layers: Layers | None
    steps: int | None
    seed: int
    show_progress: bool

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise InputError(f"order must be 'top_down' or 'bottom_up', got {self.order!r}")
        if self.steps is not None:
            checked_count(self.steps, "steps")

    def run(self, model: Any, question: Question, maps_of: MapsOf) -> Randomisation:
        """Compare the maps of a model with those of its randomised copies.

        Args:
            model: the model.
            question: what is explained.
            maps_of: returns the maps of a model, also of a randomised copy.
        """
        steps = self.steps_of(model, question)
        with steps.bar(question) as bar:
            parts = [
                steps.similarities(part, copied, maps_of(part, model), maps_of, bar)
                for part, copied in steps.parts(question)
            ]
        return steps.result(joined(parts), question.refused)

    def steps_of(self, model: Any, question: Question) -> RandomSteps:
        """Return a copy of a model, and the layers that are randomised at each step."""
        random = question.randomised(model, self.seed)
        return RandomSteps(self, random, self._groups(random))

    def _groups(self, random: RandomisedModel) -> list[list[RandomLayer]]:
        layers = list(random.layers) if self.layers is None else random.within(self.layers)
        if not layers:
            raise InputError(f"layers={self.layers!r} names none with parameters of its own")
        layers = layers[::-1] if self.order == "top_down" else layers
        steps = min(self.steps or len(layers), len(layers))
        ends = [round((step + 1) * len(layers) / steps) for step in range(steps)]
        return [layers[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True, eq=False)
class RandomSteps:
    """The steps of a randomisation test on a copy of a model.

    Attributes:
        test: the settings.
        random: the copy.
        groups: the layers that are randomised at each step.
    """

    test: RandomisationTest
    random: RandomisedModel
    groups: Sequence[Sequence[RandomLayer]]

    def parts(self, question: Question) -> Iterator[tuple[Question, Question]]:
        """Yield the question for as many pictures as fit into memory, of the model and the copy."""
        return zip(question.parts(), question.beside(self.random).parts(), strict=True)

    def bar(self, question: Question) -> tqdm[Any]:
        """Return a progress bar for all parts of the pictures."""
        total = len(self.groups) * sum(1 for _ in question.parts())
        return tqdm(desc="Randomisation", total=total, disable=not self.test.show_progress)

    def similarities(
        self, question: Question, copied: Question, clean: Maps, maps_of: MapsOf, bar: tqdm[Any]
    ) -> Maps:
        """Return how alike the maps of the copy are to the model's after each step, `(N, steps)`.

        Args:
            question: what is explained.
            copied: the same of the copy.
            clean: the model's maps.
            maps_of: returns those of the copy.
            bar: counts the steps.
        """
        kind, random = self.test.similarity, self.random
        references = {name: ReferenceMaps(maps, kind) for name, maps in clean.items()}
        found: dict[str, list[Tensor]] = {name: [] for name in clean}
        for group in self.groups:
            random.randomise(group)
            maps = maps_of(copied, random.model, quiet=True)
            for name, reference in references.items():
                found[name].append(reference.similarity_or_nan(maps.get(name)))
            if not self.test.cascading:
                random.restore(group)
            bar.update()
        for group in self.groups:
            random.restore(group)
        return {name: torch.stack(values, 1) for name, values in found.items()}

    def result(self, similarities: Maps, refused: Mapping[str, Message]) -> Randomisation:
        """Return what was found of all pictures, with one warning of what is undefined."""
        return Randomisation(
            tuple(group[-1].name for group in self.groups),
            self._counts(),
            undefined_for(similarities, "the similarity"),
            self.test.similarity,
            self.test.order,
            self.test.cascading,
            refused,
        )

    def _counts(self) -> tuple[int, ...]:
        sizes = [len(group) for group in self.groups]
        is_cascading = self.test.cascading
        return tuple(sum(sizes[: k + 1]) if is_cascading else sizes[k] for k in range(len(sizes)))
