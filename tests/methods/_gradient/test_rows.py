"""Rows of scores, and the examples that they belong to."""

from typing import Any

import pytest
import torch
from networks import Net, conv, head, pictures, pooled
from torch import Tensor

import torchattr as ta


def gradients(net: Any, x: Tensor, scores: Any) -> Tensor:
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(scores(net(leaf)), leaf)
    return found.abs()


SQUEEZED = {
    "squeeze": lambda net, x: pooled(net, net.first(x)).squeeze(),
    "squeeze(0)": lambda net, x: pooled(net, net.first(x)).squeeze(0),
    "conditional": lambda net, x: (lambda y: y[0] if len(x) == 1 else y)(pooled(net, net.first(x))),
}


@pytest.mark.parametrize("name", SQUEEZED)
def test_single_examples_that_are_squeezed(name: str) -> None:
    net = Net(SQUEEZED[name], first=conv(), head=head())
    x = pictures(1, 3, 8, 8)
    wanted = gradients(net, x, lambda scores: scores[1])
    torch.testing.assert_close(ta.Saliency(net).attribute(x, target=1), wanted)
    both = pictures(2, 3, 8, 8)
    alone = ta.Saliency(net).attribute(both[:1], target=1)
    torch.testing.assert_close(ta.Saliency(net).attribute(both, target=1)[:1], alone)


@pytest.mark.parametrize("examples", [1, 2])
def test_rows_of_frames_are_refused(examples: int) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return pooled(net, net.first(x.flatten(0, 1)))

    net = Net(run, first=conv(), head=head())
    x = pictures(examples, 4, 3, 8, 8)
    with pytest.raises(ta.TargetError, match="rows of scores"):
        ta.Saliency(net).attribute(x, target=1)
    summed = ta.Saliency(net, output=lambda y: y.view(examples, 4, 3).sum(1))
    found = summed.attribute(x, target=1)
    torch.testing.assert_close(found, gradients(net, x, lambda y: y[:, 1].sum()))
