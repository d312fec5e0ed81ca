"""The contract of every backend, against loops over single elements, bits and windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from bench import Bench
from helpers import noise
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import (
    channels_last,
    naive_mask,
    naive_max_pool,
    naive_relu_backward,
    naive_unpool,
    same,
)
from torch import Tensor

from torchattr.kernels import TorchBackend, Window, order_of
from torchattr.kernels.layout import in_order, mask_bytes, pooled_with_indices

GATES = ("gradient", "guided", "deconvolution")
SIZES = [(), (0,), (1,), (7,), (8,), (9,), (63,), (1025,), (2, 0, 3), (2, 3, 5, 7), (1, 3, 2, 3, 5)]
examples = settings(deadline=None, max_examples=25)
shapes = st.lists(st.integers(0, 5), min_size=1, max_size=5)
orders = st.randoms(use_true_random=False)


@pytest.fixture(autouse=True)
def nan_in_fresh_memory() -> Iterator[None]:
    """Memory that is read before it is written shows as NaN."""
    with deterministic():
        yield


@contextmanager
def deterministic(mode: bool = True) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def sample(bench: Bench, shape, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return values with many zeros and some ties."""
    values = noise(*shape, seed=seed) if shape else noise(1, seed=seed)[0]
    return values.mul(2).round().to(dtype).to(bench.device)


def shuffled(tensor: Tensor, random) -> Tensor:
    """Return the same values in another memory order."""
    order = list(range(tensor.dim()))
    random.shuffle(order)
    inverse = sorted(order, key=order.__getitem__)
    return tensor.permute(order).contiguous().permute(inverse)


# Masks and rectifiers


@examples
@given(shape=shapes, random=orders, upper=st.sampled_from([None, 2.0]), data=st.data())
def test_a_mask_holds_each_bit_where_the_layout_says(bench, shape, random, upper, data) -> None:
    own_gates = [] if upper else [torch.bool]
    dtype = data.draw(st.sampled_from([*bench.dtypes, *own_gates]))
    output = shuffled(sample(bench, shape, len(shape), dtype), random)
    mask = bench.backend.pack_mask(output, order_of(output), upper)
    assert (mask.dtype, len(mask)) == (torch.uint8, mask_bytes(output.numel()))
    assert mask.tolist() == naive_mask(output, upper)


@examples
@given(
    shape=st.one_of(shapes, st.sampled_from(SIZES)),
    random=orders,
    upper=st.sampled_from([None, 2.0]),
    overwrite=st.booleans(),
    data=st.data(),
)
def test_relu_and_its_mask(bench, shape, random, upper, overwrite, data) -> None:
    dtype = data.draw(st.sampled_from(bench.dtypes))
    x = shuffled(sample(bench, shape, 1, dtype), random)
    before = x.clone()
    y, mask = bench.backend.relu(x, upper, overwrite)
    expected = before.clamp(0, upper)
    assert same(y, expected)
    assert mask.tolist() == naive_mask(y, upper)
    if overwrite:
        assert y.data_ptr() == x.data_ptr()
    else:
        assert same(x, before)


def test_relu_takes_memory_with_gaps(bench: Bench) -> None:
    x = sample(bench, (3, 4, 10), 2)[:, ::2, 1:8]
    before = x.clone()
    y, mask = bench.backend.relu(x)
    assert same(y, before.relu())
    assert mask.tolist() == naive_mask(y)
    whole = sample(bench, (3, 4, 10), 2)
    inside = whole[:, ::2, 1:8]
    over, mask = bench.backend.relu(inside, None, True)
    assert same(over, before.relu())
    assert same(inside, before.relu()), "overwriting must reach every tensor that shares the memory"
    assert mask.tolist() == naive_mask(over)


def test_relu_of_numbers_that_are_none(bench: Bench) -> None:
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, 1e-40, -1e-40], device=bench.device)
    y, mask = bench.backend.relu(x)
    assert same(y, x.relu())
    assert mask.tolist() == naive_mask(y)


@examples
@given(
    shape=st.one_of(shapes, st.sampled_from(SIZES)),
    random=orders,
    gate=st.sampled_from(GATES),
    overwrite=st.booleans(),
    data=st.data(),
)
def test_gates_element_by_element(bench, shape, random, gate, overwrite, data) -> None:
    dtype = data.draw(st.sampled_from(bench.dtypes))
    output = shuffled(sample(bench, shape, 1, dtype), random)
    grad = sample(bench, shape, 2, dtype)
    grad = data.draw(st.sampled_from([grad, shuffled(grad, random)]))
    mask = bench.backend.pack_mask(output, order_of(output), None)
    before, mask_before = grad.clone(), mask.clone()
    given_mask = None if gate == "deconvolution" else mask
    result = bench.backend.relu_backward(grad, given_mask, order_of(output), gate, overwrite)
    assert same(result, naive_relu_backward(before, output > 0, gate))
    assert torch.equal(mask, mask_before)
    assert overwrite or same(grad, before)


