"""Each rule against an oracle that is written differently: slow, explicit, from the definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, seeded, sent_back
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import registered_rules

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

Forward = Callable[[Tensor], Tensor]
Oracle = Callable[[Forward, Tensor, Tensor], Tensor]
"""From an operation, its input and the gradient of its output to the gradient of its input."""

ORACLES: dict[tuple[str, str], tuple[Oracle, list[tuple[Forward, Tensor]]]] = {}


def oracle(operation: str, rule: str, *cases: tuple[Forward, Tensor]) -> Callable[[Oracle], Oracle]:
    """Pair the decorated oracle with a rule, and with the calls on which both are compared."""

    def register(function: Oracle) -> Oracle:
        assert (operation, rule) not in ORACLES
        ORACLES[operation, rule] = function, list(cases)
        return function

    return register


def element_by_element(function: Callable[[float, float], float], x: Tensor, g: Tensor) -> Tensor:
    pairs = zip(x.flatten().tolist(), g.flatten().tolist(), strict=True)
    return torch.tensor([function(a, b) for a, b in pairs], dtype=torch.float64).view_as(x)


# Rectifiers: the three lines of the literature's table.

IMAGE = 4 * noise(2, 3, 5, 7)
IMAGE.view(-1)[::11] = 0.0
RECTIFIERS = ((F.relu, IMAGE), (torch.relu, IMAGE[:, 0, 0]), (lambda x: x.clamp(min=0), IMAGE))


@oracle("relu", "gradient", *RECTIFIERS)
def relu_gradient(forward: Forward, x: Tensor, g: Tensor) -> Tensor:
    return element_by_element(lambda a, b: b if a > 0 else 0.0, x, g)


@oracle("relu", "guided", *RECTIFIERS)
def relu_guided(forward: Forward, x: Tensor, g: Tensor) -> Tensor:
    return element_by_element(lambda a, b: b if a > 0 and b > 0 else 0.0, x, g)


@oracle("relu", "deconvolution", *RECTIFIERS, (F.relu6, IMAGE))
def relu_deconvolution(forward: Forward, x: Tensor, g: Tensor) -> Tensor:
    return element_by_element(lambda a, b: max(b, 0.0), x, g)


@pytest.mark.parametrize("rule", ["gradient", "guided"])
def test_bounded_rectifier_stops_what_exceeds_it(rule: str) -> None:
    g = noise(*IMAGE.shape, seed=5)
    x = 2 * IMAGE

    def bounded(a: float, b: float) -> float:
        return b if 0 < a < 6 and (b > 0 or rule == "gradient") else 0.0

    assert_same(sent_back(F.relu6, x, g, {"relu": rule}), element_by_element(bounded, x, g))


# Linear operations: their matrix, found by probing with unit vectors, transposed.


def transposed_matrix(forward: Forward, x: Tensor, g: Tensor) -> Tensor:
    def run(rows: Tensor) -> Tensor:
        return forward(rows.view(len(rows), *x.shape[1:])).flatten(1)

    units = torch.eye(x[0].numel(), dtype=x.dtype)
    matrix = run(units) - run(torch.zeros_like(units[:1]))
    return (g.flatten(1) @ matrix.t()).view_as(x)


W, V = noise(4, 2, 3, 2, seed=2), noise(2, 3, 2, 3, seed=3)
PLANES = noise(2, 2, 7, 5)

oracle(
    "conv",
    "gradient",
    (lambda x: F.conv2d(x, W, None, (2, 1), (1, 0), (1, 2)), PLANES),
    (lambda x: F.conv2d(x, W[:, :1], noise(4), groups=2, padding="same", dilation=2), PLANES),
    (lambda x: F.conv_transpose2d(x, V, None, (3, 2), (1, 0), (2, 1)), PLANES),
    (lambda x: F.conv1d(x, noise(3, 4, 2), stride=3), noise(2, 4, 9)),
    (lambda x: F.conv3d(x, noise(2, 1, 2, 1, 2), dilation=(1, 1, 2)), noise(1, 1, 3, 4, 5)),
)(transposed_matrix)
oracle(
    "linear",
    "gradient",
    (lambda x: F.linear(x, noise(3, 5), noise(3)), noise(2, 5)),
    (lambda x: F.linear(x, noise(3, 5)), noise(2, 4, 5)),
)(transposed_matrix)
oracle(
    "avg_pool",
    "gradient",
    (lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0), True, False), PLANES),
    (lambda x: F.avg_pool1d(x, 3, 2, 1, True), noise(2, 3, 8)),
    (lambda x: F.avg_pool3d(x, 2, divisor_override=3), noise(1, 2, 4, 5, 4)),
)(transposed_matrix)
oracle(
    "adaptive_avg_pool",
    "gradient",
    (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), PLANES),
    (lambda x: F.adaptive_avg_pool2d(x, 1), PLANES),
    (lambda x: F.adaptive_avg_pool2d(x, (9, 6)), PLANES),
    (lambda x: F.adaptive_avg_pool1d(x, 3), noise(2, 3, 8)),
    (lambda x: F.adaptive_avg_pool3d(x, (2, 3, 1)), noise(1, 2, 4, 5, 4)),
)(transposed_matrix)
MEAN, VAR, SCALE = noise(2, seed=6), noise(2, seed=7).abs() + 0.2, noise(2, seed=8)
oracle(
    "batch_norm",
    "gradient",
    (lambda x: F.batch_norm(x, MEAN, VAR, SCALE, MEAN, eps=1e-3), PLANES),
    (lambda x: F.batch_norm(x, MEAN, VAR), noise(3, 2)),
)(transposed_matrix)


# Maxima: search every window, one after another, for the first largest element.


def windows(
    size: int, extent: int, stride: int, padding: int, dilation: int, ceil: bool
) -> list[list[int]]:
    span = dilation * (extent - 1) + 1
    reach = size + 2 * padding - span
    count = (math.ceil if ceil else math.floor)(reach / stride) + 1
    if (count - 1) * stride >= size + padding:
        count -= 1
    windows = [[w * stride - padding + dilation * k for k in range(extent)] for w in range(count)]
    return [[index for index in window if 0 <= index < size] for window in windows]


def unpooled(axes: list[list[list[int]]], x: Tensor, g: Tensor) -> Tensor:
    result = torch.zeros_like(x)
    for plane in product(*(range(size) for size in x.shape[: -len(axes)])):
        for number in product(*(range(len(axis)) for axis in axes)):
            positions = list(product(*(axis[n] for axis, n in zip(axes, number, strict=True))))
            values = [x[(*plane, *position)].item() for position in positions]
            winner = positions[values.index(max(values))]
            result[(*plane, *winner)] += g[(*plane, *number)]
    return result


# Few distinct values, so that many windows are tied.
TIED = noise(2, 2, 9, 7).mul(1.5).round()
WINDOW = ((3, 2), (2, 1), (1, 0), (2, 1), True)


@oracle("max_pool", "gradient", (lambda x: F.max_pool2d(x, *WINDOW), TIED))
def max_pool_gradient(forward: Forward, x: Tensor, g: Tensor) -> Tensor:
    axes = [windows(x.shape[2 + d], *(setting[d] for setting in WINDOW[:4]), True) for d in (0, 1)]
    assert [len(axis) for axis in axes] == list(g.shape[2:])
    return unpooled(axes, x, g)


@oracle("adaptive_max_pool", "gradient", (lambda x: F.adaptive_max_pool2d(x, (4, 3)), TIED))
def adaptive_max_pool_gradient(forward: Forward, x: Tensor, g: Tensor) -> Tensor:
    def axis(size: int, count: int) -> list[list[int]]:
        ends = [(n * size // count, -(-(n + 1) * size // count)) for n in range(count)]
        return [list(range(start, end)) for start, end in ends]

    return unpooled([axis(9, 4), axis(7, 3)], x, g)


# Activations: their derivatives, from the papers that proposed them.

ALPHA, LAMBDA = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
SLOPE = torch.tensor([0.3], dtype=torch.float64)


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def gelu_slope(a: float) -> float:
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + math.erf(a / math.sqrt(2))) + a * density


def mish_slope(a: float) -> float:
    t = math.tanh(math.log1p(math.exp(a)))
    return t + a * (1 - t * t) * sigmoid(a)


ACTIVATIONS: dict[str, tuple[Forward, Callable[[float], float]]] = {
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), lambda a: 1 if a > 0 else 0.2),
    "prelu": (lambda x: F.prelu(x, SLOPE), lambda a: 1 if a > 0 else 0.3),
    "rrelu": (lambda x: F.rrelu(x, 0.1, 0.3), lambda a: 1 if a > 0 else 0.2),
    "elu": (lambda x: F.elu(x, 0.7), lambda a: 1 if a > 0 else 0.7 * math.exp(a)),
    "celu": (lambda x: F.celu(x, 0.7), lambda a: 1 if a > 0 else math.exp(a / 0.7)),
    "selu": (F.selu, lambda a: LAMBDA * (1 if a > 0 else ALPHA * math.exp(a))),
    "gelu": (F.gelu, gelu_slope),
    "silu": (F.silu, lambda a: sigmoid(a) * (1 + a * (1 - sigmoid(a)))),
    "mish": (F.mish, mish_slope),
    "hardswish": (
        F.hardswish,
        lambda a: 0 if a < -3 else 1 if a > 3 else (2 * a + 3) / 6,
    ),
    "softplus": (F.softplus, sigmoid),
}


def pair(name: str) -> None:
    function, slope = ACTIVATIONS[name]

    @oracle(name, "guided", (function, IMAGE + 0.01))
    def guided(forward: Forward, x: Tensor, g: Tensor) -> Tensor:
        return element_by_element(lambda a, b: b * slope(a) if a > 0 and b > 0 else 0.0, x, g)

    oracle(name, "deconvolution", (function, IMAGE))(relu_deconvolution)


for activation in ACTIVATIONS:
    pair(activation)


RELEVANCE = "torchattr.layers.rules.relevance."

RELEVANCE_ORACLES: dict[tuple[str, str], str] = {
    **{
        (operation, rule): "test_linear.py"
        for operation in ("conv", "linear")
        for rule in ("epsilon", "z_plus", "z_minus", "alpha_beta", "gamma", "zero")
    },
    **{
        (operation, rule): "test_terminal.py"
        for operation in ("conv", "linear")
        for rule in ("w_square", "flat", "z_box")
    },
    **{
        (operation, "secant"): "test_gates.py"
        for operation in ("relu", *ACTIVATIONS, "sigmoid", "tanh", "elementwise")
    },
    ("batch_norm", "affine"): "test_norms.py",
    **{
        (operation, "pass"): "test_identity.py"
        for operation in (
            *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize"),
            *("softmax", "attention"),
        )
    },
    ("add", "normalised"): "test_identity.py",
    ("layer_norm", "frozen"): "test_norms.py",
    ("group_norm", "frozen"): "test_norms.py",
    ("instance_norm", "frozen"): "test_norms.py",
    ("rms_norm", "frozen"): "test_norms.py",
    ("normalize", "frozen"): "test_norms.py",
    ("mul", "halves"): "test_products.py",
    ("matmul", "halves"): "test_products.py",
    ("div", "frozen"): "test_products.py",
    ("reciprocal", "frozen"): "test_products.py",
    ("logsumexp", "frozen"): "test_products.py",
    ("softmax", "frozen"): "test_products.py",
    ("softmax", "own"): "test_products.py",
    ("attention", "frozen"): "test_products.py",
    ("attention", "halves"): "test_products.py",
    ("add", "sum"): "test_sums.py",
    ("cat", "split"): "test_sums.py",
    ("add", "norm"): "test_sums.py",
    ("avg_pool", "norm"): "test_sums.py",
    ("adaptive_avg_pool", "norm"): "test_sums.py",
    ("mean", "norm"): "test_sums.py",
    ("sum", "norm"): "test_sums.py",
}
"""The file below `relevance` in which each rule of relevance is compared with its oracle."""


def test_every_rule_of_the_package_has_an_oracle() -> None:
    ours = {key: rule.__module__ for key, rule in registered_rules().items()}
    ours = {key: module for key, module in ours.items() if module.startswith("torchattr.")}
    of_relevance = {key for key, module in ours.items() if module.startswith(RELEVANCE)}
    rescaled = {key for key, module in ours.items() if ".deep_lift." in module}
    assert set(ours) - of_relevance - rescaled == set(ORACLES)
    assert of_relevance == set(RELEVANCE_ORACLES)


@pytest.mark.parametrize("key", RELEVANCE_ORACLES, ids=" ".join)
def test_oracle_of_relevance_stands_in_the_file_of_its_rule(key: tuple[str, str]) -> None:
    module = registered_rules()[key].__module__.removeprefix(RELEVANCE)
    assert RELEVANCE_ORACLES[key] == f"test_{module}.py"
    text = (Path(__file__).parent / "relevance" / RELEVANCE_ORACLES[key]).read_text()
    assert all(f'"{name}"' in text for name in key)


def comparisons() -> Iterator[tuple[str, str, int]]:
    for (operation, rule), (_, cases) in ORACLES.items():
        for number in range(len(cases)):
            yield operation, rule, number


@pytest.mark.parametrize(("operation", "rule", "number"), list(comparisons()))
def test_rule_equals_its_oracle(operation: str, rule: str, number: int) -> None:
    expect, cases = ORACLES[operation, rule]
    forward, x = cases[number]
    g = noise(*forward(x).shape, seed=9)
    assert_same(sent_back(forward, x, g, {operation: rule}), expect(forward, x, g), 1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slopes_of_the_oracles_are_the_derivatives(activation: str) -> None:
    function, slope = ACTIVATIONS[activation]
    x = IMAGE + 0.01
    difference = (function(x + 1e-6) - function(x - 1e-6)) / 2e-6
    assert_same(difference, element_by_element(lambda a, _: slope(a), x, x), 1e-8)


# The deconvnet, literally: transposed convolution, rectification, unpooling.


class Small(nn.Module):
    """Convolutions, rectifiers and max-pools in the manner of VGG, with uneven strides."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, (3, 2), stride=(2, 1), padding=(0, 1)),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 3, 1),
        )
        self.classifier = nn.Sequential(nn.Linear(12 * 2 * 4, 10), nn.ReLU(), nn.Linear(10, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Deconvnet:
    """Goes back down a stack of layers as in Zeiler and Fergus (2014).

    `rectify_first` is the deconvnet's order: the signal from above is unpooled, rectified and then
    filtered. Otherwise it is filtered before it is rectified.
    """

    def __init__(self, layers: list[nn.Module], *, rectify_first: bool = True) -> None:
        self._layers = layers
        self._rectify_first = rectify_first

    def reconstruct(self, x: Tensor, target: int) -> Tensor:
        down: list[Callable[[Tensor], Tensor]] = []
        for layer in self._layers:
            x, back = self._up(layer, x)
            down.append(back)
        signal = torch.zeros_like(x)
        signal[:, target] = 1
        rectifiers = [isinstance(layer, nn.ReLU) for layer in self._layers]
        for position in reversed(range(len(down))):
            if self._rectify_first or not rectifiers[position]:
                signal = down[position](signal)
            if not self._rectify_first and rectifiers[position + 1 : position + 2] == [True]:
                signal = signal.relu()
        return signal

    def _up(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        shape = x.shape
        if isinstance(layer, nn.Conv2d):
            y = F.conv2d(
                x,
                layer.weight,
                layer.bias,
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.groups,
            )
            return y, lambda signal: self._transposed(layer, signal, shape)
        if isinstance(layer, nn.MaxPool2d):
            window = (layer.kernel_size, layer.stride, layer.padding)
            y, switches = F.max_pool2d(x, *window, return_indices=True)
            return y, lambda signal: F.max_unpool2d(signal, switches, *window, shape[2:])
        if isinstance(layer, nn.Linear):
            return layer(x), lambda signal: signal @ layer.weight
        if isinstance(layer, nn.ReLU):
            return x.clamp(min=0), lambda signal: signal.clamp(min=0)
        return layer(x), lambda signal: signal.reshape(shape)

    def _transposed(self, conv: nn.Conv2d, signal: Tensor, shape: torch.Size) -> Tensor:
        reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        covered = [
            (signal.shape[2 + d] - 1) * conv.stride[d] - 2 * conv.padding[d] + reach[d] + 1
            for d in (0, 1)
        ]
        extra = (shape[2] - covered[0], shape[3] - covered[1])
        return F.conv_transpose2d(
            signal, conv.weight, None, conv.stride, conv.padding, extra, conv.groups, conv.dilation
        )


@torch.no_grad()
def literal(model: nn.Module, x: Tensor, target: int, **options: bool) -> Tensor:
    layers = [*model.features, nn.Flatten(), *model.classifier]
    return Deconvnet(layers, **options).reconstruct(x, target)


def test_deconvolution_is_the_literal_deconvnet() -> None:
    model = seeded(Small).double()
    x = noise(2, 3, 17, 21)
    result = ta.Deconvolution(model).attribute(x, target=3)
    assert_same(result, literal(model, x, 3), 1e-12)


def test_order_matters_in_the_deconvnet() -> None:
    model = seeded(Small).double()
    x = noise(2, 3, 17, 21)
    result = ta.Deconvolution(model).attribute(x, target=3)
    wrong = literal(model, x, 3, rectify_first=False)
    assert (result - wrong).abs().max() > 0.1 * result.abs().max()


@pytest.mark.slow
def test_deconvolution_is_the_literal_deconvnet_on_vgg11() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = seeded(torchvision.models.vgg11).double()
    x = noise(1, 3, 224, 224)
    # At this size the adaptive pool passes its input on, and dropout is off.
    result = ta.Deconvolution(model).attribute(x, target=281)
    assert_same(result, literal(model, x, 281), 1e-12)


class Halve(ta.LayerRule):
    def backward(self, call: ta.Call, grad: Tensor) -> Tensor:
        return call.vjp(grad, torch.zeros(call.shape, dtype=call.dtype))[0] / 2


def test_a_rule_without_memory_serves_operations_of_several_outputs() -> None:
    x = torch.tensor([[[1.0, 3.0, 2.0, 0.0]]], dtype=torch.float64)
    model = lambda x: torch.nn.functional.max_pool1d(x, 2).flatten(1).sum(1)  # noqa: E731
    result = ta.InputXGradient(model, rules={"max_pool": Halve()}).attribute(x)
    assert result.tolist() == [[[0.5, 0.0, 1.0, 0.0]]]
