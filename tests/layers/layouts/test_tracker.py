"""How the values of layers are laid out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattr.layers import Layout
from torchattr.layers.layouts.layout import channels_first, channels_last
from torchattr.layers.layouts.tracker import LayoutTracker


def layout(run: Callable[..., Tensor], *inputs: Tensor) -> Layout | str:
    tracker = LayoutTracker(inputs)
    with tracker:
        result = run(*inputs)
    return tracker.layout(result)


def kind(run: Callable[..., Tensor], *inputs: Tensor) -> str:
    found = layout(run, *inputs)
    return found.kind if isinstance(found, Layout) else found


PICTURE = torch.rand(2, 3, 4, 6)


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        (lambda x: x + 1, "channels first"),
        (lambda x: x.permute(0, 2, 3, 1), "channels last"),
        (tokens, "tokens"),
        (lambda x: tokens(x).transpose(0, 1), "tokens"),
        (lambda x: x.flatten(2), "tokens"),
        (lambda x: x.mean((2, 3)), "not spatial"),
        (lambda x: x.mean((2, 3), keepdim=True), "channels first"),
    ],
)
def test_kinds(run: Callable[[Tensor], Tensor], wanted: str) -> None:
    assert kind(run, PICTURE) == wanted


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda x: x.flatten(0, 1), "not the batch"),
        (lambda x: x.unflatten(3, (2, 3)).permute(3, 0, 1, 2, 4).flatten(0, 1), "not the batch"),
        (lambda x: x[[1, 0]], "which of its dimensions is the batch"),
        (lambda x: torch.cat([x, x]), "which of its dimensions is the batch"),
        (lambda x: x.sum(0), "which of its dimensions is the batch"),
        (lambda x: x.flip(2), "positions were moved"),
        (lambda x: x.roll(1, 3), "positions were moved"),
        (lambda x: torch.cat([x, x], 2), "only some"),
        (lambda x: x.sort(2)[0], "only some"),
        (lambda x: tokens(x) @ tokens(x).mT, "several of its dimensions"),
        (lambda x: x @ x.mT, "several of its dimensions"),
        (lambda x: x.mT.flatten(2), "row-major order"),
        (lambda x: x.unflatten(3, (2, 3)), "several of its dimensions"),
    ],
)
def test_reasons(run: Callable[[Tensor], Tensor], reason: str) -> None:
    assert reason in str(layout(run, PICTURE))


def test_what_was_not_seen_is_not_known() -> None:
    assert "unknown how its values" in str(layout(lambda x: torch.rand(2, 3), PICTURE))


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (0, 2), (3, 1)])
def test_tokens_beside_the_grid(before: int, after: int) -> None:
    def run(x: Tensor) -> Tensor:
        extra = torch.zeros(1, 1, 3)
        parts = [extra.expand(2, before, 3), tokens(x), extra.expand(2, after, 3)]
        return torch.cat(parts, 1) * 1

    found = layout(run, PICTURE)
    assert isinstance(found, Layout)
    assert (found.before, found.after, found.sizes) == (before, after, (4, 6))
    torch.testing.assert_close(found.to_grid(run(PICTURE)), PICTURE)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 0, 3), (3, 2, 1, 0)])
def test_grids_come_back_from_any_order(order: tuple[int, ...]) -> None:
    found = layout(lambda x: x.permute(order) * 1, PICTURE)
    assert isinstance(found, Layout)
    torch.testing.assert_close(found.to_grid(PICTURE.permute(order)), PICTURE)


def test_two_inputs_with_the_same_places_are_aligned() -> None:
    other = torch.rand(2, 1, 4, 6)
    assert kind(lambda x, y: x + y, PICTURE, other) == "channels first"
    smaller = torch.rand(2, 3, 2, 2)
    assert kind(lambda x, y: y * 2, PICTURE, smaller) == "channels first"
    mixed = layout(lambda x, y: torch.einsum("ncyx,ncab->nya", x, y), PICTURE, smaller)
    assert "several of its dimensions" in str(mixed)


def test_a_convolution_shows_which_dimensions_are_spatial() -> None:
    """After a function that cannot be intercepted they are known again."""
    net = nn.Conv2d(3, 5, 1)

    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.from_numpy(x.numpy() * 2)

    assert "unknown" in str(layout(lambda x: Hidden.apply(x), PICTURE))
    assert kind(lambda x: net(Hidden.apply(x)), PICTURE) == "channels first"


def test_queries_keys_and_values_are_told_from_tokens() -> None:
    tracker = LayoutTracker([PICTURE])
    with tracker:
        split, kept = (tokens(PICTURE).repeat(1, 1, 3) for _ in range(2))
    found, other = tracker.layout(split), tracker.layout(kept)
    with tracker:
        split.reshape(2, 24, 3, 3).unbind(2)
        kept.mean(1)
    assert isinstance(found, Layout)
    assert isinstance(other, Layout)
    assert found.splits_channels
    assert not other.splits_channels


def test_layouts_by_name() -> None:
    values = torch.rand(2, 3, 4, 5)
    assert channels_first(values.shape).to_grid(values).shape == (2, 3, 4, 5)
    assert channels_last(values.shape).to_grid(values).shape == (2, 5, 3, 4)
    assert channels_first((2, 3)).to_grid(torch.rand(2, 3)).shape == (2, 3)


def test_models_that_change_tensors_in_place() -> None:
    def run(x: Tensor) -> Tensor:
        h = x * 1
        h.transpose_(1, 3)
        h.add_(1).relu_()
        h[:, 1:] = 0
        return h

    found = layout(run, PICTURE)
    assert isinstance(found, Layout)
    torch.testing.assert_close(found.to_grid(PICTURE.transpose(1, 3)), PICTURE)
