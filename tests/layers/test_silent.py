"""Silent errors: dtypes, layouts, odd and empty shapes, and uninitialised memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from helpers import assert_same, autograd, noise, rectifiers, seeded
from torch import Tensor, nn

import torchattr as ta

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES = {
    ta.InputXGradient: "gradient",
    ta.GuidedBackprop: "guided",
    ta.Deconvolution: "deconvolution",
}
CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MAX_POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVG_POOL = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


def net(dims: int) -> nn.Module:
    d = dims - 1
    return nn.Sequential(
        *(CONV[d](3, 8, 3, padding=1), NORM[d](8), nn.ReLU(), MAX_POOL[d](3, 2, 1)),
        *(CONV[d](8, 8, 3, padding="same", groups=2), nn.ReLU(), AVG_POOL[d](2, ceil_mode=True)),
        *(ADAPTIVE[d](2), nn.Flatten(), nn.Linear(8 * 2**dims, 32), nn.ReLU(), nn.Linear(32, 4)),
    )


def truth(method: Any, model: nn.Module, x: Tensor) -> Tensor:
    with rectifiers(RULES[method]):
        grad = autograd(model, x, lambda output: output[:, 1])
    return x * grad if method is ta.InputXGradient else grad


SIZES = {1: (1, 7), 2: (9, 7), 3: (5, 6, 7)}


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("size", [(17,), (33,), (9, 7), (1, 1), (32, 31), (5, 6, 7), (8, 8, 8)])
def test_sizes_and_dimensions(method: Any, size: tuple[int, ...]) -> None:
    model = seeded(net, len(size), seed=1).double()
    x = noise(3, 3, *size)
    assert_same(method(model).attribute(x, target=1), truth(method, model, x), 1e-12)


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtypes(method: Any, dtype: torch.dtype) -> None:
    """The same rounding as in PyTorch: only sums may be in a different order."""
    model = seeded(net, 2).to(dtype)
    x = noise(2, 3, 14, 11, dtype=dtype)
    result = method(model).attribute(x, target=1)
    assert_same(result, truth(method, model, x), 4 * torch.finfo(dtype).eps)


def shuffled(x: Tensor) -> Tensor:
    return x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "any order": shuffled,
    "strided": lambda x: torch.stack([x, -x], -1).flatten(3)[..., ::2],
    "expanded": lambda x: x[:1].expand_as(x),
    "a window of a larger one": lambda x: nn.functional.pad(x, (2, 3, 1, 0))[..., 1:, 2:-3],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", RULES)
def test_layouts(method: Any, layout: str) -> None:
    model = seeded(net, 2).double()
    x = LAYOUTS[layout](noise(2, 3, 14, 11))
    result = method(model).attribute(x, target=1)
    assert_same(result, truth(method, model, x.contiguous()), 1e-12)
    last = seeded(net, 2).double().to(memory_format=torch.channels_last)
    assert_same(method(last).attribute(x, target=1), result, 1e-12)


@pytest.mark.parametrize("method", [*RULES, lambda m: ta.GradCAM(m, "4")])
def test_empty_batch(method: Any) -> None:
    model = seeded(net, 2)
    result = method(model).attribute(torch.zeros(0, 3, 14, 11), target=1)
    assert result.shape[0] == 0
    assert result.dim() == 4


@pytest.fixture
def filled_with_nan(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make PyTorch fill memory that it does not clear, so that reading it shows."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("filled_with_nan")
@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_no_fresh_memory_is_read(method: Any, dims: int) -> None:
    assert bool(torch.empty(3).isnan().all())
    model = seeded(net, dims).double()
    x = noise(2, 3, *(9, 8, 7)[:dims])
    assert_same(method(model).attribute(x, target=1), truth(method, model, x), 1e-12)


def test_examples_of_a_batch_do_not_mix() -> None:
    model = seeded(net, 2).double()
    x = noise(4, 3, 14, 11)
    for method in RULES:
        whole = method(model).attribute(x, target=[0, 1, 2, 3])
        alone = [method(model).attribute(x[i : i + 1], target=i) for i in range(4)]
        assert_same(whole, torch.cat(alone), 1e-12)
