"""Triton's operations on patches: every block and dtype, several programs, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import nan

import numpy as np
import pytest
import torch
from helpers import noise
from test_patch_contract import cast, some_boxes
from torch import Tensor

from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.reference import patches as reference_patches
from torchattr.kernels.triton.backend import TritonBackend, interpreted

pytest.importorskip("triton")

from torchattr.kernels.triton.kernels import convolution_launch as convolving
from torchattr.kernels.triton.kernels import lookup
from torchattr.kernels.triton.kernels import patches as launches

TRITON = TritonBackend()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
IMAGE = np.array([0, 1, 1])
NARROW = [torch.bfloat16, torch.float16]


def patches(channels: int, seed: int = 1, boxes: Boxes | None = None) -> Patches:
    """Give float64 patches of three variants of two images."""
    boxes = boxes or some_boxes(np.random.default_rng(seed), IMAGE, (6, 9))
    clean, changed = noise(2, 6, 9, channels, seed=seed), noise(boxes.rows, channels, seed=seed + 1)
    return Patches(clean.to(DEVICE), changed.to(DEVICE), boxes)


CASES = {
    "many channels": (20, 70, 1, (3, 3)),
    "few channels": (3, 20, 1, (3, 3)),
    "groups": (36, 8, 2, (1, 3)),
    "alone": (40, 40, 40, (3, 3)),
    "alone, wide": (5, 5, 5, (9, 9)),
    "alone, twice": (3, 6, 3, (3, 3)),
}
"""Channels there and back, groups and extent."""


def convolution(name: str, dtype: torch.dtype = torch.float32) -> Convolution:
    """Give a convolution that keeps the size, scaled where its weights are not rounded for it."""
    inputs, outputs, groups, extent = CASES[name]
    weight = noise(outputs, inputs // groups, *extent, seed=3).to(DEVICE, dtype)
    weight /= weight[0].numel() ** 0.5
    around = (extent[0] // 2, extent[1] // 2)
    bias = noise(outputs, seed=4).to(DEVICE, dtype)
    scale = noise(outputs, seed=5).abs().to(DEVICE, torch.float32)
    scale = scale if dtype == torch.float32 else None
    return Convolution(weight, bias, padding=around, groups=groups, scale=scale)


def rounding(dtype: torch.dtype) -> float:
    """Give how far off one rounding puts a value; Triton's interpreter cuts bfloat16 off."""
    cut = interpreted() and dtype == torch.bfloat16
    return (1.002 if cut else 0.502) * torch.finfo(dtype).eps


def agrees(x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue, unit: float) -> None:
    """Compare with the reference in float64."""
    scale = None if conv.scale is None else conv.scale.double()
    exact = replace(
        conv, weight=conv.weight.double(), bias=conv.bias.double(), scale=scale, packed={}
    )
    residual = None if after.residual is None else cast(after.residual, torch.float64)
    doubled = replace(after, residual=residual)
    expected = reference_patches.convolve(cast(x, torch.float64), boxes, exact, doubled)
    actual = TRITON.convolve(x, boxes, conv, after)
    assert actual.dtype == x.clean.dtype
    torch.testing.assert_close(actual.double(), expected, rtol=unit, atol=1e-5)


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[convolving.Block]]:
    """Have products use the one block in this list."""
    block: list[convolving.Block] = []
    monkeypatch.setattr(convolving, "_block_for", lambda *args: block[0])
    return block


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_results_are_rounded_once(name: str, dtype: torch.dtype) -> None:
    conv = convolution(name, dtype)
    x, residual = cast(patches(CASES[name][0]), dtype), cast(patches(CASES[name][1], 6), dtype)
    after = Epilogue(residual, 0.0, 1.0)
    boxes = Boxes.whole(IMAGE, 6, 9)
    agrees(x, boxes, conv, after, rounding(dtype))


