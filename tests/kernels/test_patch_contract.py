"""Operations on patches, against PyTorch's own on whole images in float64."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import torch
import torch.nn.functional as F
from bench import Bench
from helpers import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_cases import cast, dense, images, rows, some_boxes
from torch import Tensor

from torchattr.kernels.patches import (
    Convolution,
    Epilogue,
    Patches,
    Pooling,
)

examples = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**16)
EXTENTS = [(1, 1), (3, 3), (2, 2), (5, 3), (1, 4), (7, 7)]


def some_patches(
    bench: Bench, seed: int, shape: tuple[int, int, int, int], image: np.ndarray
) -> Patches:
    boxes = some_boxes(np.random.default_rng(seed), image, shape[1:3])
    clean = noise(*shape, seed=seed).to(bench.device)
    changed = noise(boxes.rows, shape[3], seed=seed + 1).to(bench.device)
    return Patches(clean, changed, boxes)


def agree(actual: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    """Fail if both differ by more than a share of their range; the inputs are about 1."""
    limit = 1e-12 if actual.dtype == torch.float64 else relative
    known = expected[expected.isfinite()]
    scale = max(1.0, float(known.abs().max())) if known.numel() else 1.0
    torch.testing.assert_close(
        actual.double(), expected, rtol=0, atol=limit * scale, equal_nan=True
    )


def dtypes(bench: Bench) -> list[torch.dtype]:
    return [dtype for dtype in bench.dtypes if dtype.itemsize >= 4]


@examples
@given(
    seed=seeds,
    count=st.integers(1, 3),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    channels=st.sampled_from(
        [(1, 3, 5), (1, 16, 33), (1, 40, 16), (3, 2, 1), (2, 5, 8), (4, 16, 16)]
    ),
    depthwise=st.sampled_from([0, 0, 0, 7, 16, 35]),
    extent=st.sampled_from(EXTENTS),
    stride=st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 1)]),
    padding=st.sampled_from([(0, 0), (1, 1), (3, 2)]),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 2)]),
    bias=st.booleans(),
    scaled=st.booleans(),
    after=st.sampled_from([(-inf, inf), (0.0, inf), (0.0, 6.0), (-inf, 0.5)]),
    has_residual=st.booleans(),
)
def test_convolutions(
    bench,
    seed,
    count,
    size,
    channels,
    depthwise,
    extent,
    stride,
    padding,
    dilation,
    bias,
    scaled,
    after,
    has_residual,
) -> None:
    groups, inputs, outputs = (depthwise, 1, 1) if depthwise else channels
    span = [d * (e - 1) + 1 for d, e in zip(dilation, extent, strict=True)]
    size = tuple(max(side, s - 2 * p) for side, s, p in zip(size, span, padding, strict=True))
    image = images(seed, count)
    x = some_patches(bench, seed, (count, *size, groups * inputs), image)
    conv = Convolution(
        noise(groups * outputs, inputs, *extent, seed=seed + 2).to(bench.device),
        noise(groups * outputs, seed=seed + 3).to(bench.device) if bias else None,
        stride,
        padding,
        dilation,
        groups,
        noise(groups * outputs, seed=seed + 4).to(bench.device) if scaled else None,
    )
    weight = conv.weight if conv.scale is None else conv.weight * conv.scale.view(-1, 1, 1, 1)
    expected = F.conv2d(dense(x), weight, conv.bias, stride, padding, dilation, groups)
    out_size = tuple(expected.shape[2:])
    residual = None
    if has_residual:
        residual = some_patches(bench, seed + 5, (count, *out_size, groups * outputs), image)
        expected += dense(residual)
    expected = expected.clamp(*after)
    boxes = x.boxes.reached(extent, stride, padding, dilation, out_size)
    for wanted in (boxes, some_boxes(np.random.default_rng(seed + 7), image, out_size)):
        for dtype in dtypes(bench):
            actual = bench.patches.convolve(
                cast(x, dtype),
                wanted,
                replace(
                    conv,
                    weight=conv.weight.to(dtype),
                    bias=None if conv.bias is None else conv.bias.to(dtype),
                    scale=None if conv.scale is None else conv.scale.to(dtype),
                    packed={},
                ),
                Epilogue(None if residual is None else cast(residual, dtype), *after),
            )
            assert actual.dtype == dtype
            agree(actual, rows(expected, wanted))


@examples
@given(seed=seeds, channels=st.sampled_from([1, 3, 16, 37]), same=st.booleans())
def test_gathering(bench, seed, channels, same) -> None:
    image = images(seed, 2)
    x = some_patches(bench, seed, (2, 5, 7, channels), image)
    wanted = x.boxes if same else some_boxes(np.random.default_rng(seed + 7), image, (5, 7))
    for dtype in dtypes(bench):
        actual = bench.patches.gather(cast(x, dtype), wanted)
        assert torch.equal(actual, rows(dense(cast(x, dtype)), wanted))


@examples
@given(
    seed=seeds,
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    channels=st.sampled_from([1, 3, 16, 37]),
    extent=st.sampled_from([(2, 2), (3, 3), (4, 2)]),
    stride=st.sampled_from([None, (1, 1), (2, 2), (3, 1)]),
    padding=st.sampled_from([(0, 0), (1, 1), (2, 1)]),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 2)]),
    ceil=st.booleans(),
    maximum=st.booleans(),
    counts_padding=st.booleans(),
    divisor=st.sampled_from([None, None, 3]),
    broken=st.sampled_from([None, None, nan, inf]),
)
def test_pools(
    bench,
    seed,
    size,
    channels,
    extent,
    stride,
    padding,
    dilation,
    ceil,
    maximum,
    counts_padding,
    divisor,
    broken,
) -> None:
    padding = tuple(min(p, e // 2) for p, e in zip(padding, extent, strict=True))
    dilation = dilation if maximum else (1, 1)
    span = [d * (e - 1) + 1 for d, e in zip(dilation, extent, strict=True)]
    size = tuple(max(side, s - 2 * p) for side, s, p in zip(size, span, padding, strict=True))
    stride = stride or extent
    image = images(seed, 2)
    x = some_patches(bench, seed, (2, *size, channels), image)
    if broken is not None and len(x.changed):
        x.changed[seed % len(x.changed), seed % channels] = broken
        x.clean[seed % 2, seed % size[0], seed % size[1]] = broken
    if maximum:
        expected = F.max_pool2d(dense(x), extent, stride, padding, dilation, ceil_mode=ceil)
    else:
        expected = F.avg_pool2d(dense(x), extent, stride, padding, ceil, counts_padding, divisor)
    pooling = Pooling(maximum, extent, stride, padding, dilation, counts_padding, divisor)
    out_size = tuple(expected.shape[2:])
    boxes = x.boxes.reached(extent, stride, padding, dilation, out_size)
    for wanted in (boxes, some_boxes(np.random.default_rng(seed + 7), image, out_size)):
        for dtype in dtypes(bench):
            agree(bench.patches.pool(cast(x, dtype), wanted, pooling), rows(expected, wanted), 1e-6)
