"""Lower precision is used only if requested, and its error is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
import torchvision
from foldable import Net, calibrated, network
from helpers import noise, refused
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import torchattr as ta
from torchattr.errors import ModelError
from torchattr.preparation import forward
from torchattr.preparation.folding import Fold
from torchattr.preparation.precision import deviation, rounding

X = noise(4, 3, 14, 14, dtype=torch.float32)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_error_is_measured(precision: Any, channels_last: bool) -> None:
    model = network(Net).float()
    fast = ta.prepare(model, X, precision=precision, channels_last=channels_last)
    report = fast.report
    step = torch.finfo(getattr(torch, precision)).eps
    assert report.precision == precision
    assert report.difference < 1e-5  # That of folding alone.
    for name, method in (("saliency", ta.Saliency), ("guided_backprop", ta.GuidedBackprop)):
        target = model(X).argmax(1)
        options = {"abs": False} if method is ta.Saliency else {}
        ours = method(fast).attribute(X, target, **options)
        own = method(model, memory="lean").attribute(X, target, **options)
        assert ours.dtype == torch.float32
        assert report.maps[name] == deviation(ours, own)
        assert step / 100 < report.maps[name].relative < 1
        assert 0.5 < report.maps[name].correlation < 1
    assert report.gates is not None
    assert report.gates.forward.gates == 4 * 2 * 6 * 14 * 14
    assert fast(X).dtype == torch.float32
    assert fast(X).ne(fast(X.double().float() + 1e-3)).any()
    assert "correlation" in str(report)


def test_it_is_never_chosen_by_itself() -> None:
    fast = ta.prepare(network(Net).float(), X)
    assert fast.report.precision == "float32"
    assert fast.report.maps["saliency"].relative < 1e-4


def test_deviation() -> None:
    own = torch.tensor([3.0, 4.0, 0.0])
    found = deviation(torch.tensor([3.0, 4.0, 1.0]), own)
    assert found.relative == pytest.approx(1 / 5)
    assert found.largest == pytest.approx(1 / 4)
    assert found.correlation == pytest.approx(
        torch.corrcoef(torch.tensor([[3.0, 4.0, 1.0], [3.0, 4.0, 0.0]]))[0, 1].item()
    )
    assert deviation(-own, own).correlation == pytest.approx(-1)
    zero = torch.zeros(3)
    assert deviation(zero, zero).correlation == 1
    assert deviation(own, zero).relative == math.inf
    assert deviation(own, zero).correlation == 0


def test_what_is_not_finite_in_both_is_alike() -> None:
    inf, nan = float("inf"), float("nan")
    own = torch.tensor([1.0, inf, -inf, nan])
    assert deviation(own, own).largest == 0
    moved = deviation(torch.tensor([1.5, inf, -inf, nan]), own)
    assert moved.largest == moved.relative == 0.5
    assert not deviation(torch.tensor([1.0, 1.0, -inf, nan]), own).largest <= 1
    assert not deviation(torch.tensor([1.0, inf, -inf, 1.0]), own).largest <= 1


CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SINGLE, TF32, BF16 = 2.0**-23, 2.0**-10, 2.0**-7


@pytest.fixture
def settings() -> Iterator[Any]:
    """PyTorch's settings of float32 arithmetic, each of which is reset to `ieee` and back."""
    backends = torch.backends
    used = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    held = (*used, backends.cudnn.rnn, backends.mkldnn.rnn)
    before = [one.fp32_precision for one in held]
    for one in held:
        one.fp32_precision = "ieee"
    yield held
    for one, precision in zip(held, before, strict=True):
        one.fp32_precision = precision


def test_rounding_knows_the_arithmetic_of_float32(settings: Any) -> None:
    matmul, conv, cpu_matmul, cpu_conv, rnn, cpu_rnn = settings
    assert rounding([torch.float32], CUDA) == rounding([torch.float32], CPU) == SINGLE
    for one, precision, device, expected in (
        (matmul, "tf32", CUDA, TF32),
        (conv, "tf32", CUDA, TF32),
        (cpu_matmul, "tf32", CPU, TF32),
        (cpu_conv, "bf16", CPU, BF16),
        (rnn, "tf32", CUDA, TF32),
        (cpu_rnn, "bf16", CPU, BF16),
    ):
        one.fp32_precision = precision
        other = CPU if device is CUDA else CUDA
        assert rounding([torch.float32], device) == expected
        assert rounding([torch.float32], other) == SINGLE
        assert rounding([torch.float64], device) == 2.0**-52
        one.fp32_precision = "ieee"


