"""Under every spelling of an operation, each method returns the same as under the module's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, autograd, noise, seeded, weighted
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import Parsed, Trace, call_pattern
from torchattr.layers.operations.parsers import CALL_PATTERNS

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

aten = torch.ops.aten


class Residual(nn.Module):
    """A small residual net in which one rectifier, in a given spelling, runs four times."""

    def __init__(self, rectify: Callable[[], Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(6, 8)
        self.head = nn.Linear(8, 4)
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)
        self.rectifiers = [rectify() for _ in range(4)]
        self.registered = nn.ModuleList(r for r in self.rectifiers if isinstance(r, nn.Module))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.rectifiers[0](self.stem(x)))
        identity = x
        out = self.rectifiers[1](self.norm(self.first(x)))
        out = self.second(out)
        out += identity
        out = self.rectifiers[2](out).mean((2, 3))
        return self.head(self.rectifiers[3](self.hidden(out)))


METHODS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "saliency": (ta.Saliency, {}),
    "input_x_gradient": (ta.InputXGradient, {}),
    "deconvolution": (ta.Deconvolution, {}),
    "guided_backprop": (ta.GuidedBackprop, {}),
    "grad_cam": (ta.GradCAM, {"layer": "stem"}),
    "guided_grad_cam": (ta.GuidedGradCAM, {"layer": "stem"}),
}

X = 3 * noise(2, 3, 12, 12)
TARGET = [1, 2]


def attribution(method: str, model: Any) -> Tensor:
    kind, options = METHODS[method]
    return kind(model, **options).attribute(X, target=TARGET)


def always(function: Callable[[Tensor], Tensor]) -> Callable[[], Callable[[Tensor], Tensor]]:
    return lambda: function


def reused(module: nn.Module) -> Callable[[], nn.Module]:
    return lambda: module


def ignoring_the_result(x: Tensor) -> Tensor:
    x.relu_()
    return x


def setting_items(x: Tensor) -> Tensor:
    x[x < 0] = 0
    return x


def zero(x: Tensor) -> Tensor:
    return torch.zeros((), dtype=x.dtype)


RELU = {
    "nn.ReLU": nn.ReLU,
    "nn.ReLU(inplace)": lambda: nn.ReLU(inplace=True),
    "one nn.ReLU reused": reused(nn.ReLU()),
    "one nn.ReLU(inplace) reused": reused(nn.ReLU(inplace=True)),
    "nn.Threshold(0, 0)": lambda: nn.Threshold(0, 0),
    "nn.Threshold(0, 0, inplace)": lambda: nn.Threshold(0.0, 0.0, inplace=True),
    "nn.Hardtanh(0, inf)": lambda: nn.Hardtanh(0, inf),
    "F.relu": always(F.relu),
    "F.relu(inplace)": always(lambda x: F.relu(x, inplace=True)),
    "F.relu_": always(F.relu_),
    "torch.relu": always(torch.relu),
    "torch.relu_": always(torch.relu_),
    "Tensor.relu": always(lambda x: x.relu()),
    "Tensor.relu_": always(lambda x: x.relu_()),
    "x.relu_() ignored": always(ignoring_the_result),
    "Tensor.clamp(min=0)": always(lambda x: x.clamp(min=0)),
    "Tensor.clamp(0)": always(lambda x: x.clamp(0)),
    "Tensor.clamp(min=tensor)": always(lambda x: x.clamp(min=zero(x))),
    "Tensor.clamp_(min=0)": always(lambda x: x.clamp_(min=0)),
    "torch.clamp(0, None)": always(lambda x: torch.clamp(x, 0.0, None)),
    "torch.clamp(0, inf)": always(lambda x: torch.clamp(x, 0, inf)),
    "torch.clamp_": always(lambda x: torch.clamp_(x, min=0)),
    "torch.clip": always(lambda x: torch.clip(x, min=0)),
    "Tensor.clip": always(lambda x: x.clip(0)),
    "Tensor.clip_": always(lambda x: x.clip_(min=0)),
    "torch.clamp_min": always(lambda x: torch.clamp_min(x, 0)),
    "Tensor.clamp_min": always(lambda x: x.clamp_min(0.0)),
    "Tensor.clamp_min_": always(lambda x: x.clamp_min_(0)),
    "torch.maximum(x, 0)": always(lambda x: torch.maximum(x, zero(x))),
    "torch.maximum(0, x)": always(lambda x: torch.maximum(zero(x), x)),
    "torch.maximum(x, zeros)": always(lambda x: torch.maximum(x, torch.zeros_like(x))),
    "Tensor.maximum": always(lambda x: x.maximum(zero(x))),
    "torch.max(x, 0)": always(lambda x: torch.max(x, zero(x))),
    "Tensor.max(other=0)": always(lambda x: x.max(other=zero(x))),
    "F.threshold": always(lambda x: F.threshold(x, 0, 0)),
    "F.threshold(inplace)": always(lambda x: F.threshold(x, 0, 0, inplace=True)),
    "torch.threshold_": always(lambda x: torch.threshold_(x, 0, 0)),
    "torch.where(x > 0, x, 0)": always(lambda x: torch.where(x > 0, x, 0)),
    "torch.where(x >= 0, x, zeros)": always(lambda x: torch.where(x >= 0, x, zero(x))),
    "torch.where(x <= 0, 0, x)": always(lambda x: torch.where(x <= 0, 0, x)),
    "Tensor.where": always(lambda x: x.where(x > 0, zero(x))),
    "aten.where.ScalarOther": always(lambda x: aten.where.ScalarOther(x > 0, x, 0)),
    "x * (x > 0)": always(lambda x: x * (x > 0)),
    "(x > 0).double() * x": always(lambda x: (x > 0).double() * x),
    "x.masked_fill(x < 0, 0)": always(lambda x: x.masked_fill(x < 0, 0)),
    "x[x < 0] = 0": always(setting_items),
    "F.hardtanh(0, inf)": always(lambda x: F.hardtanh(x, 0.0, inf)),
    "F.hardtanh_(0, inf)": always(lambda x: F.hardtanh_(x, 0.0, inf)),
    "aten.relu": always(aten.relu),
    "aten.relu.default": always(aten.relu.default),
    "aten.relu_": always(aten.relu_),
    "aten.relu_.default": always(aten.relu_.default),
    "aten.clamp_min.default": always(lambda x: aten.clamp_min.default(x, 0)),
    "aten.clamp.default": always(lambda x: aten.clamp.default(x, 0)),
    "aten.threshold.default": always(lambda x: aten.threshold.default(x, 0, 0)),
}

BOUNDED = {
    "nn.ReLU6": nn.ReLU6,
    "nn.ReLU6(inplace)": lambda: nn.ReLU6(inplace=True),
    "nn.Hardtanh(0, 6)": lambda: nn.Hardtanh(0, 6),
    "F.relu6": always(F.relu6),
    "F.relu6(inplace)": always(lambda x: F.relu6(x, inplace=True)),
    "F.hardtanh": always(lambda x: F.hardtanh(x, 0, 6)),
    "F.hardtanh_": always(lambda x: F.hardtanh_(x, 0, 6)),
    "torch.clamp": always(lambda x: torch.clamp(x, 0, 6)),
    "Tensor.clamp_": always(lambda x: x.clamp_(min=0, max=6)),
    "torch.clip": always(lambda x: torch.clip(x, 0, 6)),
    "aten.hardtanh.default": always(lambda x: aten.hardtanh.default(x, 0, 6)),
    "aten.relu6.default": always(aten.relu6.default),
}


@cache
def expected(method: str, bounded: bool = False) -> Tensor:
    return attribution(method, net(nn.ReLU6 if bounded else nn.ReLU, bounded))


def net(rectify: Callable[[], Callable[[Tensor], Tensor]], bounded: bool = False) -> nn.Module:
    model = seeded(Residual, rectify).double()
    if bounded:
        with torch.no_grad():
            model.stem.weight.mul_(6)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_methods_differ_on_this_net(method: str) -> None:
    others = [attribution(other, net(nn.ReLU)) for other in METHODS if other != method]
    mine = expected(method)
    alike = [o for o in others if o.shape == mine.shape]
    assert all((o - mine).abs().amax() > 0.01 * mine.abs().amax() > 0 for o in alike)


def test_saliency_of_this_net_is_its_gradient() -> None:
    model = net(nn.ReLU)
    truth = autograd(model, X, lambda output: output[[0, 1], TARGET])
    assert_same(expected("saliency"), truth.abs(), 1e-12)


@pytest.mark.parametrize("spelling", RELU)
@pytest.mark.parametrize("method", METHODS)
def test_relu(method: str, spelling: str) -> None:
    assert_same(attribution(method, net(RELU[spelling])), expected(method), 1e-12)


@pytest.mark.parametrize("spelling", BOUNDED)
@pytest.mark.parametrize("method", METHODS)
def test_relu6(method: str, spelling: str) -> None:
    result = attribution(method, net(BOUNDED[spelling], bounded=True))
    assert_same(result, expected(method, bounded=True), 1e-12)
    assert not torch.allclose(result, attribution(method, net(nn.ReLU, bounded=True)))


@pytest.mark.parametrize("spelling", RELU | BOUNDED)
def test_each_rectifier_call_is_counted(spelling: str) -> None:
    coverage = Trace(net((RELU | BOUNDED)[spelling]), (X,)).coverage
    assert (coverage.calls["relu"], coverage.own["relu"], coverage.hidden) == (4, 0, {})


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.clamp(min=0.1),
        lambda x: x.clamp(min=-1),
        lambda x: x.clamp(max=1),
        lambda x: F.hardtanh(x),
        lambda x: F.threshold(x, 0.1, 0),
        lambda x: F.threshold(x, 0, 1),
        lambda x: torch.maximum(x, x.detach() * 0 + 0.1),
        lambda x: torch.maximum(x, -x),
        lambda x: torch.where(x > 0.1, x, 0),
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: torch.where((x > 0)[:, :1], x, 0),
        lambda x: x.sigmoid() * torch.ones_like(x),
        lambda x: torch.where(torch.ones_like(x, dtype=torch.bool), x.sigmoid(), 0),
        lambda x: x.sigmoid().masked_fill(torch.zeros_like(x, dtype=torch.bool), 0),
        lambda x: x.max(1, keepdim=True)[0] + x,
        lambda x: x.max(dim=1, keepdim=True).values + x,
        lambda x: x + x.max(),
    ],
    ids=[
        *("clamp at 0.1", "clamp at -1", "clamp from above", "hardtanh", "threshold at 0.1"),
        *("threshold to 1", "maximum with 0.1", "absolute value"),
        *("where above 0.1", "leaky where", "where by another mask"),
        *("open mask by product", "open mask by where", "open mask by filling"),
        *("max of a dim", "max of a named dim", "max of all"),
    ],
)
def test_what_is_no_rectifier_keeps_its_gradient(other: Callable[[Tensor], Tensor]) -> None:
    model = net(always(other))
    assert "relu" not in Trace(model, (X,)).coverage.calls
    truth = autograd(model, X, weighted)
    assert_same(ta.Saliency(model).attribute(X, target=weighted, abs=False), truth, 1e-12)


EXPORTED = {
    "nn.ReLU": RELU["nn.ReLU"],
    "nn.ReLU(inplace)": RELU["nn.ReLU(inplace)"],
    "clamp": RELU["Tensor.clamp(min=0)"],
    "threshold": RELU["F.threshold"],
}


@cache
def exported(spelling: str, decomposed: bool) -> nn.Module:
    program = torch.export.export(net(EXPORTED[spelling]), (X,))
    return (program.run_decompositions() if decomposed else program).module()


@pytest.mark.parametrize("decomposed", [False, True], ids=["exported", "decomposed"])
@pytest.mark.parametrize("spelling", EXPORTED)
@pytest.mark.parametrize("method", ["saliency", "deconvolution", "guided_backprop"])
def test_exported(method: str, spelling: str, decomposed: bool) -> None:
    model = exported(spelling, decomposed)
    assert_same(attribution(method, model), expected(method), 1e-12)
    assert Trace(model, (X,)).coverage.calls["relu"] == 4


def compiled(form: str) -> Any:
    model = net(RELU["F.relu(inplace)"] if "functional" in form else nn.ReLU)
    if "in place" in form:
        model.compile(backend="eager")
    elif "part" in form:
        model.stem = torch.compile(model.stem, backend="eager")
        model.rectifiers[0] = torch.compile(model.rectifiers[0], backend="eager")
    else:
        model = torch.compile(model, backend="eager")
    if "called" in form:
        model(X)
        model(X.clone().requires_grad_())
    return model


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # TorchDynamo's own doing
@pytest.mark.parametrize(
    "form", ["fresh", "called", "called functional", "in place called", "part called"]
)
def test_compiled(form: str) -> None:
    torch.compiler.reset()
    model = compiled(form)
    for method in METHODS:
        assert_same(attribution(method, model), expected(method), 1e-12)
    # Compiled code runs again afterwards, and still gives the same.
    assert_same(model(X).detach(), net(nn.ReLU)(X).detach(), 1e-12)


def test_a_compiled_function() -> None:
    torch.compiler.reset()
    model = net(nn.ReLU)
    forward = torch.compile(lambda x: model(x), backend="eager")
    forward(X)
    result = ta.GuidedBackprop(forward).attribute(X, target=TARGET)
    assert_same(result, expected("guided_backprop"), 1e-12)


CUSTOM = """
@call_pattern("gelu", smooth)
def parse(input):
    return Parsed((input,), {})
"""


def smooth(input: Tensor) -> Tensor:
    return input.sigmoid() * input


def test_a_parser_is_replaced_by_its_own_file_or_cell_only() -> None:
    def execute(source: str, file: str, name: str) -> Any:
        scope = {"__name__": name, "call_pattern": call_pattern, "Parsed": Parsed, "smooth": smooth}
        exec(compile(source, file, "exec"), scope)
        return scope

    with mock.patch.dict(CALL_PATTERNS):
        execute(CUSTOM, "mine.py", "mine")
        again = execute(CUSTOM, "mine.py", "mine")
        assert CALL_PATTERNS[smooth].parse is again["parse"]
        with pytest.raises(ValueError, match="has a parser already"):
            execute(CUSTOM, "other.py", "mine")
    with mock.patch.dict(CALL_PATTERNS):
        execute(CUSTOM, "cell 1", "__main__")
        again = execute(CUSTOM, "cell 2", "__main__")
        assert CALL_PATTERNS[smooth].parse is again["parse"]
        with pytest.raises(ValueError, match="has a parser already"):
            execute(CUSTOM.replace("parse(", "read("), "cell 3", "__main__")
