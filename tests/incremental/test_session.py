"""Perturbed copies of images: incremental results equal whole forwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from variants import compared, patches

from torchattr.kernels import Request, backends

seeds = st.integers(0, 2**16)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@settings(deadline=None, max_examples=150)
@given(networks(), seeds)
def test_networks_give_what_they_give_for_whole_pictures(
    drawn: tuple[nn.Module, Tensor], seed: int
) -> None:
    model, x = drawn
    masks = patches(np.random.default_rng(seed), 6, x)
    compared(model, x, masks).agree()


@settings(deadline=None, max_examples=60)
@given(networks(), seeds, st.integers(0, 12))
def test_the_rest_may_be_computed_as_a_whole_from_any_call_on(
    drawn: tuple[nn.Module, Tensor], seed: int, cut: int
) -> None:
    model, x = drawn
    masks = patches(np.random.default_rng(seed), 3, x)
    compared(model, x, masks, cut=cut).agree()


@settings(deadline=None, max_examples=40)
@given(networks(), networks(), seeds)
def test_several_inputs(
    first: tuple[nn.Module, Tensor], second: tuple[nn.Module, Tensor], seed: int
) -> None:
    (one, x), (other, y) = first, second
    y = y[:1].repeat(len(x), 1, 1, 1)

    def model(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([one(x).flatten(1), other(y).flatten(1)], dim=1)

    random = np.random.default_rng(seed)
    masks = patches(random, 4, x), patches(random, 4, y, alike=True)
    compared(model, (x, y), masks).agree()


@pytest.mark.parametrize("name", ["torch", "cpu"])
@settings(deadline=None, max_examples=50)
@given(drawn=networks(), seed=seeds)
def test_single_precision(name: str, drawn: tuple[nn.Module, Tensor], seed: int) -> None:
    reasons = backends()[name].refusals(Request(torch.device("cpu"), torch.float32))
    if reasons:
        pytest.skip(f"{name}: {'; '.join(reasons)}")
    model, x = drawn
    masks = patches(np.random.default_rng(seed), 4, x)
    compared(model.float(), x.float(), masks, backend=name).agree()