@pytest.mark.parametrize("name", ["many channels", "few channels", "groups"])
@pytest.mark.parametrize("block", dict.fromkeys(convolving.EXACT + convolving.NARROW), ids=str)
def test_every_block(choose: list[convolving.Block], block, name: str) -> None:
    choose.append(block)
    x = cast(patches(CASES[name][0]), torch.float32)
    agrees(x, Boxes.whole(IMAGE, 6, 9), convolution(name), Epilogue(), 1e-6)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_all_in_64_bits_and_off_16_bytes(monkeypatch, wide: bool, aligned: bool) -> None:
    monkeypatch.setattr(launches, "are_wide", lambda *activations: wide)
    monkeypatch.setattr(convolving, "are_wide", lambda *activations: wide)
    boxes = Boxes.whole(IMAGE, 6, 9)
    for name in ("many channels", "few channels", "groups", "alone"):
        x, residual = (cast(patches(CASES[name][side]), torch.float32) for side in (0, 1))
        x = x if aligned else moved(x)
        assert lookup.are_aligned(x) is aligned
        agrees(x, boxes, convolution(name), Epilogue(residual), 1e-6)
        assert torch.equal(TRITON.gather(x, boxes), reference_patches.gather(x, boxes))
        pooling = Pooling(True, (3, 2), (1, 1), (1, 0))
        assert torch.equal(
            TRITON.pool(x, boxes, pooling), reference_patches.pool(x, boxes, pooling)
        )


def moved(x: Patches) -> Patches:
    """Put the changed rows one element further in memory."""
    room = x.changed.new_empty(x.changed.numel() + 1)[1:].view(x.changed.shape)
    return replace(x, changed=room.copy_(x.changed))


@pytest.mark.parametrize("maximum", [False, True])
@pytest.mark.parametrize("dtype", NARROW)
def test_pools_of_more_places_than_are_unrolled(maximum: bool, dtype: torch.dtype) -> None:
    x = cast(patches(5), dtype)
    pooling = Pooling(maximum, (9, 8), (1, 1), (4, 4), counts_padding=False)
    boxes = Boxes.whole(IMAGE, 6, 9)
    expected = reference_patches.pool(cast(x, torch.float64), boxes, pooling)
    actual = TRITON.pool(x, boxes, pooling).double()
    unit, least = (0.0, 0.0) if maximum else (rounding(dtype), 1e-6)
    torch.testing.assert_close(actual, expected, rtol=unit, atol=least)


def test_nan_passes_the_clamp() -> None:
    x = cast(patches(20, boxes=Boxes.whole(IMAGE, 6, 9)), torch.float32)
    x.changed[17] = nan
    output = TRITON.convolve(x, x.boxes, convolution("many channels"), Epilogue(None, 0.0, 6.0))
    expected = reference_patches.convolve(x, x.boxes, convolution("many channels"), Epilogue())
    assert expected.isnan().any()
    assert torch.equal(output.isnan(), expected.isnan())


def test_nothing_is_made_of_no_rows() -> None:
    none = np.zeros(3, dtype=np.int64)
    x = cast(patches(20, boxes=Boxes.of(IMAGE, none, none, none, none)), torch.float32)
    assert TRITON.convolve(x, x.boxes, convolution("many channels"), Epilogue()).shape == (0, 70)
    assert TRITON.pool(x, x.boxes, Pooling(True, (2, 2), (1, 1))).shape == (0, 20)
    whole = Boxes.whole(IMAGE, 6, 9)
    assert torch.equal(TRITON.gather(x, whole), x.clean[IMAGE].reshape(-1, 20))


def test_boxes_and_weights_are_prepared_once() -> None:
    x = cast(patches(40), torch.float32)
    conv = convolution("alone")
    kept: list[tuple[Tensor, ...]] = []
    for _ in range(2):
        TRITON.convolve(x, x.boxes, conv, Epilogue())
        found = lookup.lookup_of(x.boxes, DEVICE)
        kept.append((found.table, found.variants, *conv.packed.values()))
    assert all(one is other for one, other in zip(*kept, strict=True))
    assert kept[0][1].tolist() == x.boxes.places[0].tolist()


def test_the_fastest_block_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([3.0, 1.0, 2.0, 4.0])

    def do_bench(launch, warmup: int, rep: int) -> float:
        launch()
        return next(times)

    monkeypatch.setattr(convolving, "WORK", 0)
    monkeypatch.setattr(convolving, "can_measure", lambda output: True)
    monkeypatch.setattr(convolving, "_measured", {})
    monkeypatch.setattr(convolving.triton.testing, "do_bench", do_bench)
    x = cast(patches(20), torch.float32)
    for _ in range(2):
        agrees(x, x.boxes, convolution("many channels"), Epilogue(), 1e-6)
    assert list(convolving._measured.values()) == [convolving.EXACT[1]]


def test_float32_is_multiplied_as_pytorch_may_do_it() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "ieee"
        assert convolving._precision(torch.float32) == "ieee"
        matmul.fp32_precision = "tf32"
        assert convolving._precision(torch.float32) == "tf32"
        assert convolving._precision(torch.float16) == "ieee"
    finally:
        matmul.fp32_precision = before
