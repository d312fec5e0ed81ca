"""Features: their masks, range by range, and the distribution of their effects."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.methods._perturbation.features import Features, MaskSubset, Steps, Windows
from torchattr.methods._perturbation.segments import Segments, as_segments


def every_mask(features: Features, position: int, step: int) -> Tensor:
    parts = []
    for start in range(0, len(features), step):
        stop = min(start + step, len(features))
        mask = features.masks(start, stop)[position]
        parts += [False] * (stop - start) if mask is None else list(mask)
    return torch.stack([torch.as_tensor(part).expand(2, 6) for part in parts])


def test_masks_do_not_depend_on_the_range() -> None:
    x, y = torch.zeros(2, 6), torch.zeros(2, 6)
    for features in (
        as_segments(
            Inputs(
                (
                    x,
                    y,
                ),
                True,
            ),
            None,
        ),
        Segments([x.shape, y.shape], [torch.arange(6) // 2, torch.arange(12).reshape(2, 6) - 3]),
        Windows([x, y], [(4,), (2,)], [(1,), (2,)]),
    ):
        for position in range(2):
            whole = every_mask(features, position, len(features))
            for step in (1, 2, 5):
                assert torch.equal(every_mask(features, position, step), whole)


def test_single_elements_cover_each_element_once() -> None:
    features = as_segments(Inputs((torch.zeros(2, 6), torch.zeros(2, 2, 3)), True), None)
    assert len(features) == 12
    first, second = features.masks(0, 12)
    assert first is not None
    assert second is not None
    assert torch.equal(first.sum(0), torch.ones(1, 6))
    assert torch.equal(second.sum(0), torch.ones(1, 2, 3))
    assert features.masks(6, 8)[0] is None


def test_numbers_are_shared_between_inputs() -> None:
    shapes = [torch.Size([2, 3]), torch.Size([2, 2])]
    features = Segments(shapes, [torch.tensor([[-1, 50, 50]]), torch.tensor([[50, 7]])])
    assert len(features) == 3
    assert not features.per_example
    first, second = features.masks(2, 3)
    assert first is not None
    assert second is not None
    assert first.squeeze().tolist() == [False, True, True]
    assert second.squeeze().tolist() == [True, False]


def test_values_are_spread_for_each_row_and_target() -> None:
    effects = torch.arange(24.0).reshape(3, 2, 4)
    shape = torch.Size([2, 2, 3])
    segments = torch.tensor([0, 2, 1])
    (found,) = Segments([shape], [segments]).to_elements(effects)
    assert found.shape == (2, 4, 2, 3)
    assert torch.equal(found[1, 3, 0], effects[segments, 1, 3])
    own = torch.tensor([[0, 2, 1], [1, 1, 2]])[:, None]
    features = Segments([shape], [own])
    assert features.per_example
    (found,) = features.to_elements(effects)
    assert found.shape == (2, 4, 2, 3)
    assert torch.equal(found[1, 3, 1], effects[own[1, 0], 1, 3])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_windows_cover_everything_and_end_with_the_input(
    extent: int, width: int, step: int
) -> None:
    width = min(width, extent)
    step = min(step, width)
    found = Steps(extent, width, step).slices
    assert {i for box in found for i in range(box.start, box.stop)} == set(range(extent))
    assert [box.start for box in found] == [i * step for i in range(len(found))]
    assert found[-1].stop == extent
    assert all(box.stop < extent for box in found[:-1])


def test_overlapping_windows_are_averaged() -> None:
    x = torch.zeros(1, 4)
    features = Windows([x], [(3,)], [(1,)])
    (found,) = features.to_elements(torch.tensor([[[2.0]], [[6.0]]]))
    assert found.tolist() == [[[2.0, 4.0, 4.0, 6.0]]]


@given(
    st.lists(
        st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=3
    ),
    st.integers(0, 2**16),
)
def test_elements_get_the_mean_of_the_windows_that_cover_them(
    drawn: list[tuple[int, int, int]], seed: int
) -> None:
    """Bit for bit what adding window by window gives, in the order of the windows."""
    sides = [(extent, min(width, extent), step) for extent, width, step in drawn]
    sides = [(extent, width, min(step, width)) for extent, width, step in sides]
    shape, size, stride = zip(*sides, strict=True)
    x = torch.zeros(2, *shape)
    windows = Windows([x], [size], [stride])
    generator = torch.Generator().manual_seed(seed)
    effects = torch.randn(len(windows), 2, 3, generator=generator)
    effects[seed % len(windows), 0, 0] = torch.inf
    total, count = torch.zeros(2, 3, *shape), torch.zeros(shape)
    (masks,) = windows.masks(0, len(windows))
    assert masks is not None
    for effect, mask in zip(effects, masks.expand(-1, 1, *shape), strict=True):
        total[:, :, mask[0]] += effect[:, :, None]
        count += mask[0]
    (found,) = windows.to_elements(effects)
    assert torch.equal(found, total / count)
    slices = itertools.product(*(Steps(*one).slices for one in sides))
    for mask, window in zip(masks.expand(-1, 1, *shape), slices, strict=True):
        expected = torch.zeros(shape, dtype=torch.bool)
        expected[window] = True
        assert torch.equal(mask[0], expected)


def test_boxes_of_some_masks_are_those_of_each() -> None:
    x, y = torch.zeros(2, 1, 5, 6), torch.zeros(2, 3, 4, 4)
    shapes = [x.shape, y.shape]
    parts = [torch.arange(30).reshape(1, 1, 5, 6) // 4, torch.arange(16).reshape(1, 1, 4, 4) - 3]
    for features in (
        Windows([x, y], [(1, 2, 3), (3, 2, 2)], [(1, 2, 2), (1, 1, 2)]),
        Segments(shapes, parts),
    ):
        numbers = np.arange(0, len(features), 3)
        for masks in (features, MaskSubset(features, slice(0, 2))):
            found = masks.boxes_at(numbers, shapes)
            for position, boxes in enumerate(found):
                assert boxes is not None
                single = [masks.boxes(int(n), int(n) + 1, shapes)[position] for n in numbers]
                tables = [one.table[:, :5] for one in single if one is not None]
                assert np.array_equal(boxes.table[:, :5], np.concatenate(tables))
