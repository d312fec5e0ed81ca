"""Compiled operations on patches: which algorithm is chosen, its accuracy, and its threads."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_cases import cast, dense, images, rows, some_boxes
from torch import Tensor

from torchattr.errors import BackendError
from torchattr.kernels import Request
from torchattr.kernels.cpu import compile as cpu_compile
from torchattr.kernels.cpu import patches as cpu_patches
from torchattr.kernels.cpu.backend import CpuBackend
from torchattr.kernels.cpu.patches import CpuPatches
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.reference.patches import TorchPatches

if CpuBackend().refusals(Request(torch.device("cpu"), torch.float32)):
    pytest.skip("there is no C++ compiler", allow_module_level=True)

examples = settings(deadline=None, max_examples=40)
PLAIN = Epilogue()
PATCHES, REFERENCE = CpuPatches(), TorchPatches()
AMPLIFIED = 64 * 2**-24
"""Minimal filtering at six points multiplies the rounding of a sum's terms by up to about this."""


def patches(seed: int, size: tuple[int, int], channels: int, boxes: Boxes | None = None) -> Patches:
    """Return patches of two images in float32."""
    boxes = boxes or some_boxes(np.random.default_rng(seed), images(seed, 2), size)
    clean = noise(2, *size, channels, seed=seed)
    return cast(Patches(clean, noise(boxes.rows, channels, seed=seed + 1), boxes), torch.float32)


def square(outputs: int, inputs: int, seed: int = 3) -> Convolution:
    """Return a 3 × 3 convolution that keeps the size."""
    weight = noise(outputs, inputs, 3, 3, seed=seed).float() / (9 * inputs) ** 0.5
    return Convolution(weight, noise(outputs, seed=seed + 1).float(), padding=(1, 1))


def expected(x: Patches, conv: Convolution) -> Tensor:
    """Return the whole output in float64, one for each variant."""
    bias = None if conv.bias is None else conv.bias.double()
    window = (conv.stride, conv.padding, conv.dilation, conv.groups)
    weight = conv.scaled.weight.double()
    return F.conv2d(dense(cast(x, torch.float64)), weight, bias, *window)


def absolute_terms(x: Patches, conv: Convolution) -> float:
    """Return the largest sum of absolute terms of any output."""
    given = Patches(x.clean.abs(), x.changed.abs(), x.boxes)
    return float(
        expected(given, replace(conv.scaled, weight=conv.scaled.weight.abs(), packed={})).max()
    )


def error(actual: Tensor, exact: Tensor) -> float:
    return float((actual - exact).abs().max() / exact.abs().max())


def whole(size: tuple[int, int], variants: int = 2) -> Boxes:
    return Boxes.whole(np.arange(variants) % 2, *size)


