"""The reference backend against loops over single elements, bits and windows."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from helpers import noise
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchattr.kernels import TorchBackend, Window, order_of
from torchattr.kernels.layout import in_order, mask_bytes
from torchattr.kernels.reference import _numpy_serves, _pack_numpy, _pack_torch

BACKEND = TorchBackend()
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]

shapes = st.lists(st.integers(0, 5), min_size=1, max_size=5)
permutations = st.randoms(use_true_random=False)


def sample(shape: list[int], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Give values of which many are zero, and some tied."""
    return noise(*shape, seed=seed, dtype=dtype).mul(2).round()


def shuffled(tensor: Tensor, random: object) -> Tensor:
    """Give the same values with another memory order."""
    order = list(range(tensor.dim()))
    random.shuffle(order)  # type: ignore[attr-defined]
    inverse = sorted(order, key=order.__getitem__)
    return tensor.permute(order).contiguous().permute(inverse)


def naive_mask(output: Tensor, upper: float) -> list[int]:
    """Set bit `i % 8` of byte `i // 8` for the `i`-th element in memory order."""
    values = in_order(output, order_of(output)).tolist()
    mask = [0] * math.ceil(len(values) / 8)
    for number, value in enumerate(values):
        if 0 < value < upper:
            mask[number // 8] |= 1 << (number % 8)
    return mask


@settings(deadline=None, max_examples=60)
@given(shapes, st.sampled_from(DTYPES), st.sampled_from([None, 2.0]), permutations)
def test_mask_holds_each_bit_where_the_layout_says(shape, dtype, upper, random) -> None:
    output = shuffled(sample(shape, len(shape), dtype), random)
    mask = BACKEND.pack_mask(output, order_of(output), upper)
    assert mask.dtype == torch.uint8
    assert len(mask) == mask_bytes(output.numel())
    assert mask.tolist() == naive_mask(output, math.inf if upper is None else upper)


@pytest.mark.parametrize("upper", [None, 2.0])
@pytest.mark.parametrize("elements", [0, 1, 7, 8, 9, 63, 64, 1000])
def test_both_ways_to_pack_agree(elements: int, upper: float | None) -> None:
    run = sample([elements], 3)
    assert torch.equal(_pack_numpy(run, upper), _pack_torch(run, upper))
    assert _numpy_serves(run)
    assert not _numpy_serves(run.bfloat16())


@settings(deadline=None, max_examples=60)
@given(shapes, st.sampled_from(DTYPES), permutations)
def test_gates_element_by_element(shape, dtype, random) -> None:
    output, grad = shuffled(sample(shape, 1, dtype), random), sample(shape, 2, dtype)
    order = order_of(output)
    mask = BACKEND.pack_mask(output, order, None)
    open_, positive = (output > 0).to(dtype), (grad > 0).to(dtype)
    untouched, mask_before = grad.clone(), mask.clone()
    for gate, expected in {
        "gradient": grad * open_,
        "guided": grad * open_ * positive,
        "deconvolution": grad * positive,
    }.items():
        given_mask = None if gate == "deconvolution" else mask
        result = BACKEND.relu_backward(grad, given_mask, order, gate)
        assert (result.dtype, result.shape) == (dtype, grad.shape)
        assert torch.equal(result, expected)
        over = BACKEND.relu_backward(grad.clone(), given_mask, order, gate, overwrite=True)
        assert torch.equal(over, expected)
    assert torch.equal(grad, untouched)
    assert torch.equal(mask, mask_before)


@pytest.mark.parametrize("gate", ["gradient", "guided"])
def test_a_closed_gate_stops_infinity(gate: str) -> None:
    output = torch.tensor([0.0, 1.0, 0.0])
    mask = BACKEND.pack_mask(output, (0,), None)
    grad = torch.tensor([torch.inf, torch.inf, torch.nan])
    result = BACKEND.relu_backward(grad, mask, (0,), gate)
    assert result.tolist() == [0.0, torch.inf, 0.0]


POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
UNPOOLS = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)


