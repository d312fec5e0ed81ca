"""Convolutions, pools, norms and products, however spelled: the gradient is PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, autograd, noise, seeded, weighted
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import Trace

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

aten = torch.ops.aten

SHAPES = {1: (2, 4, 13), 2: (2, 4, 13, 10), 3: (2, 4, 7, 6, 9)}

Case = tuple[str, str, Callable[[Tensor], Tensor], tuple[int, ...]]


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


CONVOLUTIONS = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1},
    "dilated": {"dilation": 2, "padding": 2},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 4, "padding": 1},
    "same": {"padding": "same"},
    "same dilated": {"padding": "same", "dilation": 2},
    "valid": {"padding": "valid", "stride": 2},
    "no bias": {"bias": False},
    **{mode: {"padding": 1, "padding_mode": mode} for mode in ("reflect", "circular")},
}
TRANSPOSED = {
    "plain": {},
    "output padding": {"stride": 3, "padding": 1, "output_padding": 1},
    "grouped dilated": {"groups": 2, "dilation": 2, "stride": 2},
}


def convolutions() -> Iterator[Case]:
    for dims, shape in SHAPES.items():
        forward = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        backward = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
        for kernel in (3, 2):
            for name, settings in CONVOLUTIONS.items():
                layer = seeded(forward, 4, 4, kernel, **settings).double()
                yield f"conv{dims}d {kernel} {name}", "conv", layer, shape
        for name, settings in TRANSPOSED.items():
            layer = seeded(backward, 4, 4, 3, **settings).double()
            yield f"conv_transpose{dims}d {name}", "conv", layer, shape


W = noise(6, 4, 3, 2, seed=2)
V = noise(4, 3, 3, 2, seed=3)
B = noise(6, seed=4)
M = noise(5, 10, seed=5)
B5 = noise(5, seed=6)
SCALE, SHIFT = noise(4, seed=7), noise(4, seed=8)
MEAN, VAR = noise(4, seed=9), noise(4, seed=10).abs() + 0.3
A = (2, 4, 13, 10)


def asymmetric() -> Iterator[Case]:
    stride, padding, dilation = (3, 1), (2, 0), (1, 3)
    spelled: dict[str, Callable[[Tensor], Tensor]] = {
        "F.conv2d": lambda x: F.conv2d(x, W, B, stride, padding, dilation),
        "by keyword": lambda x: F.conv2d(
            weight=W, input=x, stride=stride, padding=padding, dilation=dilation
        ),
        "aten.conv2d": lambda x: aten.conv2d(x, W, B, stride, padding, dilation),
        "aten.conv2d.padding": lambda x: aten.conv2d.padding(x, W, B, [1, 1], "same", dilation),
        "torch.convolution": lambda x: torch.convolution(
            x, W, B, stride, padding, dilation, False, (0, 0), 1
        ),
        "aten.convolution": lambda x: aten.convolution.default(
            x, W, None, stride, padding, dilation, False, (0, 0), 1
        ),
        "aten.convolution transposed": lambda x: aten.convolution.default(
            x, V, None, stride, padding, dilation, True, (1, 0), 1
        ),
        "F.conv_transpose2d": lambda x: F.conv_transpose2d(
            x, V, None, stride, padding, (2, 0), 1, dilation
        ),
        "aten.conv_transpose2d": lambda x: aten.conv_transpose2d(x, V, None, stride, padding),
    }
    for name, function in spelled.items():
        yield f"{name} asymmetric", "conv", function, A


def products() -> Iterator[Case]:
    spelled: dict[str, Callable[[Tensor], Tensor]] = {
        "F.linear": lambda x: F.linear(x, M, B5),
        "without bias": lambda x: F.linear(x, M),
        "aten.linear": lambda x: aten.linear(x, M, B5),
    }
    for name, function in spelled.items():
        yield name, "linear", function, (3, 10)
        yield f"{name} of a sequence", "linear", function, (3, 2, 4, 10)
    yield "aten.addmm", "linear", lambda x: aten.addmm.default(B5, x, M.t()), (3, 10)


WINDOWS = {
    "plain": (2,),
    "overlapping": (3, 2, 1),
    "dilated": (2, 1, 1, 2),
    "ceil": (3, 2, 0, 1, True),
    "ceil padded dilated": (3, 3, 1, 2, True),
}


def max_pools() -> Iterator[Case]:
    for dims, shape in SHAPES.items():
        plain = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
        for name, window in WINDOWS.items():
            yield (
                f"F.max_pool{dims}d {name}",
                "max_pool",
                lambda x, f=plain, w=window: f(x, *w),
                shape,
            )
            yield (
                f"F.max_pool{dims}d {name} return_indices",
                "max_pool",
                lambda x, f=plain, w=window: first(f(x, *w, return_indices=True)),
                shape,
            )
    window = ([3, 2], [2, 3], [1, 0], [2, 1], True)
    spelled: dict[str, Callable[[Tensor], Tensor]] = {
        "nn.MaxPool2d": nn.MaxPool2d(*window[:4], ceil_mode=True),
        "torch.max_pool2d": lambda x: torch.max_pool2d(x, *window),
        "aten.max_pool2d": lambda x: aten.max_pool2d(x, *window),
        "aten.max_pool2d_with_indices": lambda x: aten.max_pool2d_with_indices(x, *window)[0],
        "no stride": lambda x: aten.max_pool2d.default(x, [3, 2]),
        "empty stride": lambda x: aten.max_pool2d_with_indices.default(x, [3, 2], [])[0],
    }
    for name, function in spelled.items():
        yield f"{name} asymmetric", "max_pool", function, A
    yield (
        "torch.max_pool1d_with_indices",
        "max_pool",
        lambda x: torch.max_pool1d_with_indices(x, 3, 2)[0],
        SHAPES[1],
    )


def average_pools() -> Iterator[Case]:
    for dims, shape in SHAPES.items():
        average = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
        for name, window in {
            "plain": (2,),
            "padded": (3, 2, 1),
            "ceil": (3, 2, 1, True),
            "without pad": (3, 2, 1, True, False),
        }.items():
            yield (
                f"F.avg_pool{dims}d {name}",
                "avg_pool",
                lambda x, f=average, w=window: f(x, *w),
                shape,
            )
        adaptive = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[dims - 1]
        largest = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[dims - 1]
        for size in (1, 3, 5):
            yield (
                f"F.adaptive_avg_pool{dims}d {size}",
                "adaptive_avg_pool",
                lambda x, f=adaptive, s=size: f(x, s),
                shape,
            )
            yield (
                f"F.adaptive_max_pool{dims}d {size}",
                "adaptive_max_pool",
                lambda x, f=largest, s=size: f(x, s),
                shape,
            )
    yield "divisor", "avg_pool", lambda x: F.avg_pool2d(x, (3, 2), divisor_override=4), A
    yield "aten.avg_pool2d", "avg_pool", lambda x: aten.avg_pool2d.default(x, [3, 2], [2, 1]), A
    yield "larger output", "adaptive_avg_pool", nn.AdaptiveAvgPool2d((15, 7)), A
    yield "one size kept", "adaptive_avg_pool", nn.AdaptiveAvgPool2d((None, 3)), A
    yield (
        "aten._adaptive_avg_pool2d",
        "adaptive_avg_pool",
        lambda x: aten._adaptive_avg_pool2d.default(x, [3, 2]),
        A,
    )
    yield (
        "adaptive return_indices",
        "adaptive_max_pool",
        lambda x: first(F.adaptive_max_pool2d(x, (3, 2), return_indices=True)),
        A,
    )
    yield (
        "aten.adaptive_max_pool2d",
        "adaptive_max_pool",
        lambda x: aten.adaptive_max_pool2d(x, [3, 2])[0],
        A,
    )


def norms() -> Iterator[Case]:
    statistics = (MEAN, VAR, SCALE, SHIFT)
    parameters = (SCALE, SHIFT, MEAN, VAR)
    spelled: dict[str, Callable[[Tensor], Tensor]] = {
        "F.batch_norm": lambda x: F.batch_norm(x, *statistics, eps=1e-3),
        "without parameters": lambda x: F.batch_norm(x, MEAN, VAR),
        "torch.batch_norm": lambda x: torch.batch_norm(x, *parameters, False, 0.1, 1e-3, False),
        "aten.batch_norm": lambda x: aten.batch_norm(x, *parameters, False, 0.1, 1e-3, False),
        "aten.no_training": lambda x: aten._native_batch_norm_legit_no_training(
            x, *parameters, 0.1, 1e-3
        )[0],
        "torch.native_batch_norm": lambda x: torch.native_batch_norm(
            x, *parameters, False, 0.1, 1e-3
        )[0],
    }
    for name, function in spelled.items():
        yield name, "batch_norm", function, A
    for dims, shape in SHAPES.items():
        layer = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1]
        yield f"nn.BatchNorm{dims}d", "batch_norm", seeded(layer, 4).double(), shape
    yield "nn.BatchNorm1d of rows", "batch_norm", seeded(nn.BatchNorm1d, 4).double(), (5, 4)


CASES = [*convolutions(), *asymmetric(), *products(), *max_pools(), *average_pools(), *norms()]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("operation", "function", "shape"),
    [case[1:] for case in CASES],
    ids=[f"{case[1]}: {case[0]}" for case in CASES],
)
def test_gradient(
    operation: str, function: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    x = noise(*shape)
    coverage = Trace(function, (x,)).coverage
    assert coverage.calls[operation] == 1
    assert not coverage.own
    result = ta.Saliency(function).attribute(x, target=weighted, abs=False)
    assert_same(result, autograd(function, x, weighted), 1e-12)


def test_the_model_reads_the_right_indices() -> None:
    def there_and_back(x: Tensor) -> Tensor:
        values, indices = F.max_pool2d(x, 3, 2, return_indices=True)
        return F.max_unpool2d(values, indices, 3, 2, output_size=x.shape[-2:])

    x = noise(2, 3, 9, 7)
    result = ta.Saliency(there_and_back).attribute(x, target=weighted, abs=False)
    assert_same(result, autograd(there_and_back, x, weighted), 1e-12)
    assert_same(Trace(there_and_back, (x,)).output.detach(), there_and_back(x))


@pytest.mark.parametrize(
    "merge",
    [
        lambda x: torch.cat([x, 2 * x, x], 1),
        lambda x: torch.cat((x, x * x), dim=-1),
        lambda x: torch.add(x, x * x, alpha=3),
        lambda x: x.add_(x * 2),
        lambda x: x + 1.5,
    ],
    ids=["cat", "cat of a tuple", "add with alpha", "add_", "add a number"],
)
def test_merges_keep_their_gradient(merge: Callable[[Tensor], Tensor]) -> None:
    x = noise(2, 3, 5)
    result = ta.Saliency(merge).attribute(x, target=weighted, abs=False)
    assert_same(result, autograd(merge, x, weighted), 1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.LayerNorm(6),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.InstanceNorm1d(4, affine=True),
        lambda: nn.BatchNorm1d(4, track_running_stats=False),
        lambda: nn.MultiheadAttention(6, 2, batch_first=True),
        lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
        lambda: nn.LSTM(6, 5, batch_first=True),
        lambda: nn.GRU(6, 5, num_layers=2, batch_first=True, bidirectional=True),
        lambda: nn.LPPool1d(2, 2),
        lambda: nn.Bilinear(6, 6, 3),
        lambda: nn.Softmax(-1),
        lambda: nn.PReLU(),
        lambda: nn.GLU(),
    ],
    ids=lambda make: type(make()).__name__,
)
def test_what_has_no_lean_rule_keeps_its_gradient(layer: Callable[[], nn.Module]) -> None:
    model = seeded(layer).double()

    def forward(x: Tensor) -> Tensor:
        several = isinstance(model, nn.MultiheadAttention)
        return first(
            model(x, x, x)
            if several
            else model(x, x)
            if isinstance(model, nn.Bilinear)
            else model(x)
        )

    x = noise(2, 4, 6)
    result = ta.Saliency(forward).attribute(x, target=weighted, abs=False)
    assert_same(result, autograd(forward, x, weighted), 1e-12)