@pytest.mark.parametrize(
    ("named", "cpu", "cuda"),
    [("medium", BF16, TF32), ("high", TF32, TF32), ("highest", *[SINGLE] * 2)],
)
def test_rounding_knows_the_named_precisions(
    settings: Any, named: str, cpu: float, cuda: float
) -> None:
    torch.set_float32_matmul_precision(named)
    assert rounding([torch.float32], CPU) == cpu
    assert rounding([torch.float32], CUDA) == cuda


@pytest.mark.usefixtures("settings")
def test_rounding_knows_autocast_and_mixed_types() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert rounding([torch.float32], CPU) == BF16
        assert rounding([torch.float32], CUDA) == SINGLE
    assert rounding([torch.float32, torch.float16], CPU) == 2.0**-10
    assert rounding([torch.int64], CPU) == rounding([], CPU) == 0


def test_models_are_prepared_however_coarse_their_arithmetic_is(settings: Any) -> None:
    class Coarse(Fold):
        """Rounds the weights as a product in TF32 does."""

        def weights(self) -> tuple[Tensor, Tensor]:
            weight, bias = super().weights()
            return weight * (1 + 2.0**-10), bias

    model, matmul = network(Net).float(), settings[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "Fold", Coarse)
        with refused(ModelError, "output differs"):
            ta.prepare(model, X)
        matmul.fp32_precision = "tf32"
        report = ta.prepare(model, X).report
    assert len(report.folded) == 2
    assert report.difference > SINGLE**0.5


class Tf32(TorchDispatchMode):
    """Rounds the factors of convolutions and linear layers to 10 bits, as a GPU does in TF32."""

    FACTORS: ClassVar[dict[Any, int]] = {
        torch.ops.aten.convolution.default: 0,
        torch.ops.aten.convolution_backward.default: 0,
        torch.ops.aten.addmm.default: 1,
        torch.ops.aten.mm.default: 0,
    }

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rounded = list(args)
        if func in self.FACTORS:
            first = self.FACTORS[func]
            # The factors of a backward of a convolution are three.
            last = first + (3 if "backward" in str(func) else 2)
            rounded[first:last] = map(rounded_to_tf32, args[first:last])
        return func(*rounded, **(kwargs or {}))


def rounded_to_tf32(x: Tensor) -> Tensor:
    """Round to the nearest float of 10 bits, ties to even, in the memory order of `x`."""
    bits = x.view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


@pytest.fixture
def residual() -> nn.Module:
    return calibrated(torchvision.models.resnet18(weights=None), 3, 32, 32).float()


PICTURES = noise(2, 3, 32, 32, dtype=torch.float32)


def test_rounding_to_tf32() -> None:
    x = torch.tensor([1.0, 1 + 2.0**-10, 1 + 2.0**-11, 1 + 3 * 2.0**-11, -1 - 2.0**-12])
    assert rounded_to_tf32(x).tolist() == [1.0, 1 + 2.0**-10, 1.0, 1 + 2.0**-9, -1.0]


@pytest.mark.parametrize("form", ["named", "matmul", "conv"])
def test_networks_are_prepared_in_tf32(form: str, residual: nn.Module, settings: Any) -> None:
    """Their outputs differ by more than the rounding of float32 explains."""
    with Tf32(), refused(ModelError, "output differs", "rounding explains 0.00035"):
        ta.prepare(residual, PICTURES, channels_last=False)
    if form == "named":
        torch.set_float32_matmul_precision("high")
    elif form == "matmul":
        settings[2].fp32_precision = "tf32"
    else:
        settings[3].fp32_precision = "tf32"
    with Tf32():
        report = ta.prepare(residual, PICTURES, channels_last=False).report
    assert SINGLE**0.5 < report.difference < TF32**0.5
    assert report.maps["saliency"].correlation > 0.99


@pytest.mark.parametrize("lost", ["weight", "shift"])
def test_a_wrong_network_is_refused_in_tf32_too(
    lost: str, residual: nn.Module, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Fold.weights

    def wrong(fold: Fold) -> tuple[Tensor, Tensor]:
        weight, bias = right(fold)
        if weight.shape != (256, 128, 3, 3):
            return weight, bias
        return (weight, torch.zeros_like(bias)) if lost == "shift" else (1.1 * weight, bias)

    monkeypatch.setattr(Fold, "weights", wrong)
    settings[3].fp32_precision = "tf32"
    with Tf32(), refused(ModelError, "output differs", "rounding explains 0.031"):
        ta.prepare(residual, PICTURES, channels_last=False)


def test_a_part_in_half_precision_is_prepared() -> None:
    class Mixed(Net):
        def features(self, x: Tensor) -> Tensor:
            return super().features(x.bfloat16()).float()

    model = network(Net).float()
    mixed = Mixed()
    mixed.load_state_dict(model.state_dict())
    mixed.bfloat16().head.float()
    fast = ta.prepare(mixed.eval(), X)
    assert len(fast.report.folded) == 2
    assert 0 < fast.report.difference < BF16**0.5