@st.composite
def pools(draw) -> tuple[Tensor, Window]:
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
    x = sample([draw(st.integers(0, 2)), 2, *size], dims)
    # A dilated window may step over the whole input. PyTorch's maximum of nothing is -inf.
    assume(bool(torch.isfinite(pooled(x, window)[0]).all()))
    return x, window


def pooled(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    settings_ = (window.extent, window.stride, window.padding, window.dilation, window.ceil_mode)
    return POOLS[len(window.extent) - 1](x, *settings_, return_indices=True)


def naive_unpool(x: Tensor, grad: Tensor, switches: Tensor, window: Window) -> Tensor:
    result = torch.zeros_like(x)
    for position in product(*(range(size) for size in grad.shape)):
        number, place = int(switches[position]), []
        for d in reversed(range(len(window.extent))):
            number, k = divmod(number, window.extent[d])
            w = position[2 + d]
            place.insert(0, w * window.stride[d] - window.padding[d] + k * window.dilation[d])
        result[(*position[:2], *place)] += grad[position]
    return result


@settings(deadline=None, max_examples=100)
@given(pools())
def test_switches_point_at_the_winners(case) -> None:
    x, window = case
    values, indices = pooled(x, window)
    switches = BACKEND.pack_switches(indices, x.shape, window)
    assert (switches.dtype, switches.shape) == (torch.uint8, values.shape)
    assert switches.numel() == 0 or int(switches.max()) < window.places
    grad = sample(list(values.shape), 7)
    result = BACKEND.unpool(grad, switches, x.shape, window)
    assert torch.equal(result, naive_unpool(x, grad, switches, window))
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(pooled(leaf, window)[0], leaf, grad)
    assert torch.equal(result, expected)


def test_ties_and_nan_go_where_pytorch_sends_them() -> None:
    x = torch.tensor([[[[1.0, 1.0, 3.0, torch.nan], [1.0, 1.0, torch.nan, 3.0]]]])
    window = Window((2, 2), (2, 2), (0, 0), (1, 1))
    _, indices = pooled(x, window)
    switches = BACKEND.pack_switches(indices, x.shape, window)
    grad = torch.tensor([[[[5.0, 7.0]]]])
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(pooled(leaf, window)[0], leaf, grad)
    assert torch.equal(BACKEND.unpool(grad, switches, x.shape, window), expected)


@pytest.mark.parametrize(("extent", "dtype"), [(256, torch.uint8), (257, torch.int32)])
def test_wide_windows_take_wider_switches(extent: int, dtype: torch.dtype) -> None:
    x = torch.arange(600.0).view(1, 1, 600)
    window = Window((extent,), (100,), (0,), (1,))
    values, indices = pooled(x, window)
    switches = BACKEND.pack_switches(indices, x.shape, window)
    assert switches.dtype == dtype
    assert set(switches.flatten().tolist()) == {extent - 1}
    result = BACKEND.unpool(torch.ones_like(values), switches, x.shape, window)
    assert result.flatten().nonzero().flatten().tolist() == indices.flatten().tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_overlapping_windows_add_up(dtype: torch.dtype) -> None:
    x = torch.zeros(1, 1, 5, dtype=dtype)
    x[..., 2] = 1
    window = Window((3,), (1,), (0,), (1,))
    values, indices = pooled(x, window)
    switches = BACKEND.pack_switches(indices, x.shape, window)
    result = BACKEND.unpool(torch.ones_like(values), switches, x.shape, window)
    assert result.flatten().tolist() == [0, 0, 3, 0, 0]
    assert result.dtype == dtype


def test_the_reference_refuses_nothing() -> None:
    from torchattr.kernels import Request

    for device in ("cpu", "cuda", "mps", "meta"):
        for dtype in DTYPES:
            assert BACKEND.refusals(Request(torch.device(device), dtype)) == []
