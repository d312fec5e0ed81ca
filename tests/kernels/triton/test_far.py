"""Tensors of more elements than 32 bits can number: where kernels then load and store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, prod

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton.language")

from triton_far import chosen, program, reserved

from torchattr.kernels import Window
from torchattr.kernels.patches import Pooling
from torchattr.kernels.triton import convolutions, max_pool, patches, rectifier, unpool
from torchattr.kernels.triton.availability import interpreted
from torchattr.kernels.triton.convolution_kinds import Kind
from torchattr.kernels.triton.launch import Launch
from torchattr.kernels.triton.tuning import CHOICES, EXACT

if not interpreted():
    pytest.skip("it reads addresses in Triton's interpreter", allow_module_level=True)

WINDOW = Window((2, 2), (2, 2), (0, 0), (1, 1))
SHAPE = (8, 128, 64)
POOLED = (8, 64, 32)
FIRST_WIDE = 32767
"""Images of this shape for which tiles leave 32 bits, and one less is the last that they number."""
LAST = (0, 2, 3, 1)
PLAIN = (0, 1, 2, 3)


def steps_in(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    steps, step = [0] * len(shape), 1
    for dim in reversed(order):
        steps[dim], step = step, step * shape[dim]
    return tuple(steps)


def position(offset: int, shape: tuple[int, ...], order: tuple[int, ...]) -> list[int]:
    found = [0] * len(shape)
    for dim in reversed(order):
        offset, found[dim] = divmod(offset, shape[dim])
    return found


def window_of(offset: int, order: tuple[int, ...]) -> set[int]:
    """Return the offsets of the inputs of one output."""
    n, c, h, w = position(offset, (2**17, *POOLED), order)
    steps = steps_in((2**17, *SHAPE), order)
    return {
        sum(map(prod, zip((n, c, 2 * h + down, 2 * w + along), steps, strict=True)))
        for down in (0, 1)
        for along in (0, 1)
    }


@pytest.mark.parametrize("images", [FIRST_WIDE - 1, FIRST_WIDE, 2**17])
@pytest.mark.parametrize("order", [PLAIN, LAST], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.75, 1.0])
class TestPools:
    """Pools of up to 2^33 elements."""

    def test_max_pool(
        self, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...], place: float, images: int
    ) -> None:
        shape, pooled = torch.Size((images, *SHAPE)), (images, *POOLED)
        launch = max_pool._plan(shape, steps_in(shape, order), torch.float32, True, WINDOW).launch
        assert launch is not None
        assert launch._constants["WIDE"] is (images >= FIRST_WIDE)
        x, values = reserved(*shape), reserved(*pooled)
        switches = reserved(*pooled, dtype=torch.uint8)
        found = program(monkeypatch, launch, chosen(launch, place), x, values, switches)
        stored = found.stored_to(values)
        assert len(stored) == len(found.stored) // 2
        assert stored == found.stored_to(switches)
        assert place < 1 or max(stored) == prod(pooled) - 1
        loaded = found.loaded_from(x)
        assert loaded == set().union(*(window_of(offset, order) for offset in stored))

    def test_unpool(
        self, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...], place: float, images: int
    ) -> None:
        shape, pooled = torch.Size((images, *SHAPE)), torch.Size((images, *POOLED))
        grad = (pooled, steps_in(pooled, order), torch.float32)
        switches = (*grad[:2], torch.uint8)
        settings = unpool.Settings(only_open=False, clamped=False)
        launch = unpool._plan(grad, switches, shape, WINDOW, settings).launch
        assert launch is not None
        assert launch._constants["WIDE"] is (images >= FIRST_WIDE)
        tensors = reserved(*pooled), reserved(*pooled, dtype=torch.uint8), reserved(*shape)
        found = program(monkeypatch, launch, chosen(launch, place), *tensors)
        loaded = found.loaded_from(tensors[0])
        assert loaded == found.loaded_from(tensors[1])
        assert place < 1 or max(loaded) == prod(pooled) - 1
        stored = found.stored_to(tensors[2])
        assert stored == set().union(*(window_of(offset, order) for offset in loaded))


@pytest.mark.parametrize("far", range(4))
def test_few_elements_far_apart(monkeypatch: pytest.MonkeyPatch, far: int) -> None:
    """The elements of one dimension are in steps of 2^30, within windows, too."""
    shape = torch.Size(5 if dim == far < 2 else size for dim, size in enumerate((1, 1, 4, 4)))
    steps = tuple(2**30 if dim == far else step for dim, step in enumerate((1, 16, 4, 1)))
    memory = reserved(2**33)
    x = memory.as_strided(shape, steps)
    x.copy_(torch.arange(x.numel()).view(shape))
    window = Window((4, 4), (4, 4), (0, 0), (1, 1))
    launch = max_pool._plan(shape, steps, torch.float32, True, window).launch
    assert launch is not None
    values, switches = torch.zeros(shape[:2]), torch.zeros(shape[:2]).byte()
    found = program(monkeypatch, launch, 0, memory, values, switches)
    assert len(found.loaded_from(memory)) == x.numel()
    assert torch.equal(values, x.amax((2, 3)))


ELEMENTS = 2**33 + 12345


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 1.0])
def test_runs(monkeypatch: pytest.MonkeyPatch, place: float) -> None:
    tile = CHOICES[0]
    ((chunk, launch),) = rectifier._rectifications(ELEMENTS, torch.float32, None, None, True, tile)
    assert chunk.is_whole
    number = chosen(launch, place)
    x, y = reserved(ELEMENTS), reserved(ELEMENTS)
    mask = reserved((ELEMENTS + 7) // 8, dtype=torch.uint8)
    found = program(monkeypatch, launch, number, x, y, mask, x, x)
    start = number * tile.block
    expected = set(range(start, min(start + tile.block, ELEMENTS)))
    assert found.loaded_from(x) == found.stored_to(y) == expected
    bits = {offset // 8 for offset in expected}
    assert found.stored_to(mask) == bits
    ((_, gate),) = rectifier._gatings(ELEMENTS, True, True, None, tile)
    found = program(monkeypatch, gate, number, x, y, mask, x)
    assert found.loaded_from(x) == found.stored_to(y) == expected
    assert found.loaded_from(mask) == bits


@pytest.mark.parametrize("step", [1, 1000, 2**29])
def test_runs_with_channels_are_cut_where_channels_are_known(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    count, tile = 7, CHOICES[0]
    launches = rectifier._gatings(ELEMENTS, False, False, (step, count), tile)
    assert sum(chunk.elements for chunk, _ in launches) == ELEMENTS
    x, y, scale = reserved(ELEMENTS), reserved(ELEMENTS), torch.ones(count)
    for chunk, launch in launches[:1] + launches[-2:]:
        number = chosen(launch, 1)
        found = program(monkeypatch, launch, number, x, y, x, scale)
        start = chunk.start + number * tile.block
        stop = chunk.start + chunk.elements
        expected = {offset // step % count for offset in range(start, stop)}
        assert found.loaded_from(scale) == expected


HEIGHT, WIDTH, CHANNELS = 2**13, 2**15, 16
ROWS = HEIGHT * WIDTH
BEFORE = 2**27
OUTPUT = torch.Size((ROWS, CHANNELS))
CLEAN = torch.Size((2, HEIGHT, WIDTH, CHANNELS))
CHANGED = torch.Size((BEFORE + ROWS // 2, CHANNELS))


def box(image: int, bottom: int, start: int) -> torch.Tensor:
    return torch.tensor([[image, 0, 0, bottom, WIDTH, start]])


def gathered() -> tuple[Launch, tuple[Tensor, ...]]:
    return patches._launch((OUTPUT, CLEAN, CHANGED), True, None), ()


def pooled() -> tuple[Launch, tuple[Tensor, ...]]:
    return patches._launch((OUTPUT, CLEAN, CHANGED), True, Pooling(True, (1, 1), (1, 1))), ()


def kind(groups: int) -> Kind:
    weight = torch.Size((CHANNELS, CHANNELS // groups, 1, 1))
    window = ((1, 1), (1, 1), (0, 0), (1, 1))
    return Kind(
        (OUTPUT, weight, CLEAN, CHANGED),
        window,
        groups,
        (False, False),
        (-inf, inf),
        True,
        torch.float32,
        "ieee",
    )


def multiplied() -> tuple[Launch, tuple[Tensor, ...]]:
    weight = torch.ones(1, 1, CHANNELS, CHANNELS)
    return convolutions._product(kind(1), EXACT[0]), (weight, weight)


def scaled() -> tuple[Launch, tuple[Tensor, ...]]:
    weight = torch.ones(1, 1, 1, CHANNELS)
    return convolutions._depthwise(kind(CHANNELS)), (weight, weight)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("planned", [gathered, pooled, multiplied, scaled])
def test_patches(
    monkeypatch: pytest.MonkeyPatch,
    place: float,
    planned: Callable[[], tuple[Launch, tuple[Tensor, ...]]],
) -> None:
    """The upper half of the second image is changed, and follows other changed rows."""
    launch, weights = planned()
    output, clean, changed = (reserved(*shape) for shape in (OUTPUT, CLEAN, CHANGED))
    x = (clean, changed, box(1, HEIGHT // 2, BEFORE))
    lookup = (box(1, HEIGHT, 0), reserved(ROWS, dtype=torch.int32))
    sources = (x, x, lookup) if weights else (x, lookup)
    number = chosen(launch, place)
    found = program(monkeypatch, launch, number, output, *sources, *weights)
    stored = found.stored_to(output)
    rows = {offset // CHANNELS for offset in stored}
    assert stored == elements(rows)
    assert place < 1 or max(stored) == output.numel() - 1
    of_changed = elements(row + BEFORE for row in rows if row < ROWS // 2)
    assert found.loaded_from(changed) == of_changed
    assert found.loaded_from(clean) == elements(row + ROWS for row in rows if row >= ROWS // 2)


def elements(rows: Iterable[int]) -> set[int]:
    return {row * CHANNELS + channel for row in rows for channel in range(CHANNELS)}
