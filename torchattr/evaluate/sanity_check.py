"""Sanity checks of methods on a model and some pictures, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.targets import bundle
from torchattr.core.types import Activation, Layers, OutputKey
from torchattr.core.warn import said_once, unheard
from torchattr.errors import TargetError
from torchattr.evaluate.blocks import blocks
from torchattr.evaluate.bootstrap import Interval, bootstrap_interval
from torchattr.evaluate.check_result import Check
from torchattr.evaluate.curves import Curve, deletion_curve
from torchattr.evaluate.findings import (
    BEATS_CENTRE,
    BEATS_EDGES,
    BEATS_RANDOM,
    CRITERIA,
    EDGES,
    NOISE,
    OTHER_CLASS,
    RANDOM_LAYERS,
    Finding,
    found,
    found_of_layers,
)
from torchattr.evaluate.map_similarity import ReferenceMaps, Similarity, is_comparable
from torchattr.evaluate.other_class import classes_of, other_classes
from torchattr.evaluate.randomisation import Randomisation, RandomisationTest, checked_noise
from torchattr.evaluate.reference_maps import (
    centre_gaussian,
    random_maps,
    reduced,
    sobel_edges,
)
from torchattr.evaluate.shared_maps import (
    Maps,
    Methods,
    Noise,
    Question,
    asked,
    joined,
    undefined_for,
)
from torchattr.methods import checked_count, enlarge

CHECKED = (
    "saliency",
    "input_x_gradient",
    "deconvolution",
    "guided_backprop",
    "grad_cam",
    "guided_grad_cam",
    "lrp",
)
"""The methods that are checked by default."""

_AGAINST = {"random": BEATS_RANDOM, "edges": BEATS_EDGES, "centre": BEATS_CENTRE}
"""What deletion by a map is compared with."""

_COMPARED = {
    OTHER_CLASS: "the similarity",
    EDGES: "the similarity",
    NOISE: "the similarity under noise",
}
"""What is undefined where two maps cannot be compared."""

_CONTROLS = 3
"""Random maps per picture; one alone would add its own luck to the comparison."""


@checked_flags
def check(
    model: Any,
    inputs: Tensor,
    methods: Methods = CHECKED,
    target: Any = None,
    *,
    steps: int = 8,
    similarity: Similarity = "spearman",
    noise: float = 0.05,
    n_samples: int = 4,
    activation: Activation = "softmax",
    baselines: Any = 0,
    squares_across: int = 14,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    level: float = 0.95,
    seed: int = 0,
    show_progress: bool = False,
) -> Check:
    """Check whether the maps of methods can be believed, on a model and some pictures.

    Seven questions, each answered by a mean over the pictures and its bootstrap interval:

    * `other_class`: is the map another one for a random other class (:func:`random_logit`)?
    * `random_layers`: does it change as layers are randomised from the output (:func:`mprt`)?
    * `edges`: is it unlike the picture's edges (Sobel), which know nothing of the model?
    * `noise`: does it stay when noise is added to the picture?
    * `beats_random`, `beats_edges`, `beats_centre`: is the area under its deletion curve smaller
      than that of random maps, of the edges, and of a Gaussian in the centre?

    Deconvolution, guided backpropagation and guided Grad-CAM are gradients of the picture's
    colours, whose sign is no evidence: their magnitudes are measured, summed over channels.

    Maps are alike from a similarity of 0.5 on. A verdict is given only where the whole interval
    lies on one side of the bound, of five pictures and more. Methods that do not fit the model are
    left out, with the reason.

    It is *not* a proof that a map is right: these are ways to be wrong. A map may pass all of them
    and miss what decides; an edge map is the right one for a model that counts edges.

    Args:
        model: a module; it is only read.
        inputs: pictures, `(N, C, h, w)`; ten and more give intervals that can be trusted.
        methods: as for :func:`torchattr.explain`.
        target: what is explained; `None` is the predicted class of each picture.
        steps: number of steps in which the layers are randomised.
        similarity: how maps are compared, see :func:`map_similarity`.
        noise: standard deviation of the noise, as a share of the range of each picture.
        n_samples: number of noisy copies of each picture.
        activation: of the scores in deletion curves, see :func:`deletion_curve`.
        baselines: what deleted squares become, see :func:`deletion_curve`.
        squares_across: number of squares along the longer side that are deleted one by one.
        layer: for methods that use a layer; `None` uses the last spatial one.
        rules: as for :func:`torchattr.explain`.
        additional_forward_args: as for every method.
        output: as for every method.
        level: the share of such intervals that hold the true mean.
        seed: seed of everything random.
        show_progress: show progress bars on stderr.

    Raises:
        InputTypeError: a function instead of a module, or several inputs.
        ShapeError: inputs that are no pictures.
        InputError: no method fits, or an argument out of range.
        OutputError: an activation that does not fit the scores.

    Warns `FewSamplesWarning` below ten pictures, and `UndefinedMetricWarning` where maps cannot be
    compared.

    >>> import torch
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(784, 5)
    ... )
    >>> found = check(model, torch.rand(12, 3, 16, 16), ["saliency", "input_x_gradient"])
    >>> found.methods, found["saliency"]["edges"].verdict
    (('saliency', 'input_x_gradient'), 'pass')
    """
    drawn = Noise(checked_count(n_samples, "n_samples"), checked_noise(noise), seed)
    checked_count(squares_across, "squares_across", 2)
    test = RandomisationTest("top_down", True, similarity, None, steps, seed, show_progress)
    question = asked(
        model,
        inputs,
        methods,
        target,
        layer=layer,
        rules=rules,
        additional_forward_args=additional_forward_args,
        output=output,
        skip_refused=True,
        reading="evidence",
    )
    delete = partial(
        deletion_curve,
        activation=activation,
        baselines=baselines,
        steps=squares_across,
        show_progress=show_progress,
    )
    ways = _Ways(model, similarity, seed, drawn, delete, squares_across)

    def checked() -> Check:
        measures, randomised = _measured(question, test, ways)
        curves = {name: randomised.interval(name, level=level, seed=seed) for name in randomised}
        findings = _findings(measures, randomised, curves, level, seed)
        return Check(findings, measures, randomised, curves, len(question.inputs), question.refused)

    return said_once(checked)


@dataclass(frozen=True)
class _Ways:
    """How a model is checked.

    Attributes:
        model: the model.
        similarity: how maps are compared.
        seed: of everything random.
        noise: what is added to pictures.
        delete: measures a deletion curve.
        across: number of squares along the longer side.
    """

    model: Any
    similarity: Similarity
    seed: int
    noise: Noise
    delete: Callable[..., Curve]
    across: int


def _measured(
    question: Question, test: RandomisationTest, ways: _Ways
) -> tuple[dict[str, Maps], Randomisation]:
    """Return what each criterion measures, and the randomisation test.

    Pictures are measured as many at a time as fit into memory, which changes nothing else.
    """
    steps = test.steps_of(ways.model, question)
    both = _of_both_classes(question, ways.seed)
    found: list[dict[str, Maps]] = []
    first = 0
    with steps.bar(question) as bar:
        for (part, copied), aimed in zip(steps.parts(question), both.parts(), strict=True):
            subject = _Subject(ways, part, first)
            clean, other = subject.of_both_classes(aimed)
            alike = steps.similarities(part, copied, clean, Question.maps, bar)
            found.append({**subject.measures(clean, other), RANDOM_LAYERS.key: alike})
            first += len(part.inputs)
    values = {key: joined(one[key] for one in found) for key in found[0]}
    randomised = steps.result(values[RANDOM_LAYERS.key], question.refused)
    for criterion, what in _COMPARED.items():
        undefined_for(values[criterion.key], what)
    return values, randomised


def _of_both_classes(question: Question, seed: int) -> Question:
    """Return the question for the target and a random other class; without any, as it is."""
    try:
        own = classes_of(question)
        return question.aimed_at(own, other_classes(question, own, seed))
    except TargetError:
        return question


@dataclass(frozen=True, eq=False)
class _Subject:
    """Some of the pictures that a model is checked on.

    Attributes:
        ways: how the model is checked.
        question: what is asked of it.
        first: the number of the first picture among all.
    """

    ways: _Ways
    question: Question
    first: int

    def measures(self, clean: Maps, other: Maps) -> dict[str, Maps]:
        """Return what each criterion measures on the maps of the target and another class."""
        return {
            OTHER_CLASS.key: self.between(clean, other),
            EDGES.key: self.to_edges(clean),
            NOISE.key: self.under_noise(clean),
            **self.gains(clean),
        }

    def of_both_classes(self, aimed: Question) -> tuple[Maps, Maps]:
        """Return the maps of the target and of another class; without any, no others."""
        both = aimed.planes(self.ways.model)
        first, second = (
            {name: maps[:, k] for name, maps in both.items() if maps.shape[1] > k} for k in range(2)
        )
        return first, second

    def between(self, clean: Maps, others: Maps) -> Maps:
        """Return the similarity of each map to another one, by method."""
        return {
            name: ReferenceMaps(maps, self.ways.similarity).similarity_or_nan(others[name])
            for name, maps in clean.items()
            if name in others
        }

    def to_edges(self, clean: Maps) -> Maps:
        """Return the similarity of magnitudes to the edges of the picture."""
        edges = sobel_edges(self.question.inputs)
        seen = {name: reduced(edges, maps.shape[1:]) for name, maps in clean.items()}
        return self.between({name: maps.abs() for name, maps in clean.items()}, seen)

    def under_noise(self, clean: Maps) -> Maps:
        """Return the mean similarity to the maps of noisy copies."""
        kind = self.ways.similarity
        references = {name: ReferenceMaps(maps, kind) for name, maps in clean.items()}
        found: dict[str, list[Tensor]] = {name: [] for name in clean}
        for maps in self.question.noisy_maps(self.ways.model, self.ways.noise, quiet=True):
            for name, reference in references.items():
                found[name].append(reference.similarity_or_nan(maps.get(name)))
        return {name: torch.stack(values).nanmean(0) for name, values in found.items()}

    def gains(self, clean: Maps) -> dict[str, Maps]:
        """Return how much smaller the area of deletion is by each map than by what knows nothing.

        All orders are deletions of the same squares, from one recorded forward.
        """
        areas = self._areas(clean)
        own = {
            name: areas.pop(name).masked_fill(~is_comparable(maps), torch.nan)
            for name, maps in clean.items()
        }
        random = torch.stack([areas.pop(f"random {k}") for k in range(_CONTROLS)]).mean(0)
        against = {"random": random, **areas}
        return {
            criterion.key: {name: against[control] - one for name, one in own.items()}
            for control, criterion in _AGAINST.items()
        }

    def _areas(self, clean: Maps) -> Maps:
        question, pictures, ways = self.question, self.question.inputs, self.ways
        size = pictures.shape[2:]
        ranked = {name: enlarge(maps[:, None], size)[:, 0] for name, maps in clean.items()}
        ranked["edges"] = sobel_edges(pictures)
        ranked["centre"] = centre_gaussian(pictures)
        for k in range(_CONTROLS):
            ranked[f"random {k}"] = random_maps(pictures, ways.seed + k, self.first)
        each = [one.nan_to_num(0.0, 0.0, 0.0) for one in ranked.values()]
        # Maps and edges without an order are said to be undefined where they are compared.
        with unheard():
            curve = ways.delete(
                ways.model,
                pictures,
                torch.stack(each, 1)[:, :, None],
                bundle([question.target] * len(ranked)),
                feature_mask=blocks(pictures, -(-max(size) // ways.across)),
                additional_forward_args=question.arguments,
                output=question.output,
            )
        return dict(zip(ranked, curve.auc.double().unbind(1), strict=True))


def _findings(
    measures: Mapping[str, Mapping[str, Tensor]],
    randomised: Randomisation,
    curves: Mapping[str, Interval],
    level: float,
    seed: int,
) -> tuple[Finding, ...]:
    findings = []
    for name in randomised:
        nothing = torch.full((len(randomised[name]),), torch.nan)
        for criterion in CRITERIA:
            if criterion is RANDOM_LAYERS:
                findings.append(found_of_layers(name, curves[name], randomised.counts))
                continue
            values = measures[criterion.key].get(name, nothing)
            interval = bootstrap_interval(values, level=level, seed=seed)
            findings.append(found(name, criterion, interval))
    return tuple(findings)
