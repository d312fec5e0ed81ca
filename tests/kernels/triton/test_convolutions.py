"""Triton's convolutions of patches: every block and dtype, several programs, and caches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import nan

import pytest
import torch
from patch_cases import cast
from triton_cases import CASES, IMAGE, NARROW, convolution, moved, patches, rounding

from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.reference.patches import TorchPatches

pytest.importorskip("triton.language")

from torchattr.kernels.triton import convolution_kinds, convolutions, lookup
from torchattr.kernels.triton import patches as patches_module
from torchattr.kernels.triton.patches import TritonPatches

TRITON, REFERENCE = TritonPatches(), TorchPatches()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def agrees(x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue, unit: float) -> None:
    """Compare with the reference in float64."""
    scale = None if conv.scale is None else conv.scale.double()
    exact = replace(
        conv, weight=conv.weight.double(), bias=conv.bias.double(), scale=scale, packed={}
    )
    residual = None if after.residual is None else cast(after.residual, torch.float64)
    doubled = replace(after, residual=residual)
    expected = REFERENCE.convolve(cast(x, torch.float64), boxes, exact, doubled)
    actual = TRITON.convolve(x, boxes, conv, after)
    assert actual.dtype == x.clean.dtype
    torch.testing.assert_close(actual.double(), expected, rtol=unit, atol=1e-5)


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[convolutions.Block]]:
    """Make products use the block in this list."""
    block: list[convolutions.Block] = []
    monkeypatch.setattr(convolutions, "_block_for", lambda *args: block[0])
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
@pytest.mark.parametrize("block", dict.fromkeys(convolutions.EXACT + convolutions.NARROW), ids=str)
def test_every_block(choose: list[convolutions.Block], block, name: str) -> None:
    choose.append(block)
    x = cast(patches(CASES[name][0]), torch.float32)
    agrees(x, Boxes.whole(IMAGE, 6, 9), convolution(name), Epilogue(), 1e-6)


PLANNED = [patches_module._launch, convolutions._depthwise, convolutions._product]
"""Launches that are kept with the width of their indices."""


@pytest.fixture(params=[False, True])
def wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether all indices have 64 bits."""
    for module in (patches_module, convolution_kinds):
        monkeypatch.setattr(module, "are_wide", lambda *sizes: request.param)
    for planned in PLANNED:
        planned.cache_clear()
    yield request.param
    for planned in PLANNED:
        planned.cache_clear()


@pytest.mark.parametrize("aligned", [False, True])
def test_all_in_64_bits_and_off_16_bytes(wide: bool, aligned: bool) -> None:
    boxes = Boxes.whole(IMAGE, 6, 9)
    for name in ("many channels", "few channels", "groups", "alone"):
        x, residual = (cast(patches(CASES[name][side]), torch.float32) for side in (0, 1))
        x = x if aligned else moved(x)
        assert lookup.are_aligned(x) is aligned
        agrees(x, boxes, convolution(name), Epilogue(residual), 1e-6)
        assert torch.equal(TRITON.gather(x, boxes), REFERENCE.gather(x, boxes))
        pooling = Pooling(True, (3, 2), (1, 1), (1, 0))
        assert torch.equal(TRITON.pool(x, boxes, pooling), REFERENCE.pool(x, boxes, pooling))


def test_nan_passes_the_clamp() -> None:
    x = cast(patches(20, boxes=Boxes.whole(IMAGE, 6, 9)), torch.float32)
    x.changed[17] = nan
    output = TRITON.convolve(x, x.boxes, convolution("many channels"), Epilogue(None, 0.0, 6.0))
    expected = REFERENCE.convolve(x, x.boxes, convolution("many channels"), Epilogue())
    assert expected.isnan().any()
    assert torch.equal(output.isnan(), expected.isnan())


def test_the_fastest_block_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([3.0, 1.0, 2.0, 4.0])

    def do_bench(launch, warmup: int, rep: int) -> float:
        launch()
        return next(times)

    monkeypatch.setattr(convolutions, "WORK", 0)
    monkeypatch.setattr(convolutions, "can_measure", lambda output: True)
    monkeypatch.setattr(convolutions, "_measured", {})
    monkeypatch.setattr(convolutions.triton.testing, "do_bench", do_bench)
    x = cast(patches(20), torch.float32)
    for _ in range(2):
        agrees(x, x.boxes, convolution("many channels"), Epilogue(), 1e-6)
    assert list(convolutions._measured.values()) == [convolutions.EXACT[1]]
