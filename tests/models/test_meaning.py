"""Scores are probabilities only where a softmax or sigmoid is known to be missing or present."""

import math

import pytest
import torch
from torch import nn

from torchattr.models import read_scores
from torchattr.models.score_kind import Ending

LOGITS = torch.tensor([[-5.0, 2.0, 0.5]])
ONE = torch.tensor([[-5.0]])
SOFTMAX = LOGITS.softmax(1)
SIGMOID = LOGITS.sigmoid()
LOGARITHMS = LOGITS.log_softmax(1)


@pytest.mark.parametrize(
    ("scores", "meaning", "ending", "named", "shown", "kind"),
    [
        # Nothing is said: only what is known counts.
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
        # What is said is done, but never twice.
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
        # Values stay values, whatever they look like.
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
    assert "--scores sigmoid" in read_scores(ONE).note
    assert "softmax is always 1" in read_scores(ONE, "softmax").note


def test_what_is_not_known_is_said():
    assert "nothing says" in read_scores(LOGITS).note
    assert "taken as logits" in read_scores(LOGITS, named=True).note
    assert "ends in a sigmoid" in read_scores(SIGMOID, "softmax", "sigmoid").note
    assert not read_scores(LOGITS, "softmax").note
    assert not read_scores(SOFTMAX, "auto", "softmax").note


def test_a_softmax_over_the_wrong_dimension_is_no_probability():
    ones = LOGITS.softmax(0)
    assert read_scores(ones, "auto", "softmax").kind == "none"


def ending_of(model, x=None):
    x = torch.rand(1, 3, 8, 8) if x is None else x
    with torch.no_grad(), Ending() as ending:
        output = model(x)
    return ending.of(output)


def net(*last):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), *last)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ((), "addmm"),
        ((nn.Softmax(1),), "softmax"),
        ((nn.LogSoftmax(1),), "log_softmax"),
        ((nn.Sigmoid(),), "sigmoid"),
        ((nn.Softmax(1), nn.Unflatten(1, (5, 1, 1)), nn.Flatten()), "softmax"),
        ((nn.Sigmoid(), nn.ReLU()), "relu"),
    ],
)
def test_the_operation_at_the_end_is_seen_in_every_form(last, expected):
    model = net(*last).eval()
    assert ending_of(model) == expected
    assert ending_of(torch.export.export(model, (torch.rand(1, 3, 8, 8),)).module()) == expected
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert ending_of(model) == expected
    with torch.inference_mode():
        found = ending_of(model, torch.rand(1, 3, 8, 8))
    assert found == ("linear" if expected == "addmm" else expected)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x.sigmoid_(), "sigmoid"),
        (lambda x: x.softmax(1).half().float(), "softmax"),
        (lambda x: x.softmax(1).clone()[:, :2], "softmax"),
        (lambda x: x.softmax(1) * 2, "mul"),
        (lambda x: x.softmax(1).mul_(2), "mul"),
        (lambda x: torch.special.expit(x), "sigmoid"),
        (lambda x: x.view(2, 2), None),
    ],
)
def test_views_and_copies_are_what_they_are_of(function, expected):
    assert ending_of(function, torch.rand(1, 4)) == expected
