"""Grad-CAM: the right map of each layout, or a refusal."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import (
    Block,
    Net,
    ToGrid,
    cam,
    channels_first,
    channels_last,
    conv,
    head,
    patchify,
    pictures,
    pooled,
    through,
    tokens,
    vit,
    windowed,
    with_heads,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattr as ta


def written(values: Tensor, key: Any, into: Tensor | None = None) -> Tensor:
    """Write values into a tensor, by default a new one."""
    target = torch.empty_like(values) if into is None else into
    target[key] = values
    return target


SHAPES = [(2, 3, 8, 12), (1, 3, 8, 8), (8, 3, 8, 8), (1, 3, 8, 12)]
"""Including one example, squares, and as many examples as channels or pixels."""


def check(net: nn.Module, layer: str, inputs: Any, to_grid: ToGrid) -> None:
    found = ta.GradCAM(net, layer).attribute(inputs, target=1)
    torch.testing.assert_close(found, cam(net, layer, inputs, to_grid), rtol=0, atol=1e-13)


def refusal(net: nn.Module, layer: str, inputs: Any, **options: Any) -> str:
    with pytest.raises(ta.LayerError) as error:
        ta.GradCAM(net, layer, **options).attribute(inputs, target=1)
    return str(error.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_channels_last(shape: tuple[int, ...]) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        h = F.gelu(net.linear(net.first(x).permute(0, 2, 3, 1)))
        return net.head(net.last(h).mean((1, 2)))

    net = Net(run, first=conv(), linear=nn.Linear(8, 8), last=nn.LayerNorm(8), head=head())
    check(net, "last", pictures(*shape), channels_last)


@pytest.mark.parametrize("shape", [*SHAPES, (24, 3, 8, 12), (25, 3, 8, 12), (2, 3, 4, 8)])
@pytest.mark.parametrize(
    ("before", "after", "pool"), [(0, 0, "mean"), (1, 0, "class"), (4, 0, "mean"), (0, 1, "last")]
)
def test_tokens(shape: tuple[int, ...], before: int, after: int, pool: str) -> None:
    grid = tokens(shape[2] // 2, shape[3] // 2, before, after)
    check(vit(before, after, pool=pool), "blocks.0", pictures(*shape), grid)


@pytest.mark.parametrize("shape", [*SHAPES, (24, 3, 8, 12)])
def test_tokens_before_the_batch(shape: tuple[int, ...]) -> None:
    grid = tokens(shape[2] // 2, shape[3] // 2, 1)
    net = vit(1, batch_first=False)
    check(net, "blocks.1", pictures(*shape), lambda values: grid(values.transpose(0, 1)))


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 3, 8, 8), (2, 3, 4, 4), (4, 3, 4, 4)])
@pytest.mark.parametrize(
    "kind", ["reshape", "unfold", "Tensor.unfold", "slices", "unflatten", "pixel_unshuffle"]
)
def test_patches(kind: str, shape: tuple[int, ...]) -> None:
    grid = tokens(shape[2] // 2, shape[3] // 2)
    check(patchify(kind), "last", pictures(*shape), grid)


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 3, 8, 8), (1, 3, 4, 4), (4, 3, 8, 8)])
@pytest.mark.parametrize("shift", [0, 2])
def test_windows_are_put_together(shape: tuple[int, ...], shift: int) -> None:
    check(windowed(shift), "last", pictures(*shape), channels_last)


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 3, 8, 8), (4, 3, 8, 8)])
def test_a_window_is_no_picture(shape: tuple[int, ...]) -> None:
    assert "not the batch" in refusal(windowed(), "block", pictures(*shape))


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 3, 4, 4), (4, 3, 4, 4), (2, 3, 4, 8)])
def test_attention_weights_are_no_picture(shape: tuple[int, ...]) -> None:
    net = with_heads()
    refusal(net, "weights", pictures(*shape))
    check(net, "last", pictures(*shape), tokens(shape[2] // 2, shape[3] // 2))


def reversed_list(net: Any, x: Tensor) -> Tensor:
    return net.first(x[:, [2, 1, 0]])


CHANGES = {
    "list of channels": reversed_list,
    "tensor of channels": lambda net, x: net.first(x[:, torch.tensor([2, 1, 0])]),
    "array of channels": lambda net, x: net.first(x[..., np.array([2, 1, 0]), :, :]),
    "index_select": lambda net, x: net.first(x.index_select(1, torch.tensor([2, 1, 0]))),
    "flipped channels": lambda net, x: net.first(x.flip(1)),
    "repeat": lambda net, x: net.first(x[:, :1].repeat(1, 3, 1, 1)),
    "tile": lambda net, x: net.first(x[:, :1].tile(3, 1, 1)),
    "repeat_interleave": lambda net, x: net.first(x[:, :1].repeat_interleave(3, 1)),
    "enlarged": lambda net, x: net.first(x.repeat_interleave(2, 2).repeat_interleave(2, dim=3)),
    "sorted channels": lambda net, x: net.first(x).sort(1)[0],
    "top channels": lambda net, x: net.first(x).topk(8, 1)[0],
    "gated": lambda net, x: F.glu(torch.cat([net.first(x)] * 2, 1), 1),
    "maxout": lambda net, x: torch.stack([net.first(x), -net.first(x)], 2).amax(2),
    "fourier": lambda net, x: torch.fft.irfft2(torch.fft.rfft2(net.first(x)), s=x.shape[2:]),
    "fourier along one": lambda net, x: torch.fft.irfft(
        torch.fft.rfft(net.first(x), dim=2), n=x.shape[2], dim=2
    ),
    "fourier shifted": lambda net, x: torch.fft.ifft2(
        torch.fft.ifftshift(torch.fft.fftshift(torch.fft.fft2(net.first(x))))
    ).abs(),
    "unfold and fold": lambda net, x: F.fold(
        F.unfold(net.first(x), 2, stride=2), x.shape[2:], 2, stride=2
    ),
    "shuffled channels": lambda net, x: (
        net.first(x).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)
    ),
    "flipped and back": lambda net, x: net.first(x) + net.first(x.flip(3)).flip(3),
    "pixel shuffle": lambda net, x: net.first(F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2)),
    "running sum": lambda net, x: net.first(x).cumsum(3),
    "padded and cropped": lambda net, x: F.pad(net.first(x), (1, 0, 0, 1))[:, :, :-1, 1:],
    "padded for a convolution": lambda net, x: net.first(F.pad(x, (1, 1, 1, 1)))[:, :, 1:-1, 1:-1],
    "written": lambda net, x: written(net.first(x), ...),
    "written over": lambda net, x: written(net.first(x), ..., into=net.first(x) + 1),
    "copied": lambda net, x: net.first(x).new_zeros(len(x), 8, *x.shape[2:]).copy_(net.first(x)),
}


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 3, 4, 4), (4, 3, 4, 4)])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_on_the_way(change: str, shape: tuple[int, ...]) -> None:
    check(through(CHANGES[change]), "last", pictures(*shape), channels_first)


def padded(net: Any, x: Tensor) -> Tensor:
    """Pads to whole windows, as detectors and Swin do: far more below and to the right."""
    return F.pad(net.first(x), (1, 6, 0, 9))


def padded_windows(net: Any, x: Tensor) -> Tensor:
    """Attends in padded and shifted windows."""
    h = F.pad(net.first(x).permute(0, 2, 3, 1), (0, 0, 0, 3, 0, 1)).roll((-2, -2), (1, 2))
    n, height, width, channels = h.shape
    h = h.view(n, height // 3, 3, width // 3, 3, channels).transpose(2, 3).reshape(-1, 9, channels)
    h = net.block(h).view(n, height // 3, width // 3, 3, 3, channels).transpose(2, 3)
    return h.reshape(n, height, width, channels).roll((2, 2), (1, 2)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("change", [padded, padded_windows])
def test_padding_is_not_a_part_of_the_map(change: Any) -> None:
    net = through(change, block=Block())
    x = pictures(2, 3, 8, 12)
    before = 1 if change is padded else 0
    check(net, "last", x, lambda values: values[:, :, :8, before : before + 12])


def test_a_picture_that_is_padded_to_a_square() -> None:
    """The grid of patches ends where the picture ends."""

    def run(net: Any, x: Tensor) -> Tensor:
        square = F.pad(x, (0, 24 - x.shape[3], 0, 24 - x.shape[2]))
        return net.head(net.last(net.stem(square).flatten(2).transpose(1, 2)).mean(1))

    net = Net(run, stem=nn.Conv2d(3, 8, 4, 4), last=Block(), head=head())
    x = pictures(2, 3, 8, 12)
    check(net, "stem", x, lambda values: values[:, :, :2, :3])
    check(net, "last", x, lambda values: tokens(6, 6)(values)[:, :, :2, :3])


def test_heads_of_a_grid_are_refused() -> None:
    """Even where the positions are known: heads are not channels."""

    def run(net: Any, x: Tensor) -> Tensor:
        heads = net.norm(net.first(x).permute(0, 2, 3, 1).unflatten(3, (2, 4)))
        return net.head(heads.flatten(3).mean((1, 2)))

    net = Net(run, first=conv(), norm=nn.LayerNorm(4), head=head())
    assert "heads" in refusal(net, "norm", pictures(2, 3, 8, 12))


def warp(net: Any, x: Tensor) -> Tensor:
    turn = torch.tensor([[[0.0, 1, 0], [1, 0, 0]]], dtype=x.dtype).expand(len(x), -1, -1)
    grid = F.affine_grid(turn, list(x.shape), align_corners=False)
    return net.first(F.grid_sample(x, grid, align_corners=False))


LOST = {
    "mirrored": lambda net, x: net.first(x.flip(3)),
    "mirrored both ways": lambda net, x: net.first(x).flip(2, 3),
    "shifted": lambda net, x: net.first(x).roll(2, 3),
    "warped": warp,
    "spectrum": lambda net, x: torch.fft.fft2(net.first(x)).abs(),
    "halves exchanged": lambda net, x: torch.cat([net.first(x)[..., 4:], net.first(x)[..., :4]], 3),
    "written in another order": lambda net, x: written(
        net.first(x), (slice(None), slice(None), torch.arange(x.shape[2] - 1, -1, -1))
    ),
    "written transposed": lambda net, x: written(net.first(x).mT, ..., into=net.first(x) + 1),
    "written in another order, then convolved": lambda net, x: net.second(
        written(net.first(x), (slice(None), slice(None), torch.arange(x.shape[2] - 1, -1, -1)))
    ),
    "examples in another order": lambda net, x: net.first(x)[torch.arange(len(x) - 1, -1, -1)],
    "examples mirrored": lambda net, x: net.first(x).flip(0),
    "examples shifted": lambda net, x: net.first(x).roll(1, 0),
    "pictures of a vector": lambda net, x: net.linear(net.first(x).mean((2, 3))).view(
        len(x), 8, 4, 4
    ),
}


@pytest.mark.parametrize("change", LOST)
def test_lost_places_and_examples_are_refused(change: str) -> None:
    net = through(LOST[change], linear=nn.Linear(8, 128), second=conv(8))
    x = pictures(2, 3, 8, 8)
    assert "layout=" in refusal(net, "last", x)
    forced = ta.GradCAM(net, "last", layout="channels_first").attribute(x, target=1)
    torch.testing.assert_close(forced, cam(net, "last", x, channels_first), rtol=0, atol=1e-13)


@pytest.mark.parametrize("examples", [1, 2, 3])
def test_frames_and_patches_in_the_batch_are_refused(examples: int) -> None:
    def frames(net: Any, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        maps = net.first(x.transpose(1, 2).reshape(n * t, c, h, w))
        return net.head(maps.mean((2, 3)).view(n, t, -1).mean(1))

    def patches(net: Any, x: Tensor) -> Tensor:
        cut = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 4, 4)
        return net.head(net.first(cut).mean((2, 3)).view(len(x), -1, 8).mean(1))

    def pair(net: Any, x: Tensor) -> Tensor:
        one, other = net.first(torch.cat([x, x.flip(3)])).chunk(2)
        return pooled(net, one + other.flip(3))

    for run, shape in [(frames, (3, 4, 8, 8)), (patches, (3, 8, 8)), (pair, (3, 8, 8))]:
        refusal(Net(run, first=conv(), head=head()), "first", pictures(examples, *shape))


def test_only_the_calls_that_count_are_read() -> None:
    net = Net(
        lambda net, x: pooled(net, net.first(x) + net.first(x.flip(3)).flip(3)),
        first=conv(),
        head=head(),
    )
    x = pictures(2, 3, 8, 12)
    found = ta.GradCAM(net, "first", calls="first").attribute(x, target=1)
    torch.testing.assert_close(found, cam(net, "first", x, channels_first, call=0))
    assert "moved" in refusal(net, "first", x, calls="last")


def test_pictures_and_tables_in_any_order() -> None:
    def run(net: Any, picture: Tensor, table: Tensor) -> Tensor:
        return pooled(net, net.last(net.first(picture) * net.table(table)[..., None, None]))

    parts = {"first": conv(), "table": nn.Linear(5, 8), "last": nn.BatchNorm2d(8), "head": head()}
    given = pictures(2, 3, 8, 12), pictures(2, 5)
    check(Net(run, **parts), "last", given, channels_first)
    check(Net(lambda net, t, p: run(net, p, t), **parts), "last", given[::-1], channels_first)


@pytest.mark.parametrize("other", [(2, 3, 8, 12), (2, 3, 6, 6)])
def test_two_pictures(other: tuple[int, ...]) -> None:
    net = Net(
        lambda net, x, y: net.head(net.first(x).mean((2, 3)) + net.second(y).mean((2, 3))),
        first=conv(),
        second=conv(),
        head=head(),
    )
    for layer in ("first", "second"):
        check(net, layer, (pictures(2, 3, 8, 12), pictures(*other)), channels_first)


class Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x > 0)


def test_functions_of_the_users() -> None:
    net = through(lambda net, x: net.second(Rectify.apply(net.first(x))), second=conv(8))
    check(net, "last", pictures(2, 3, 8, 12), channels_first)


def test_layers_inside_checkpoints() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        inside = lambda h: net.last(net.second(h))  # noqa: E731
        return pooled(net, checkpoint(inside, net.first(x), use_reentrant=False))

    net = Net(run, first=conv(), second=conv(8), last=nn.BatchNorm2d(8), head=head())
    for layer in ("first", "second", "last"):
        check(net, layer, pictures(2, 3, 8, 12), channels_first)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("layer", ["first", "second"])
def test_reentrant_checkpoints_are_refused_with_the_way_out(layer: str) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return pooled(net, checkpoint(net.second, net.first(x), use_reentrant=True))

    net = Net(run, first=conv(), second=conv(8), head=head())
    with pytest.raises(ta.DisconnectedError, match="use_reentrant"):
        ta.GradCAM(net, layer).attribute(pictures(2, 3, 8, 12), target=1)


@dataclass
class Pyramid:
    low: Tensor
    high: Tensor
    note: str = "two levels"


class Backbone(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.low, self.high = conv(), nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x: Tensor) -> Any:
        low = self.low(x).relu()
        high = self.high(low).relu()
        forms = {
            "dict": {"low": low, "high": high},
            "dataclass": Pyramid(low, high),
            "nested": {"low": [low, None], "high": ({"z": high},)},
        }
        return forms[self.form]


READ = {
    "dict": lambda given: (given["low"], given["high"]),
    "dataclass": lambda given: (given.low, given.high),
    "nested": lambda given: (given["low"][0], given["high"][0]["z"]),
}
MADE = {
    "dict": lambda low, high: {"low": low, "high": high},
    "dataclass": lambda low, high: {"low": low, "high": high},
    "nested": lambda low, high: {"low": (low,), "high": ({"z": high},)},
}


@pytest.mark.parametrize("calls", ["last", "sum", "each"])
@pytest.mark.parametrize("form", READ)
def test_layers_that_give_several_values(form: str, calls: Any) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return net.head(sum(one.mean((2, 3)) for one in READ[form](net.backbone(x))))

    net = Net(run, backbone=Backbone(form), head=head())
    x = pictures(2, 3, 8, 12)
    low, high = net.backbone.low(x).relu().detach(), None
    low.requires_grad_()
    high = net.backbone.high(low).relu()
    scores = net.head(low.mean((2, 3)) + high.mean((2, 3)))[:, 1].sum()
    gradients = torch.autograd.grad(scores, [low, high])
    maps = [
        (gradient.mean((2, 3), keepdim=True) * value).sum(1, keepdim=True).detach()
        for value, gradient in zip((low, high), gradients, strict=True)
    ]
    found = ta.GradCAM(net, "backbone", calls=calls).attribute(x, target=1)
    wanted = MADE[form](*maps)
    torch.testing.assert_close(found, (wanted,) if calls == "each" else wanted)


def test_models_in_other_wrappers() -> None:
    net = through(lambda net, x: net.first(x).relu())
    x = pictures(2, 3, 8, 12)
    wanted = cam(net, "last", x, channels_first)
    for model in (lambda z: net(z), torch.compile(net, backend="eager"), nn.DataParallel(net)):
        found = ta.GradCAM(model, net.last).attribute(x, target=1)
        torch.testing.assert_close(found, wanted)


def test_a_block_says_nothing_of_another_input() -> None:
    """Values that have an input's spatial size only by chance are not read as a map of it."""
    net = Net(
        lambda net, x: net.head(
            net.last(net.first(x).flatten(2).sort(2)[0].transpose(1, 2)).mean(1)
        ),
        first=conv(),
        last=Block(),
        head=head(),
    )
    refusal(net, "last", pictures(2, 3, 4, 4))


