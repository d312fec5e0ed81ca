"""The operation that produced an output, in eager and exported models."""

import pytest
import torch
from torch import nn

from torchattr.models.output_operation import OutputOperation


def operation_of(model, x=None):
    x = torch.rand(1, 3, 8, 8) if x is None else x
    with torch.no_grad(), OutputOperation() as operation:
        output = model(x)
    return operation.of(output)


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
def test_the_last_operation_is_found_in_every_form_of_a_model(last, expected):
    model = net(*last).eval()
    assert operation_of(model) == expected
    assert operation_of(torch.export.export(model, (torch.rand(1, 3, 8, 8),)).module()) == expected
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert operation_of(model) == expected
    with torch.inference_mode():
        found = operation_of(model, torch.rand(1, 3, 8, 8))
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
def test_views_and_copies_count_as_their_source(function, expected):
    assert operation_of(function, torch.rand(1, 4)) == expected