@examples
@given(
    seed=st.integers(0, 2**16),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    channels=st.sampled_from([(16, 16), (17, 40), (33, 16), (270, 24), (24, 70)]),
    padding=st.sampled_from([(1, 1), (2, 1)]),
    has_residual=st.booleans(),
)
def test_tiles_of_all_sizes(seed, size, channels, padding, has_residual) -> None:
    inputs, outputs = channels
    x, conv = patches(seed, size, inputs), square(outputs, inputs)
    scale = noise(outputs, seed=seed + 3).float() if seed % 2 else None
    conv = Convolution(conv.weight, conv.bias, padding=padding, scale=scale)
    pictures = expected(x, conv)
    out_size = tuple(pictures.shape[2:])
    boxes = some_boxes(np.random.default_rng(seed + 1), x.boxes.table[:, 0], out_size)
    residual = None
    if has_residual:
        other = some_boxes(np.random.default_rng(seed + 2), x.boxes.table[:, 0], out_size)
        residual = patches(seed + 9, out_size, outputs, other)
        pictures = pictures + dense(cast(residual, torch.float64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_patches, "winograd_pays", lambda *_: True)
        actual = PATCHES.convolve(x, boxes, conv, Epilogue(residual, 0.0, 6.0))
    if not boxes.rows:
        assert actual.shape == (0, outputs)
        return
    assert list(conv.packed) == ["winograd"]
    exact = rows(pictures.clamp(0, 6), boxes)
    assert (actual - exact).abs().max() <= AMPLIFIED * absolute_terms(x, conv)


def test_filtering_is_as_exact_as_is_said() -> None:
    x, conv = patches(1, (14, 14), 512, whole((14, 14))), square(512, 512)
    actual = PATCHES.convolve(x, x.boxes, conv, PLAIN)
    assert error(actual, rows(expected(x, conv), x.boxes)) < 1e-5


@pytest.mark.parametrize(("inputs", "extent"), [(2048, 1), (256, 3)])
def test_products_are_as_exact_as_is_said(inputs: int, extent: int) -> None:
    x = patches(1, (9, 9), inputs, whole((9, 9)))
    conv = Convolution(noise(48, inputs, extent, extent, seed=5).float(), None, (2, 2))
    exact = expected(x, conv)
    boxes = whole(tuple(exact.shape[2:]))
    actual = PATCHES.convolve(x, boxes, conv, PLAIN)
    assert list(conv.packed) == ["product"]
    assert error(actual, rows(exact, boxes)) < 1e-6


def test_filtering_serves_where_it_pays() -> None:
    large, small = whole((14, 14), 8), whole((1, 1), 1)
    assert cpu_patches.winograd_pays(large, square(64, 64))
    assert not cpu_patches.winograd_pays(small, square(64, 64))
    assert not cpu_patches.winograd_pays(large, square(64, 3))
    strided = Convolution(square(64, 64).weight, None, stride=(2, 2))
    assert not cpu_patches.winograd_pays(large, strided)


@pytest.mark.parametrize("broken", [nan, inf, -inf])
def test_what_is_not_finite_goes_where_it_should_alone(broken: float) -> None:
    x, conv = patches(2, (12, 12), 32, whole((12, 12))), square(32, 32)
    x.changed[5 * 12 + 5, 7] = broken
    actual = PATCHES.convolve(x, x.boxes, conv, Epilogue(None, 0.0, 6.0))
    exact = rows(expected(x, conv).clamp(0, 6), x.boxes)
    assert 0 < int((~rows(expected(x, conv), x.boxes).isfinite()).any(dim=1).sum()) <= 9
    torch.testing.assert_close(actual.double(), exact, rtol=0, atol=1e-4, equal_nan=True)
    assert not actual[-1].isnan().any()


OPERATIONS = {
    "winograd": square(40, 32),
    "product": Convolution(square(40, 32).weight, None, (2, 1), (1, 1)),
    "a few rows of many columns": Convolution(noise(700, 32, 7, 9, seed=1).float(), None),
    "groups": Convolution(noise(40, 8, 3, 3, seed=1).float(), None, padding=(1, 1), groups=4),
    "depthwise": Convolution(noise(32, 1, 3, 3, seed=1).float(), None, padding=(1, 1), groups=32),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_do_not_depend_on_threads(name: str) -> None:
    x, conv = patches(4, (7, 9), 32, whole((7, 9), 7)), OPERATIONS[name]
    exact = expected(x, conv)
    boxes = whole(tuple(exact.shape[2:]), 7)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(PATCHES.convolve(x, boxes, conv, PLAIN))
    finally:
        torch.set_num_threads(before)
    assert error(results[0], rows(exact, boxes)) < 1e-5
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_without_a_compiler_the_reference_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise BackendError(f"no compiler for {name}")

    x, conv = patches(4, (7, 9), 32), square(8, 32)
    monkeypatch.setattr(cpu_compile, "shared_library", fails)
    cpu_compile.compiles.cache_clear()
    with pytest.warns(UserWarning, match="left to the backend 'torch': no compiler for patches"):
        actual = PATCHES.convolve(x, x.boxes, conv, PLAIN)
    cpu_compile.compiles.cache_clear()
    assert torch.equal(actual, REFERENCE.convolve(x, x.boxes, conv, PLAIN))
    assert not conv.packed


def test_other_dtypes_are_left_to_the_reference() -> None:
    x = cast(patches(4, (7, 9), 3), torch.float64)
    pooling = Pooling(True, (3, 3), (2, 2), (1, 1))
    boxes = whole((4, 5), len(x.boxes))
    assert PATCHES.pool(x, boxes, pooling).dtype == torch.float64