def test_uses_inside_a_layer_count() -> None:
    """A value computed from another one inside the layer: with other methods or alone."""

    def run(net: Any, x: Tensor) -> Tensor:
        return net.head(sum(one.mean((2, 3)) for one in net.backbone(x).values()))

    net = Net(run, backbone=Backbone("dict"), head=head())
    x = pictures(2, 3, 8, 12)
    alone = ta.GradCAM(net, "backbone").attribute(x, target=1)
    together = ta.explain(net, x, ["saliency", "grad_cam"], ta.Classes([1]), layer="backbone")
    torch.testing.assert_close(alone["low"], together["grad_cam"]["low"][:, 0])


def test_values_that_a_hook_keeps() -> None:
    """The skip connections of some U-Nets are outputs of the encoder that hooks keep."""
    kept: list[Tensor] = []

    def run(net: Any, x: Tensor) -> Tensor:
        kept.clear()
        deep = F.interpolate(F.max_pool2d(net.second(net.first(x)), 2), scale_factor=2.0)
        return pooled(net, net.third(torch.cat([deep, kept[0]], 1)))

    net = Net(run, first=conv(), second=conv(8), third=conv(16), head=head())
    net.first.register_forward_hook(lambda module, given, output: kept.append(output))
    check(net, "first", pictures(2, 3, 8, 12), channels_first)