@pytest.mark.parametrize("gate", GATES)
def test_a_closed_gate_stops_infinity_and_an_open_one_passes_nan(bench: Bench, gate) -> None:
    output = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0], device=bench.device)
    grad = torch.tensor([torch.inf, torch.inf, torch.nan, torch.nan, -torch.inf])
    grad = grad.to(bench.device)
    mask = bench.backend.pack_mask(output, (0,), None)
    result = bench.backend.relu_backward(grad, mask, (0,), gate)
    assert same(result, naive_relu_backward(grad, output > 0, gate))


def test_a_gradient_with_gaps_or_overlaps(bench: Bench) -> None:
    output = sample(bench, (3, 4, 6), 3)
    mask = bench.backend.pack_mask(output, order_of(output), None)
    order = order_of(output)
    for grad in (
        sample(bench, (3, 4, 12), 4)[..., ::2],
        sample(bench, (3, 1, 1), 5).expand(3, 4, 6),
        sample(bench, (1,), 6).expand(3, 4, 6),
    ):
        for gate in GATES:
            result = bench.backend.relu_backward(grad, mask, order, gate)
            assert same(result, naive_relu_backward(grad, output > 0, gate))


# Pools


@st.composite
def pools(draw) -> tuple[list[int], Window]:
    dims = draw(st.integers(1, 3))
    extent, stride, padding, dilation, size = [], [], [], [], []
    for _ in range(dims):
        extent.append(draw(st.integers(1, 3)))
        stride.append(draw(st.integers(1, 3)))
        padding.append(draw(st.integers(0, extent[-1] // 2)))
        dilation.append(draw(st.integers(1, 2)))
        span = dilation[-1] * (extent[-1] - 1) + 1
        size.append(draw(st.integers(max(1, span - 2 * padding[-1]), span + 4)))
    window = Window(
        *(tuple(values) for values in (extent, stride, padding, dilation)), draw(st.booleans())
    )
    return [draw(st.integers(0, 2)), 2, *size], window


@examples
@given(case=pools(), data=st.data())
def test_pools_and_back(bench, case, data) -> None:
    shape, window = case
    x = sample(bench, shape, 7, data.draw(st.sampled_from(bench.dtypes)))
    x = channels_last(x) if data.draw(st.booleans()) else x
    with_nan = data.draw(st.booleans())
    x = x.masked_fill(x == 2, torch.nan) if with_nan else x
    expected, indices = pooled_with_indices(x, window)
    # A dilated window may step over the whole input. PyTorch's maximum of nothing is -inf.
    assume(not bool((expected == -torch.inf).any()))
    values, switches = bench.backend.max_pool(x, window)
    naive_values, naive_switches = naive_max_pool(x, window, expected.shape[2:])
    assert same(values, expected)
    assert same(naive_values, expected)
    assert same(switches, naive_switches)
    assert same(bench.backend.pack_switches(indices, expected, x.shape, window), naive_switches)

    grad = sample(bench, expected.shape, 8, x.dtype)
    back = bench.backend.unpool(grad, switches, x.shape, window)
    assert same(back, naive_unpool(grad, switches, x.shape, window))
    leaf = x.clone().requires_grad_()
    # Whole numbers add up to the same in any order, and PyTorch's own way back has none on a GPU.
    with deterministic(False):
        (autograd,) = torch.autograd.grad(pooled_with_indices(leaf, window)[0], leaf, grad)
    assert same(back, autograd)


@examples
@given(case=pools(), gate=st.sampled_from(GATES), data=st.data())
def test_a_rectifier_before_a_pool_needs_no_mask(bench, case, gate, data) -> None:
    shape, window = case
    dtype = data.draw(st.sampled_from(bench.dtypes))
    rectified = sample(bench, shape, 9, dtype).relu()
    rectified = channels_last(rectified) if data.draw(st.booleans()) else rectified
    assume(bool(torch.isfinite(pooled_with_indices(rectified, window)[0]).all()))
    values, switches = bench.backend.max_pool(rectified, window)
    grad = sample(bench, values.shape, 10, dtype)
    fused = bench.backend.unpool_gated(grad, switches, shape, window, gate)
    plain = naive_unpool(grad, switches, shape, window)
    assert same(fused, naive_relu_backward(plain, rectified > 0, gate))


def test_pools_without_a_batch(bench: Bench) -> None:
    x = sample(bench, (3, 8, 9), 11)
    window = Window((3, 2), (2, 2), (1, 0), (1, 1))
    values, switches = bench.backend.max_pool(x, window)
    assert same(values, F.max_pool2d(x, *((3, 2), (2, 2), (1, 0))))
    back = bench.backend.unpool(values, switches, x.shape, window)
    assert same(back, naive_unpool(values, switches, x.shape, window))


def test_pools_of_memory_with_gaps(bench: Bench) -> None:
    x = sample(bench, (2, 6, 12, 11), 12)[:, ::2, 1:9, ::2]
    window = Window((2, 2), (1, 2), (0, 1), (1, 1))
    values, switches = bench.backend.max_pool(x, window)
    expected, expected_switches = naive_max_pool(x, window, values.shape[2:])
    assert same(values, expected)
    assert same(switches, expected_switches)
    grad = sample(bench, values.shape, 13).expand(values.shape)
    back = bench.backend.unpool(grad, switches, x.shape, window)
    assert same(back, naive_unpool(grad, switches, x.shape, window))


@pytest.mark.parametrize("places", [128, 129, 256])
def test_wide_windows(bench: Bench, places: int) -> None:
    x = torch.arange(-100.0, 500).view(1, 1, 600).to(bench.device)
    window = Window((places,), (100,), (0,), (1,))
    values, switches = bench.backend.max_pool(x, window)
    assert same(switches, naive_max_pool(x, window, values.shape[2:])[1])
    assert switches.dtype == torch.uint8
    back = bench.backend.unpool(values, switches, x.shape, window)
    assert same(back, naive_unpool(values, switches, x.shape, window))


def test_a_plane_of_minus_infinity_has_its_first_place_as_winner(bench: Bench) -> None:
    x = torch.full((1, 2, 5, 5), -torch.inf, device=bench.device)
    window = Window((3, 3), (2, 2), (1, 1), (1, 1))
    values, switches = bench.backend.max_pool(x, window)
    expected, indices = pooled_with_indices(x, window)
    assert same(values, expected)
    assert same(switches, TorchBackend().pack_switches(indices, expected, x.shape, window))


# Batch-norm and rectifier


@examples
@given(
    shape=st.tuples(*(st.integers(0, 3), st.integers(1, 5)), *[st.integers(0, 4)] * 2),
    upper=st.sampled_from([None, 1.5]),
    overwrite=st.booleans(),
    last=st.booleans(),
    data=st.data(),
)
def test_batch_norm_and_relu_in_one(bench, shape, upper, overwrite, last, data) -> None:
    dtype = data.draw(st.sampled_from(bench.dtypes))
    x = noise(*shape, seed=14).to(dtype).to(bench.device)
    x = channels_last(x) if last else x
    scale, shift = (noise(shape[1], seed=seed).to(bench.device) for seed in (15, 16))
    normed = x.double() * scale.double().view(-1, 1, 1) + shift.double().view(-1, 1, 1)
    y, mask = bench.backend.batch_norm_relu(x.clone(), scale, shift, upper, overwrite)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), normed.clamp(0, upper), **rounding(dtype))
    assert mask.tolist() == naive_mask(y, upper)


@examples
@given(
    shape=st.tuples(*(st.integers(0, 3), st.integers(1, 5)), *[st.integers(0, 4)] * 2),
    gate=st.sampled_from(GATES),
    overwrite=st.booleans(),
    last=st.tuples(st.booleans(), st.booleans()),
    data=st.data(),
)
def test_back_through_relu_and_batch_norm(bench, shape, gate, overwrite, last, data) -> None:
    dtype = data.draw(st.sampled_from(bench.dtypes))
    output, grad = (noise(*shape, seed=seed).to(dtype).to(bench.device) for seed in (17, 18))
    output, grad = (
        channels_last(tensor) if moved else tensor
        for tensor, moved in zip((output, grad), last, strict=True)
    )
    scale = noise(shape[1], seed=19).to(bench.device)
    mask = bench.backend.pack_mask(output, order_of(output), None)
    gated = naive_relu_backward(grad, output > 0, gate)
    result = bench.backend.batch_norm_relu_backward(
        grad.clone(), mask, scale, order_of(output), gate, overwrite
    )
    assert result.dtype == dtype
    expected = gated.double() * scale.cpu().double().view(-1, 1, 1)
    torch.testing.assert_close(result.cpu().double(), expected, **rounding(dtype))


def test_batch_norm_after_linear(bench: Bench) -> None:
    x = noise(5, 7, seed=20).float().to(bench.device)
    scale, shift = (noise(7, seed=seed).float().to(bench.device) for seed in (21, 22))
    y, mask = bench.backend.batch_norm_relu(x, scale, shift)
    torch.testing.assert_close(y, (x * scale + shift).relu())
    back = bench.backend.batch_norm_relu_backward(x, mask, scale, (0, 1), "guided")
    torch.testing.assert_close(back, x.relu() * (y > 0) * scale)


def rounding(dtype: torch.dtype) -> dict[str, float]:
    """Two roundings, of the product and of the sum, relative to values of up to about 10."""
    unit = torch.finfo(dtype).eps
    return {"rtol": 2 * unit, "atol": 20 * unit}


def test_the_order_of_memory_does_not_matter_for_what_comes_back(bench: Bench) -> None:
    output = channels_last(sample(bench, (2, 3, 4, 5), 23))
    mask = bench.backend.pack_mask(output, order_of(output), None)
    assert mask.tolist() == naive_mask(in_order(output, order_of(output)))
