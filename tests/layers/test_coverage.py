"""Calls are counted; rule-based methods report what they could not rewrite."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from helpers import noise, refused, seeded
from torch import Tensor, nn
from torchvision.ops import roi_align

import torchattr as ta
from torchattr.layers import (
    OPERATIONS,
    Coverage,
    Operation,
    Trace,
    register_operation,
    rule_table,
)

X = noise(2, 3, 8, 8, dtype=torch.float32)
GUIDED = rule_table({"relu": "guided"})


def with_activations(*activations: Any) -> nn.Module:
    def make() -> nn.Module:
        layers = [part for one in activations for part in (nn.Conv2d(3, 3, 1), one)]
        return nn.Sequential(*layers, nn.Flatten())

    return seeded(make)


@pytest.mark.parametrize("method", [ta.GuidedBackprop, ta.Deconvolution])
@pytest.mark.parametrize(
    ("activation", "name"),
    [
        *((nn.GELU(), "gelu"), (nn.SiLU(), "silu"), (nn.Hardswish(), "hardswish")),
        *((nn.LeakyReLU(0.1), "leaky_relu"), (nn.ELU(), "elu"), (nn.PReLU(), "prelu")),
        *((nn.Mish(), "mish"), (nn.Softplus(), "softplus"), (nn.SELU(), "selu")),
        *((nn.CELU(), "celu"), (nn.RReLU(), "rrelu")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_matched_names_what_ran_and_the_way_in(
    method: Any, activation: nn.Module, name: str
) -> None:
    model = with_activations(activation, activation)
    rule = "guided" if method is ta.GuidedBackprop else "deconvolution"
    way_in = f"rules={{'{name}': '{rule}'}}"
    with refused(ta.NoRuleMatched, method.__name__, f"2 {name} calls", way_in, "strict=False"):
        method(model).attribute(X, target=0)
    with pytest.warns(ta.CoverageWarning, match="rewrote nothing"):
        plain = method(model, strict=False).attribute(X, target=0)
    assert torch.equal(plain, ta.Saliency(model).attribute(X, target=0, abs=False))
    rewritten = method(model, rules={name: rule}).attribute(X, target=0)
    assert not torch.equal(rewritten, plain)


def test_only_rules_that_exist_are_a_way_in() -> None:
    with mock.patch.dict(OPERATIONS):
        register_operation(Operation("hinge", "rectifier"))
        coverage = Coverage(calls=Counter(hinge=1))
        with pytest.raises(ta.NoRuleMatched, match="1 hinge call") as caught:
            coverage.demand(GUIDED, "GuidedBackprop", strict=True)
    assert "pass rules=" not in str(caught.value)
    assert str(caught.value).endswith("To lower this to a warning, pass strict=False")


def test_nothing_matched_without_any_activation() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    with refused(ta.NoRuleMatched, "no relu", "nor any other activation"):
        ta.GuidedBackprop(model).attribute(X, 0)


def test_partial_coverage_warns() -> None:
    model = with_activations(nn.ReLU(), nn.GELU(), nn.ReLU())
    with pytest.warns(ta.CoverageWarning) as caught:
        ta.GuidedBackprop(model).attribute(X, target=0)
    message = str(caught[0].message)
    assert "2 relu calls, 2 rewritten; 1 gelu call keeps its own gradient" in message
    assert "rules={'gelu': 'guided'}" in message
    assert caught[0].filename == __file__


def test_backward_hooks_of_the_user_are_not_reported() -> None:
    model = with_activations(nn.ReLU())
    expected = ta.GuidedBackprop(model).attribute(X, target=0)
    model[0].register_full_backward_hook(lambda part, below, above: None)
    assert torch.equal(ta.GuidedBackprop(model).attribute(X, target=0), expected)


def test_rules_for_other_operations_do_not_warn_of_activations() -> None:
    class Plain(ta.LayerRule):
        def backward(self, call: ta.Call, grad: Tensor, *saved: Tensor) -> Tensor:
            return grad.new_zeros(call.shape)

    result = ta.Saliency(with_activations(nn.ReLU()), rules={"conv": Plain}).attribute(X, target=0)
    assert not bool(result.any())


def test_only_what_lies_between_input_and_output_counts() -> None:
    def forward(x: Tensor) -> Tensor:
        constant = torch.ones(2, 192).relu()
        with torch.no_grad():
            F.relu(x)
        return x.flatten(1).relu() * constant

    assert Trace(forward, (X,)).coverage.describe(GUIDED) == "1 relu call, 1 rewritten"


def test_spellings_are_counted() -> None:
    model = with_activations(nn.ReLU(), nn.Hardtanh(0, 6))
    spellings = Trace(lambda x: model(x).clamp(min=0), (X,)).coverage.spellings
    assert {name for operation, name in spellings if operation == "relu"} == {
        *("torch.nn.functional.relu", "torch.nn.functional.hardtanh", "Tensor.clamp"),
    }
    assert sum(count for (operation, _), count in spellings.items() if operation == "relu") == 3


def test_plain_data() -> None:
    coverage = Trace(with_activations(nn.ReLU(), nn.GELU()), (X,)).coverage
    assert coverage.as_dict(GUIDED) == {
        "calls": {"conv": 2, "gelu": 1, "relu": 1},
        "rewritten": {"relu": 1},
        "own_gradient": {"gelu": 1},
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "count"), [("googlenet", 64, 57), ("inception_v3", 75, 94)]
)
def test_functional_rectifiers_of_torchvision(name: str, size: int, count: int) -> None:
    models = pytest.importorskip("torchvision").models
    model = seeded(getattr(models, name), init_weights=False, aux_logits=True)
    assert not any(isinstance(part, nn.ReLU) for part in model.modules())
    coverage = Trace(model, (noise(1, 3, size, size, dtype=torch.float32),)).coverage
    assert coverage.describe(GUIDED) == f"{count} relu calls, {count} rewritten"


@pytest.mark.parametrize(
    ("bounds", "rectifiers"), [(("low", "high"), 0), (("low", None), 1), ((None, "high"), 0)]
)
def test_bounds_that_are_tensors_are_not_unpacked(
    bounds: tuple[str | None, str | None], rectifiers: int
) -> None:
    class Clamped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)
            self.register_buffer("low", torch.zeros(3))
            self.register_buffer("high", torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x).clamp(*(name and getattr(self, name) for name in bounds))

    assert ta.summary(Clamped(), torch.randn(2, 4)).relu_calls == rectifiers


class Heads(nn.Module):
    """Returns the scores, and the outputs of auxiliary heads with their own rectifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.gelu(self.body(x))
        aux = F.relu(self.aux(F.relu(h)))
        return {"out": self.head(h), "aux": aux, "detached": self.head(F.relu(aux).detach())}


