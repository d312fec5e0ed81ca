"""Quantised modules are summarised with the weights that they keep packed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import torchattr as ta
from torchattr.inspect.summaries.rows import weights_of

quantization = torch.ao.quantization
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif(
        "fbgemm" not in torch.backends.quantized.supported_engines, reason="needs fbgemm"
    ),
]
X = torch.rand(2, 3, 8, 8)


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    yield
    torch.backends.quantized.engine = before


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(self.quant(x))).mean((2, 3))
        return self.dequant(self.head(x))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.flatten(1, 2))[0][:, -1]


def dynamic(model: nn.Module) -> nn.Module:
    return quantization.quantize_dynamic(model, {nn.Linear, nn.LSTM}, dtype=torch.qint8)


def half(model: nn.Module) -> nn.Module:
    return quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.float16)


def static(model: nn.Module) -> nn.Module:
    observed = copy.deepcopy(model)
    observed.qconfig = quantization.get_default_qconfig("fbgemm")
    quantization.prepare(observed, inplace=True)(X)
    return quantization.convert(observed)


def fused(model: nn.Module) -> nn.Module:
    return static(quantization.fuse_modules(model, [["conv", "relu"]]))


MADE: dict[str, tuple[Callable[[nn.Module], nn.Module], type[nn.Module], int]] = {
    "dynamic": (dynamic, Net, 1),
    "half": (half, Net, 1),
    "recurrent": (dynamic, Recurrent, 0),
    "static": (static, Net, 0),
    "fused": (fused, Net, 0),
}
"""Ways to quantise a model, and the number of its rectifiers that rules still reach."""


@pytest.mark.parametrize("name", MADE)
def test_quantised_models_are_summarised(name: str) -> None:
    make, kind, _ = MADE[name]
    model = kind().eval()
    expected = sum(parameter.numel() for parameter in model.parameters())
    found = ta.summary(make(model), X)
    assert found.parameters == found.rows[0].parameters == expected
    by_name = {row.name: row.parameters for row in found.rows}
    for layer in ("conv", "head") if kind is Net else ("rnn",):
        part = model.get_submodule(layer)
        assert by_name[layer] == sum(one.numel() for one in part.parameters())
    assert found.trainable_parameters == sum(p.numel() for p in make(model).parameters())
    assert 0 < found.parameter_bytes <= 4 * expected
    assert found.forward_bytes > 0


@pytest.mark.parametrize("name", ["static", "fused", "recurrent"])
def test_rules_reach_nothing_of_what_is_quantised(name: str) -> None:
    make, kind, _ = MADE[name]
    assert ta.summary(make(kind().eval()), X).relu_calls == 0


def test_what_is_not_quantised_is_counted_once() -> None:
    first = nn.Linear(3, 3)
    tied = nn.Sequential(first, nn.ReLU(), first)
    assert [id(one) for one in weights_of(tied)] == [id(one) for one in tied.parameters()]
