"""Scores are probabilities only where a softmax or sigmoid is known to be missing or present."""

import math

import pytest
import torch

from torchattr.models import read_scores

LOGITS = torch.tensor([[-5.0, 2.0, 0.5]])
ONE = torch.tensor([[-5.0]])
SOFTMAX = LOGITS.softmax(1)
SIGMOID = LOGITS.sigmoid()
LOGARITHMS = LOGITS.log_softmax(1)


@pytest.mark.parametrize(
    ("scores", "meaning", "ending", "named", "shown", "kind"),
    [
        # No meaning is declared: only known operations count.
        (LOGITS, "auto", None, False, LOGITS, "none"),
        (LOGITS, "auto", "addmm", False, LOGITS, "none"),
        (ONE, "auto", "addmm", True, ONE, "none"),
        (ONE, "auto", None, False, ONE, "none"),
        (LOGITS, "auto", "addmm", True, SOFTMAX, "softmax"),
        (SOFTMAX, "auto", "softmax", False, SOFTMAX, "softmax"),
        (SOFTMAX, "auto", None, True, SOFTMAX, "softmax"),
        (SIGMOID, "auto", "sigmoid", True, SIGMOID, "sigmoid"),
        (SIGMOID, "auto", None, True, SIGMOID, "none"),
        (ONE.sigmoid(), "auto", "sigmoid", False, ONE.sigmoid(), "sigmoid"),
        (LOGARITHMS, "auto", "log_softmax", False, SOFTMAX, "softmax"),
        (LOGARITHMS, "auto", None, False, SOFTMAX, "softmax"),
        # A declared activation is applied, but never twice.
        (LOGITS, "softmax", None, False, SOFTMAX, "softmax"),
        (LOGITS, "logits", None, False, SOFTMAX, "softmax"),
        (LOGITS, "sigmoid", None, False, SIGMOID, "sigmoid"),
        (SOFTMAX, "softmax", None, False, SOFTMAX, "softmax"),
        (SOFTMAX, "logits", "softmax", False, SOFTMAX, "softmax"),
        (LOGARITHMS, "softmax", None, False, SOFTMAX, "softmax"),
        (SIGMOID, "sigmoid", "sigmoid", False, SIGMOID, "sigmoid"),
        (SIGMOID, "softmax", "sigmoid", False, SIGMOID, "sigmoid"),
        (SOFTMAX, "sigmoid", "softmax", False, SOFTMAX, "softmax"),
        (ONE, "logits", None, False, ONE.sigmoid(), "sigmoid"),
        (ONE, "sigmoid", None, False, ONE.sigmoid(), "sigmoid"),
        (ONE, "softmax", None, False, ONE, "none"),
        # Raw values stay raw, whatever they look like.
        (SOFTMAX, "none", "softmax", True, SOFTMAX, "none"),
        (ONE, "none", None, False, ONE, "none"),
        (LOGITS, "none", "addmm", True, LOGITS, "none"),
    ],
)
def test_what_is_shown(scores, meaning, ending, named, shown, kind):
    reading = read_scores(scores, meaning, ending, named)
    assert reading.kind == kind
    torch.testing.assert_close(reading.shown(scores), shown)


def test_a_single_logit_is_not_certain():
    assert float(read_scores(ONE, "logits").shown(ONE)) == pytest.approx(1 / (1 + math.exp(5)))
    assert "activation='sigmoid'" in read_scores(ONE).note
    assert "softmax is always 1" in read_scores(ONE, "softmax").note


def test_what_is_not_known_is_said():
    assert "not known whether they are logits" in read_scores(LOGITS).note
    assert "taken as logits" in read_scores(LOGITS, named=True).note
    assert "ends in a sigmoid" in read_scores(SIGMOID, "softmax", "sigmoid").note
    assert not read_scores(LOGITS, "softmax").note
    assert not read_scores(SOFTMAX, "auto", "softmax").note


def test_a_softmax_over_the_wrong_dimension_is_no_probability():
    ones = LOGITS.softmax(0)
    assert read_scores(ones, "auto", "softmax").kind == "none"