@pytest.mark.parametrize(("output", "count"), [("out", 0), ("aux", 2)])
def test_only_what_the_target_depends_on_is_counted(output: str, count: int) -> None:
    model = seeded(Heads)
    found = ta.explain(model, noise(2, 4).float(), ["saliency"], targets=1, output=output)
    assert found.coverage.calls["relu"] == count
    assert found.coverage.calls["gelu"] == 1


def test_rectifiers_of_another_head_are_no_match() -> None:
    with refused(ta.NoRuleMatched, "1 gelu call"):
        ta.GuidedBackprop(seeded(Heads), output="out").attribute(noise(2, 4).float(), target=1)


def test_what_works_in_place_on_a_view_counts() -> None:
    linear = seeded(lambda: nn.Linear(4, 6))

    def forward(x: Tensor) -> Tensor:
        h = linear(x) * 2
        h[:, :3].relu_()
        return h

    found = ta.explain(forward, noise(2, 4).float(), ["guided_backprop"], targets=1)
    assert found.coverage.calls["relu"] == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_custom_functions_count_whatever_language_they_are_written_in(layout: Any) -> None:
    """Torchvision's are written in C++ or in Python, depending on its version."""

    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            regions = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 1.0, 6.0, 6.0]])
            return roi_align(x.relu(), regions, 2).flatten(1)

    coverage = Trace(Cut(), (X.contiguous(memory_format=layout),)).coverage
    (name,) = coverage.custom
    assert "roialign" in name.lower().replace("_", "")
    assert "1 custom" in coverage.describe(GUIDED)
