"""DeepLIFT's oracle: sums of differences at every step, Captum, and cases by hand."""

from __future__ import annotations

import warnings

import pytest
import torch
from helpers import assert_same, noise
from torch import Tensor, nn

from relevance_oracles import deep_lift as dl
from relevance_oracles.lifted_networks import NETWORKS, Lifted


def images(network: Lifted) -> tuple[Tensor, Tensor]:
    return noise(3, *network.shape), 0.5 * noise(3, *network.shape, seed=2)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("zero", [False, True])
def test_programs_are_the_networks_and_sum_to_the_difference(name: str, zero: bool) -> None:
    network = NETWORKS[name]()
    x, reference = images(network)
    reference = 0 * reference if zero else reference
    for one, other in zip(x, reference, strict=True):
        pair = network.program(dl.start(one, other))
        scores = network.model(torch.stack([one, other])).detach()
        assert_same(torch.stack([pair.value, pair.reference]), scores, 1e-13)
        found = pair.multipliers @ (one - other).flatten()
        assert_same(found, scores[0] - scores[1], 1e-12)
        contributions = dl.deep_lift(network.program, one, other, 1)
        assert contributions.sum().item() == pytest.approx(found[1].item(), rel=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_captum_agrees_just_where_it_is_said_to_be_right(name: str) -> None:
    network = NETWORKS[name]()
    x, reference = images(network)
    oracle = torch.stack(
        [dl.deep_lift(network.program, *pair, 1) for pair in zip(x, reference, strict=True)]
    )
    found = dl.captum_maps(network.model, x, reference, 1)
    agrees = bool(((found - oracle).abs().max() / oracle.abs().max()) < 1e-10)
    assert agrees == network.captum


@pytest.mark.parametrize("name", NETWORKS)
def test_multipliers_are_the_gradient_where_nothing_differs(name: str) -> None:
    """A difference of zero leaves 0 / 0 everywhere: quotients become slopes."""
    network = NETWORKS[name]()
    x = images(network)[0][:1].requires_grad_()
    (gradient,) = torch.autograd.grad(network.model(x)[0, 1], x)
    pair = network.program(dl.start(x[0].detach(), x[0].detach()))
    assert_same(pair.multipliers[1].reshape(network.shape), gradient[0], 1e-12)


# By hand.


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_rescale_by_hand() -> None:
    """From -1 to 3, a ReLU rises by 3 / 4; where both agree, its slope is taken."""
    pair = dl.elementwise(dl.start(numbers(3, 2, -2), numbers(-1, 2, -2)), torch.relu)
    assert pair.multipliers.diagonal().tolist() == [0.75, 1.0, 0.0]


def test_slope_is_taken_where_the_quotient_is_all_rounding() -> None:
    x = numbers(3.0)
    pair = dl.elementwise(dl.start(x, x * (1 + 1e-15)), torch.square)
    assert pair.multipliers.item() == pytest.approx(6.0, rel=1e-12)


def test_product_by_hand() -> None:
    """Of 2 * 5 and 4 * 1, the means are 3 and 3."""
    pair = dl.start(numbers(2, 5), numbers(4, 1))
    a, b = dl.indexed(pair, torch.tensor([0])), dl.indexed(pair, torch.tensor([1]))
    assert dl.multiplied(a, b).multipliers.tolist() == [[3.0, 3.0]]


def test_softmax_by_hand() -> None:
    """From logits (0, 0) to (log 3, 0), less log 3: exponentials from (1/3, 1/3) to (1, 1/3).

    The first exponential rises by `a = (2/3) / log 3`; the reciprocal of the sum falls from 3/2 to
    3/4 as the sum rises by 2/3, so `-9/8`. Mean exponentials are 2/3 and 1/3, the mean reciprocal
    9/8: the first entry of softmax gets `9/8 a - 2/3 * 9/8 a`, the second `-1/3 * 9/8 a`.
    """
    log3 = torch.log(numbers(3.0)).item()
    pair = dl.softmax(dl.start(numbers(log3, 0), numbers(0, 0)))
    a = 2 / 3 / log3
    expected = numbers(9 / 8 * a - 2 / 3 * 9 / 8 * a, -1 / 3 * 9 / 8 * a)
    assert_same(pair.multipliers[:, 0].contiguous(), expected, 1e-13)
    assert_same(pair.value, numbers(0.75, 0.25), 1e-15)


POOL = numbers(1, 5, 2, 0).reshape(1, 2, 2)
REFERENCE = numbers(4, 2, 2, 0).reshape(1, 2, 2)


@pytest.mark.parametrize(("x", "reference"), [(POOL, REFERENCE), (REFERENCE, POOL)])
def test_max_pool_by_hand(x: Tensor, reference: Tensor) -> None:
    """The maxima are 5 and 4; at the place of the 5, the difference of 3 gets this one."""
    pair = dl.max_pool(dl.start(x, reference), 2, 2)
    assert_same(pair.multipliers, numbers(0, 1 / 3, 0, 0)[None], 1e-15)


def test_winner_that_does_not_differ_has_the_slope_of_the_maximum() -> None:
    pair = dl.max_pool(dl.start(POOL, POOL), 2, 2)
    assert pair.multipliers.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_batch_norm_is_affine() -> None:
    norm = nn.BatchNorm1d(2, eps=0.0).double().eval()
    norm.running_var.copy_(numbers(4, 0.25))
    norm.weight.data.copy_(numbers(-1, 3))
    pair = dl.linear(dl.start(numbers(1, 2), numbers(0, 0)), norm)
    assert pair.multipliers.tolist() == [[-0.5, 0.0], [0.0, 6.0]]


def test_captum_maps_warn_of_nothing() -> None:
    network = NETWORKS["rectified"]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dl.captum_maps(network.model, *images(network), 0)
