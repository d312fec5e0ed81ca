"""What a sanity check found of a method: an interval, a verdict and a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torchattr.evaluate.bootstrap import Interval

Verdict = Literal["pass", "fail", "unclear", "undefined"]

ALIKE = 0.5
"""The similarity from which on two maps count as alike."""

FEWEST = 5
"""The number of pictures from which on a verdict is given."""

MARKS: Mapping[Verdict, str] = {"pass": "✓", "fail": "✗", "unclear": "?", "undefined": "–"}


@dataclass(frozen=True)
class Criterion:
    """A question that a check asks of each method.

    Attributes:
        key: its name in dictionaries.
        title: its name in tables and figures.
        bound: what the measured value is compared with.
        higher: whether the value should lie above it.
        measured: what the value says, `{}` standing for it.
        passed: what a value on the right side of the bound means.
        failed: what one on the wrong side means.
    """

    key: str
    title: str
    bound: float
    higher: bool
    measured: str
    passed: str
    failed: str

    @property
    def is_similarity(self) -> bool:
        """Whether the value is a similarity of maps, and not a difference of areas."""
        return self.bound == ALIKE

    def verdict(self, interval: Interval) -> Verdict:
        """Return on which side of the bound an interval lies: on neither if it holds it.

        Of few pictures, it is `"unclear"`, too: their intervals are too narrow to be believed.
        """
        if bool(interval.value.isnan()):
            return "undefined"
        if int(interval.samples) < FEWEST:
            return "unclear"
        above, below = bool(interval.low > self.bound), bool(interval.high < self.bound)
        if not above and not below:
            return "unclear"
        return "pass" if above == self.higher else "fail"


OTHER_CLASS = Criterion(
    "other_class",
    "other class",
    ALIKE,
    False,
    "{} similar for another class",
    "it depends on the class",
    "it hardly depends on the class",
)
RANDOM_LAYERS = Criterion(
    "random_layers",
    "random layers",
    ALIKE,
    False,
    "{} similar once the upper half of the layers was randomised",
    "it depends on what the model has learnt",
    "it shows the picture more than the decision",
)
EDGES = Criterion(
    "edges",
    "edges",
    ALIKE,
    False,
    "{} similar to the picture's edges",
    "it is no edge detector",
    "an edge detector would show the same",
)
NOISE = Criterion(
    "noise",
    "noise",
    ALIKE,
    True,
    "{} similar when noise is added to the picture",
    "it is stable",
    "it is unstable",
)
BEATS_RANDOM = Criterion(
    "beats_random",
    "vs random",
    0.0,
    True,
    "gains {} of deletion area over random squares",
    "it finds what the score needs",
    "noise does better",
)
BEATS_EDGES = Criterion(
    "beats_edges",
    "vs edges",
    0.0,
    True,
    "gains {} of deletion area over the edges",
    "it knows more than where the edges are",
    "an edge map does better",
)
BEATS_CENTRE = Criterion(
    "beats_centre",
    "vs centre",
    0.0,
    True,
    "gains {} of deletion area over the centre",
    "it knows more than where the centre is",
    "the centre of the picture does better",
)

CRITERIA = (
    *(OTHER_CLASS, RANDOM_LAYERS, EDGES, NOISE),
    *(BEATS_RANDOM, BEATS_EDGES, BEATS_CENTRE),
)


@dataclass(frozen=True, eq=False)
class Finding:
    """The answer to one question for one method.

    Attributes:
        method: the method's name.
        criterion: the question.
        interval: the mean over the pictures of what was measured, with its bounds.
        verdict: `"pass"`, `"fail"`, `"unclear"` (the interval holds the bound, or there are few
            pictures) or `"undefined"`.
    """

    method: str
    criterion: Criterion
    interval: Interval
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """What was measured and what it means, as a sentence without its full stop."""
        if self.verdict == "undefined":
            return f"{self.method}: {self.criterion.title} cannot be measured"
        measured = self.criterion.measured.format(self.interval)
        return f"{self.method}: {measured}: {self._meaning()}"

    @property
    def cell(self) -> str:
        """The value and the mark of the verdict, for a table."""
        mark = MARKS[self.verdict]
        return mark if self.verdict == "undefined" else f"{self.interval.written[0]} {mark}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "method": self.method,
            "question": self.criterion.key,
            "verdict": self.verdict,
            "sentence": self.sentence,
            **self.interval.as_dict(),
        }

    def __repr__(self) -> str:
        return f"Finding({self.sentence})"

    def _meaning(self) -> str:
        if self.verdict != "unclear":
            return self.criterion.passed if self.verdict == "pass" else self.criterion.failed
        if bool(self.interval.low.isnan()):
            return "a single picture has no interval, so nothing follows"
        if int(self.interval.samples) < FEWEST:
            return f"{int(self.interval.samples)} pictures are too few to tell"
        return f"the interval holds {self.criterion.bound:g}, so more pictures are needed"


def found(method: str, criterion: Criterion, interval: Interval) -> Finding:
    """Return the finding that an interval gives."""
    return Finding(method, criterion, interval, criterion.verdict(interval))


def found_of_layers(method: str, curve: Interval, counts: tuple[int, ...]) -> Finding:
    """Return what a curve over randomised layers says, judged where half of them are random.

    A map that is still alike there is reported at the last step at which it is.

    Args:
        method: the method's name.
        curve: its intervals at each step.
        counts: the number of random layers at each.
    """
    half = next(k for k, count in enumerate(counts) if count * 2 >= counts[-1])
    judged = found(method, RANDOM_LAYERS, curve[half])
    if judged.verdict != "fail":
        return judged
    last = max(k for k in range(len(counts)) if k == half or bool(curve[k].low > ALIKE))
    which = "all" if last == len(counts) - 1 else f"the last {counts[last]} of"
    said = f"{{}} similar after {which} {counts[-1]} layers were randomised"
    return replace(judged, criterion=replace(RANDOM_LAYERS, measured=said), interval=curve[last])
