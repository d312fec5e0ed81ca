"""Decide whether a model's scores are logits, probabilities or other values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.outputs import activate
from torchattr.core.types import Activation
from torchattr.errors import NOTHING, Hint, Message, WayOut

Meaning: TypeAlias = Literal["auto", "logits", "softmax", "sigmoid", "none"]

_SOFTMAX, _LOGARITHMS = ("softmax",), ("log_softmax",)
_SIGMOID = ("sigmoid", "hardsigmoid")
_SIGMOID_MEANING = ("activation", "sigmoid")
_LINEAR = ("addmm", "mm", "bmm", "baddbmm", "addmv", "mv", "linear", "convolution")


@dataclass(frozen=True)
class ScoreReading:
    """How scores are shown.

    applied: the activation that is applied to the scores.
    kind: what is shown: probabilities of exclusive classes (`"softmax"`), of independent ones
        (`"sigmoid"`), or values that are not probabilities (`"none"`).
    note: a remark on what the numbers mean; may be empty.
    """

    applied: Activation = "none"
    kind: Activation = "none"
    note: Message = NOTHING

    @property
    def bounded(self) -> bool:
        """Whether probabilities are shown, in 0..1."""
        return self.kind != "none"

    def shown(self, scores: Tensor) -> Tensor:
        """Return scores `(N, K)` as they are shown."""
        return activate(scores, self.applied)


@checked_flags
def read_scores(
    scores: Tensor, meaning: Meaning = "auto", ending: str | None = None, named: bool = False
) -> ScoreReading:
    """Return how scores are shown: as probabilities only if their meaning is known.

    A softmax or sigmoid is not applied to scores that already are one. It is *not* a guess at what
    values mean: if nothing tells, they are shown as they are, with a note.

    scores: `(N, K)`.
    meaning: their declared meaning: `"softmax"` (logits of exclusive classes), `"sigmoid"` (logits
        of independent classes), `"logits"` (softmax of several scores, sigmoid of a single one),
        `"none"` (values as they are), or `"auto"`, if none is declared.
    ending: the operation that produced them, if known.
    named: whether each score has a class name.

    >>> read_scores(torch.tensor([[-5.0]]), "logits").shown(torch.tensor([[-5.0]]))
    tensor([[0.0067]])
    >>> read_scores(torch.tensor([[0.25, 0.75]]), "softmax").applied
    'none'
    """
    if meaning == "none":
        return ScoreReading()
    known = _probabilities(scores, meaning, ending)
    if known is not None:
        return known
    if meaning == "auto":
        return _undeclared(scores, ending, named)
    if scores.shape[1] > 1:
        of_one: Activation = "sigmoid" if meaning == "sigmoid" else "softmax"
        return ScoreReading(of_one, of_one)
    return (
        ScoreReading(note=_SINGLE) if meaning == "softmax" else ScoreReading("sigmoid", "sigmoid")
    )


_SINGLE = Message(
    "the model returns a single score, whose softmax is always 1, so it is shown as it is",
    Hint(
        ways_out=[
            WayOut("if it is a logit, {setting} turns it into a probability", *_SIGMOID_MEANING)
        ]
    ),
)
_NAMED = Message(
    "scores are taken as logits of mutually exclusive classes (softmax)",
    Hint(
        ways_out=[
            WayOut("if the classes are independent, pass {setting}", *_SIGMOID_MEANING),
            WayOut("if they are not logits, pass {setting}", "activation", "none"),
        ]
    ),
)


def _unknown(meaning: Meaning, otherwise: str = "") -> Message:
    return Message(
        "scores are shown as they are, since it is not known whether they are logits",
        Hint(
            ways_out=[
                WayOut(
                    f"if they are, {{setting}}{otherwise} turns them into probabilities",
                    "activation",
                    meaning,
                )
            ]
        ),
    )


def _probabilities(scores: Tensor, meaning: Meaning, ending: str | None) -> ScoreReading | None:
    """Return how scores that already are a softmax, its logarithm or a sigmoid are shown."""
    if ending in _SIGMOID and _within_unit(scores):
        return ScoreReading("none", "sigmoid", _differs(meaning, "sigmoid"))
    if ending in _SOFTMAX and _sums_to_one(scores, 0.02):
        return ScoreReading("none", "softmax", _differs(meaning, "softmax"))
    if meaning != "sigmoid" and _sums_to_one(scores):
        return ScoreReading("none", "softmax")
    # The softmax of logarithms of probabilities is these probabilities.
    if ending in _LOGARITHMS and _sums_to_one(scores.exp(), 0.02):
        return ScoreReading("softmax", "softmax", _differs(meaning, "softmax"))
    if meaning == "auto" and _sums_to_one(scores.exp()):
        return ScoreReading("softmax", "softmax")
    return None


def _undeclared(scores: Tensor, ending: str | None, named: bool) -> ScoreReading:
    if scores.shape[1] < 2:
        return ScoreReading(note=_unknown("sigmoid"))
    if named and (ending in _LINEAR or not _within_unit(scores)):
        return ScoreReading("softmax", "softmax", _NAMED)
    return ScoreReading(note=_unknown("softmax", " (or sigmoid)"))


def _differs(meaning: Meaning, kind: Activation) -> Message:
    if meaning in ("auto", kind):
        return NOTHING
    return Message(f"the model ends in a {kind} itself, so no other one is applied to its scores")


def _within_unit(scores: Tensor) -> bool:
    return bool(((scores >= 0) & (scores <= 1)).all())


def _sums_to_one(scores: Tensor, tolerance: float | None = None) -> bool:
    if scores.shape[1] < 2 or not len(scores):
        return False
    exact = scores.dtype in (torch.float32, torch.float64)
    off = (scores.double().sum(1) - 1).abs()
    return _within_unit(scores) and bool((off < (tolerance or (1e-3 if exact else 1e-2))).all())
