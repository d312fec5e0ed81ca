"""Rules on PyTorch's own graph give what the rule mode gives, or the mode is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from helpers import noise, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import ScriptedModelError
from torchattr.layers import NativeTrace, NotNative, TapPoint, Trace, rule_table

TABLES = [rule_table(rules) for rules in ({}, {"relu": "guided"}, {"relu": "deconvolution"})]
X = noise(2, 3, 64, 64)
NETWORKS = ["resnet18", "googlenet", "densenet121", "mobilenet_v2", "shufflenet_v2_x0_5"]


def network(name: str) -> nn.Module:
    options = {"init_weights": False} if name == "googlenet" else {}
    make = lambda: torchvision.models.get_model(name, weights=None, **options)  # noqa: E731
    return seeded(make).double().eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_and_counts_equal_those_of_the_mode(name: str) -> None:
    model = network(name)
    lean, native = (kind(model, (X,), tables=TABLES) for kind in (Trace, NativeTrace))
    assert torch.equal(lean.output, native.output)
    for table in (1, 0, 2, 1, 0):
        maps = [
            trace.gradients(trace.output[:, 1], trace.input_edges, table=table)[0]
            for trace in (lean, native)
        ]
        assert torch.equal(*maps)
        assert maps[0].abs().max() > 0
    # Dropout at inference leaves no node.
    for found, expected in (
        (native.coverage.calls, lean.coverage.calls),
        (native.coverage.own, lean.coverage.own),
    ):
        assert dict(found) == {key: value for key, value in expected.items() if key != "dropout"}


def test_values_and_gradients_of_layers_equal_those_of_the_mode() -> None:
    model = network("resnet18")
    taps = [
        TapPoint(model.layer1),
        TapPoint(model.layer4, of_input=True),
        TapPoint(model.layer3[0].relu),
    ]
    for from_inputs in (True, False):
        options = {"tables": TABLES, "taps": taps, "from_inputs": from_inputs}
        lean, native = (kind(model, (X,), **options) for kind in (Trace, NativeTrace))
        assert native.coverage.calls == lean.coverage.calls
        for tap in taps:
            pairs = list(zip(lean.calls(tap), native.calls(tap), strict=True))
            assert pairs
            for calls in pairs:
                assert torch.equal(*(call.values[0] for call in calls))
                for table in range(3):
                    found = [
                        trace.gradients(trace.output[:, 1], call.edges, table=table)[0]
                        for trace, call in zip((lean, native), calls, strict=True)
                    ]
                    assert torch.equal(*found)


def test_nothing_stays_on_the_graph_of_a_backward() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval()
    trace = NativeTrace(model, (noise(4, 3),), tables=TABLES)
    plain = [trace.gradients(trace.output[:, 0], trace.input_edges, table=0)[0] for _ in range(2)]
    trace.gradients(trace.output[:, 0], trace.input_edges, table=1)
    again = trace.gradients(trace.output[:, 0], trace.input_edges, table=0)[0]
    assert torch.equal(plain[0], again)


class Mul(ta.LayerRule):
    def backward(self, call: ta.Call, grad: Tensor) -> Tensor:
        return grad * 2


class Half(type(rule_table({"relu": "guided"})["relu"])):  # type: ignore[misc]
    """A subclass may differ from what its base is on the graph."""


def masked() -> nn.Module:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * (x > 0)).flatten(1)

    return Masked()


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()).double()


REFUSED: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "own rule": lambda: (small().eval(), {"tables": [{"relu": Mul()}]}),
    "subclass of a rule": lambda: (small().eval(), {"tables": [{"relu": Half()}]}),
    "training": lambda: (small(), {}),
    "mask": lambda: (masked().eval(), {}),
    "function of nothing known": lambda: (lambda x: x.relu().flatten(1), {}),
    "recurrent": lambda: (nn.Sequential(nn.Flatten(), nn.RNN(192, 3)).double().eval(), {}),
    "hooked module": lambda: (hooked(), {}),
}


def hooked() -> nn.Module:
    model = small().eval()
    model[1].register_full_backward_hook(lambda module, below, above: None)
    return model


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_may_differ_needs_the_mode(name: str) -> None:
    model, options = REFUSED[name]()
    with pytest.raises(NotNative):
        NativeTrace(model, (noise(2, 3, 8, 8),), **options)


def test_inputs_without_a_gradient_need_the_mode() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.ReLU(), nn.Flatten()).eval()
    with pytest.raises(NotNative, match="no gradient"):
        NativeTrace(model, (torch.ones(2, 4, dtype=torch.long),), taps=[TapPoint(model[0])])


@pytest.mark.filterwarnings("ignore:`torch.jit.script. is deprecated")
def test_scripted_models_are_refused() -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    with pytest.raises(ScriptedModelError):
        NativeTrace(model, (noise(1, 3),))


def test_a_refused_forward_draws_no_random_numbers() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            h = x + torch.randn_like(x)
            return (h * (h > 0)).flatten(1)

    torch.manual_seed(0)
    before = torch.get_rng_state()
    with pytest.raises(NotNative):
        NativeTrace(Noisy().eval(), (noise(2, 3, 4, 4),))
    assert torch.equal(before, torch.get_rng_state())


class Noisy(nn.Module):
    """Draws random numbers without a node of its own in the graph."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * 2 + torch.rand(()).item()


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x.flatten(1) * 2


@pytest.mark.parametrize("kind", [Noisy, Counting])
def test_models_that_draw_or_count_run_under_the_mode(kind: type[nn.Module]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    with pytest.raises(NotNative, match="draws"):
        NativeTrace(kind().eval(), (X,))
    assert torch.equal(torch.rand(()), expected)


def test_modules_in_plain_containers_may_train_unseen() -> None:
    class Hiding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = {"norms": [nn.BatchNorm2d(3)]}

        def forward(self, x: Tensor) -> Tensor:
            return self.parts["norms"][0](x).flatten(1)

    model = Hiding().double().eval()
    hidden = model.parts["norms"][0].double()
    with pytest.raises(NotNative, match="list or dictionary"):
        NativeTrace(model, (X,))
    assert hidden.num_batches_tracked == 0
