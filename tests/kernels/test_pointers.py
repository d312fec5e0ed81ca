"""Arguments of compiled code: correct values from parameters in any layout, or a refusal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench import Bench
from helpers import noise, refused
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import BackendError
from torchattr.kernels import Request
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches
from torchattr.kernels.pointers import address, checked_run, run_of, strided_address, table_address

CPU = torch.device("cpu")


def of(count: int, seed: int = 1) -> Tensor:
    return noise(count, seed=seed, dtype=torch.float32)


LAID: dict[str, Callable[[int], Tensor]] = {
    "contiguous": of,
    "expanded": lambda count: of(1).expand(count),
    "every second": lambda count: of(2 * count)[::2],
    "a column": lambda count: of(5 * count).reshape(count, 5)[:, 2],
    "an offset": lambda count: of(count + 3)[3:],
    "negated": lambda count: torch._neg_view(of(count)),
    "a row of a wider one": lambda count: of(3 * count + 6).reshape(3, -1)[1, 1 : count + 1],
}
"""Parameters with one value per channel."""

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda w: w,
    "transposed": lambda w: w.transpose(2, 3).contiguous().transpose(2, 3),
    "channels last": lambda w: w.contiguous(memory_format=torch.channels_last),
    "every second": lambda w: torch.stack([w, w * 7], dim=-1)[..., 0],
    "offset": lambda w: torch.cat([w.flatten()[:1], w.flatten()])[1:].view_as(w),
    "expanded": lambda w: w[:, :, :1, :1].expand(w.shape),
}


def everywhere(height: int, width: int) -> Boxes:
    none = np.zeros(2, dtype=np.int64)
    return Boxes.of(none, none, none, none + height, none + width)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("extent", [1, 3])
@pytest.mark.parametrize("name", LAID)
def test_biases_and_scales_that_lie_anyhow(
    name: str, extent: int, groups: int, bench: Bench
) -> None:
    bias, scale = LAID[name](4), LAID[name](4)
    weight = noise(4, 4 // groups, extent, extent, seed=2, dtype=torch.float32)
    conv = Convolution(weight, bias, padding=(extent // 2,) * 2, groups=groups, scale=scale)
    check(bench, conv)


@pytest.mark.parametrize("channels", [4, 16])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_lie_anyhow(name: str, channels: int, bench: Bench) -> None:
    weight = WEIGHTS[name](noise(channels, channels, 3, 3, seed=2, dtype=torch.float32))
    check(bench, Convolution(weight, of(channels), padding=(1, 1)))


def check(bench: Bench, conv: Convolution) -> None:
    """Compare a convolution of patches with PyTorch's in float64."""
    channels = conv.weight.shape[1] * conv.groups
    clean, boxes = noise(1, 6, 6, channels, dtype=torch.float32), everywhere(6, 6)
    changed = noise(boxes.rows, channels, seed=4, dtype=torch.float32)
    found = bench.patches.convolve(Patches(clean, changed, boxes), boxes, conv, Epilogue())
    assert conv.bias is not None
    bias = conv.bias.double().clone()
    weight = conv.weight.double()
    if conv.scale is not None:
        weight = weight * conv.scale.double().clone()[:, None, None, None]
    pictures = changed.double().reshape(2, 6, 6, channels).permute(0, 3, 1, 2)
    right = F.conv2d(pictures, weight, bias, padding=conv.padding, groups=conv.groups)
    right = right.permute(0, 2, 3, 1).reshape(boxes.rows, -1)
    torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LAID)
def test_norms_that_lie_anyhow(name: str, bench: Bench) -> None:
    if bench.backend.refusals(Request(bench.device, torch.float32)):
        pytest.skip("it does not serve float32")
    x = noise(2, 5, 4, 4, dtype=torch.float32)
    scale, shift = LAID[name](5), LAID[name](5)
    values, mask = bench.backend.batch_norm_relu(x, scale, shift)
    normed = x.double() * scale.double()[:, None, None] + shift.double()[:, None, None]
    torch.testing.assert_close(values.double(), normed.relu(), rtol=1e-5, atol=1e-5)
    back = bench.backend.batch_norm_relu_backward(x, mask, scale, (0, 1, 2, 3), "gradient")
    right = torch.where(values > 0, x.double() * scale.double()[:, None, None], 0)
    torch.testing.assert_close(back.double(), right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("name", LAID)
def test_incremental_maps_of_models_whose_biases_lie_anyhow(name: str, backend: str) -> None:
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
    for conv in (first, second):
        conv.bias = nn.Parameter(LAID[name](8), requires_grad=False)
    head = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 4))
    model = nn.Sequential(first, nn.ReLU(), second, head).eval()
    x = noise(1, 3, 8, 8, dtype=torch.float32)
    options = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 2, 2), "target": 1}
    with ta.backend(backend):
        found = ta.Occlusion(model).attribute(x, incremental=True, **options)
        whole = ta.Occlusion(model).attribute(x, incremental=False, **options)
    torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-5)


def test_what_is_not_as_a_kernel_wants_it_is_refused() -> None:
    short = of(4)
    short.untyped_storage().resize_(8)
    wrong = {
        "of torch.float64": of(4).double(),
        "got 5": of(5),
        "on meta": of(4).to("meta"),
        "strides (2,)": of(8)[::2],
        "strides (0,)": of(1).expand(4),
        "one run of memory": torch._neg_view(of(4)),
        "memory holds": short,
    }
    for words, tensor in wrong.items():
        with refused(BackendError, words):
            address(tensor, torch.float32, 4)
    with refused(BackendError, "memory holds"):
        strided_address(short, CPU)
    with refused(BackendError, "materialised tensor on meta"):
        strided_address(of(4), torch.device("meta"))
    with refused(BackendError, "table"):
        table_address(np.zeros((2, 6), dtype=np.int32), 6)
    with refused(BackendError, "table"):
        table_address(np.zeros((4, 6), dtype=np.int64)[::2], 6)


def test_what_is_one_run_is_given_as_it_is() -> None:
    x = noise(2, 3, 4, 5, dtype=torch.float32)
    last = x.contiguous(memory_format=torch.channels_last)
    assert address(x, torch.float32, 120) == x.data_ptr()
    assert address(last, torch.float32, 120, any_order=True) == last.data_ptr()
    assert checked_run(x, 120) is x
    assert run_of(x).data_ptr() == x.data_ptr()
    assert torch.equal(run_of(torch._neg_view(x), torch.float64), -x.double())
