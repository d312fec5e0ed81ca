"""Grids without what was added around them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers import Layout
from torchattr.layers.layouts.layout import channels_first, channels_last, reading
from torchattr.layers.layouts.tracker import LayoutTracker

PICTURE = torch.rand(2, 3, 5, 7)


def layout(run: Callable[[Tensor], Tensor], x: Tensor = PICTURE) -> tuple[Layout | str, Tensor]:
    tracker = LayoutTracker([x])
    with tracker:
        result = run(x)
    return tracker.layout(result), result


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).mT


PADDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "around": lambda x: F.pad(x, (1, 2, 3, 4)),
    "reflected": lambda x: F.pad(x, (1, 1, 2, 2), "reflect"),
    "twice": lambda x: F.pad(F.pad(x, (0, 1)), (2, 3, 0, 0)),
    "partly removed": lambda x: F.pad(x, (3, 3, 3, 3))[:, :, 1:-2, 2:],
    "along one side": lambda x: F.pad(x, (0, 0, 0, 9)),
    "channels last": lambda x: F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 2)),
    "tokens": lambda x: tokens(F.pad(x, (0, 3, 0, 1))),
    "tokens after a class token": lambda x: torch.cat(
        [torch.zeros(2, 1, 3), tokens(F.pad(x, (0, 3, 0, 1)))], 1
    ),
    "joined": lambda x: torch.cat([x, torch.zeros(2, 3, 5, 2)], 3),
    "shifted there and back": lambda x: F.pad(x, (0, 1)).roll(3, 3).roll(-3, 3),
}


@pytest.mark.parametrize("name", PADDINGS)
def test_padding_lies_outside_of_the_grid(name: str) -> None:
    found, values = layout(PADDINGS[name])
    assert isinstance(found, Layout)
    assert found.sizes == (5, 7)
    torch.testing.assert_close(found.to_grid(values), PICTURE)


def test_windows_keep_what_they_are_centred_on() -> None:
    """The pixels of a picture say where they are, so that an average shows its position."""
    rows = torch.arange(1.0, 17)[:, None].expand(1, 1, 16, 24).clone()
    cases: list[tuple[Callable[[Tensor], Tensor], tuple[int, int]]] = [
        (lambda x: F.avg_pool2d(F.pad(x, (0, 8, 0, 16)), 4), (4, 6)),
        (lambda x: F.avg_pool2d(F.pad(x, (8, 0, 16, 0)), 4), (4, 6)),
        (lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1), (16, 24)),
        (lambda x: F.interpolate(F.pad(x, (0, 8, 0, 16)), scale_factor=2.0), (32, 48)),
    ]
    for run, sizes in cases:
        found, values = layout(run, rows)
        assert isinstance(found, Layout)
        assert found.sizes == sizes
        shown = found.to_grid(values)[0, 0, :, sizes[1] // 2]
        wanted = F.adaptive_avg_pool2d(rows, sizes)[0, 0, :, 0]
        inner = slice(1, -1) if sizes == (16, 24) else slice(None)
        torch.testing.assert_close(shown[inner], wanted[inner])


def test_an_odd_side_padded_to_an_even_one_is_halved_without_a_margin() -> None:
    """As patches are merged: every phase has the whole grid, and so have they together."""

    def merged(x: Tensor) -> Tensor:
        x = F.pad(x, (0, 1, 0, 1))
        return torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)

    found, _ = layout(merged)
    assert isinstance(found, Layout)
    assert (found.sizes, found.margins) == ((3, 4), ())


def test_a_skip_connection_overrides_padding_to_its_size() -> None:
    def run(x: Tensor) -> Tensor:
        coarse = F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0)
        return torch.cat([x, F.pad(coarse, (0, 1, 0, 1))], 1)

    found, values = layout(run)
    assert isinstance(found, Layout)
    torch.testing.assert_close(found.to_grid(values)[:, :3], PICTURE)


def test_a_part_that_holds_padding_alone_is_no_grid() -> None:
    found, _ = layout(lambda x: F.pad(x, (0, 0, 0, 9))[:, :, 6:])
    assert "only some" in str(found)


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x.permute(0, 2, 3, 1)[..., None].expand(-1, -1, -1, -1, 4) * 1,
        lambda x: x[:, :, None].expand(-1, -1, 4, -1, -1) * 1,
    ],
)
def test_heads_are_not_channels(run: Callable[[Tensor], Tensor]) -> None:
    found, _ = layout(run)
    assert "as heads and groups have" in str(found)


def test_windows_that_are_pooled_come_together() -> None:
    """Pooling inside of windows, as the queries of hierarchical transformers are pooled."""

    def run(x: Tensor) -> Tensor:
        windows = x.unflatten(2, (2, 4)).unflatten(4, (3, 4)).permute(0, 2, 4, 1, 3, 5)
        pooled = F.max_pool2d(windows.reshape(-1, 3, 4, 4), 2)
        return pooled.view(2, 2, 3, 3, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 4, 6)

    x = torch.rand(2, 3, 8, 12)
    found, values = layout(run, x)
    assert isinstance(found, Layout)
    torch.testing.assert_close(found.to_grid(values), F.max_pool2d(x, 2))


def test_tables_are_rows_of_channels() -> None:
    table, why = torch.rand(2, 5), "unknown"
    assert reading((2, 4, 6), why, [table]) == channels_first((2, 4, 6))
    assert reading((2, 4, 6), why, [PICTURE]) == why
    assert reading((2, 4, 6), channels_last((2, 4, 6)), [PICTURE]) == channels_last((2, 4, 6))
