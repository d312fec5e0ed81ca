"""A summary counts what the forward really ran, and does not change the model."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import noise, refused, seeded
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import torchattr as ta
from torchattr.core.select import find_layers
from torchattr.errors import InputError, InputTypeError, ModelError, ShapeError, TrainingModeError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)) + x)


class Net(nn.Module):
    """Calls one block twice, and another never."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = Block()
        self.unused = Block()
        self.gelu = nn.GELU()
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor, times: int = 1) -> Tensor:
        x = self.block(self.block(F.max_pool2d(self.stem(x), 2)))
        return self.head(self.gelu(x).mean((2, 3))) * times


X = noise(2, 3, 8, 8, dtype=torch.float32)


@pytest.fixture
def found() -> Any:
    return ta.summary(seeded(Net), X)


def row(found: Any, name: str) -> Any:
    (one,) = [one for one in found.rows if one.name == name]
    return one


def test_the_tree_has_names_that_select(found: Any) -> None:
    model = seeded(Net)
    assert [(one.name, one.type, one.depth, one.number) for one in found.rows] == [
        ("", "Net", 0, 1),
        ("stem", "Conv2d", 1, 1),
        ("block", "Block", 1, 2),
        ("block.conv", "Conv2d", 2, 1),
        ("block.norm", "BatchNorm2d", 2, 2),
        ("unused", "Block", 1, 3),
        ("unused.conv", "Conv2d", 2, 3),
        ("unused.norm", "BatchNorm2d", 2, 4),
        ("gelu", "GELU", 1, 4),
        ("head", "Linear", 1, 5),
    ]
    for one in found.rows:
        if one.index is not None:
            assert list(find_layers(model, one.index)) == [one.name]


def test_shapes_and_calls(found: Any) -> None:
    assert row(found, "stem").output == (2, 4, 8, 8)
    assert row(found, "block").output == (2, 4, 4, 4)
    assert row(found, "block").calls == 2
    assert (row(found, "unused").output, row(found, "unused").calls) == (None, 0)
    assert (row(found, "").output, row(found, "").calls) == ((2, 5), 1)


def test_parameters_are_counted_once(found: Any) -> None:
    model = seeded(Net)
    assert found.parameters == sum(one.numel() for one in model.parameters())
    assert row(found, "block").parameters == 4 * 4 * 9 + 8
    model.stem.requires_grad_(False)
    model.head.weight = nn.Parameter(model.head.weight)
    again = ta.summary(model, X)
    assert again.fixed_parameters == 3 * 4 * 9 + 4
    assert again.trainable_parameters == found.parameters - again.fixed_parameters
    assert again.parameter_bytes == 4 * again.parameters


def test_multiply_adds_are_half_the_flops_of_the_flop_counter(found: Any) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        seeded(Net)(X)
    assert found.multiply_adds == counter.get_total_flops() // 2
    assert row(found, "stem").multiply_adds == 2 * 4 * 3 * 9 * 64
    assert row(found, "block").multiply_adds == 2 * (2 * 4 * 4 * 9 * 16)
    assert row(found, "unused").multiply_adds == 0
    assert row(found, "").multiply_adds == found.multiply_adds


def test_what_rules_would_catch(found: Any) -> None:
    assert found.relu_calls == row(found, "block").relu_calls == 2
    assert found.without_rule == row(found, "gelu").without_rule == {"gelu": 1}
    assert row(found, "block").operations == {"add": 2, "batch_norm": 2, "conv": 2, "relu": 2}
    assert not found.unseen


def test_bytes_that_an_attribution_keeps(found: Any) -> None:
    assert row(found, "block").remembered_bytes == 2 * (2 * 4 * 16 // 8)
    pooled = 2 * 4 * 16
    smooth = 2 * 4 * 16 * 4
    assert row(found, "gelu").remembered_bytes == smooth
    assert found.remembered_bytes == pooled + smooth + row(found, "block").remembered_bytes
    assert row(found, "stem").remembered_bytes == 0


def test_sizes(found: Any) -> None:
    assert found.input_bytes == 2 * 3 * 64 * 4
    outputs = 2 * 4 * 64 + 2 * (2 * 4 * 16) * 2 + 2 * 5
    assert found.forward_bytes == 2 * 4 * outputs
    total = found.input_bytes + found.forward_bytes + found.parameter_bytes
    assert found.total_bytes == total


def test_on_the_meta_device_it_is_the_same() -> None:
    with torch.device("meta"):
        model = Net().eval()
    assert str(ta.summary(model, X.to("meta"))) == str(ta.summary(seeded(Net), X))


def test_text_and_html_show_the_same(found: Any) -> None:
    text, html = str(found), found._repr_html_()
    lines = text.splitlines()
    assert re.search(
        r"^    Conv2d: 2-1 +block\.conv +1 +\(2, 4, 4, 4\) ×2 +144 +9,216 ", text, re.MULTILINE
    )
    assert re.search(r"^  Block: 1-3 +unused +did not run ", text, re.MULTILINE)
    assert re.search(r"^ReLU calls that rules rewrite +2$", text, re.MULTILINE)
    assert re.search(r"^Activations without a rule +1 gelu$", text, re.MULTILINE)
    assert len({len(line) for line in lines if set(line) == {"─"}}) == 1
    for part in ("block.conv", "9,216", "did not run", "1 gelu"):
        assert part in html
    assert "<script" not in html


def test_its_repr_is_one_line(found: Any) -> None:
    assert repr(found).startswith("Summary(Net of 10 modules: ")
    assert "\n" not in repr(found)


def test_depth_limits_what_is_shown_and_says_so() -> None:
    shallow = ta.summary(seeded(Net), X, depth=1)
    assert "block.conv" not in str(shallow)
    assert "Modules below this depth, not shown  4" in str(shallow)
    assert len(shallow.rows) == 10
    with refused(InputError, "depth must be 0 or more", "-1"):
        ta.summary(seeded(Net), X, depth=-1)


def test_names_are_escaped_in_html() -> None:
    odd = type("<b>", (nn.ReLU,), {})
    assert "<b>" not in ta.summary(nn.Sequential(odd()), X)._repr_html_()


def test_further_arguments_and_several_outputs() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = nn.LSTM(3, 2)

        def forward(self, x: Tensor, flag: str) -> Any:
            return {flag: self.pair(x)}

    one = ta.summary(
        Several().eval(), noise(5, 3, dtype=torch.float32), additional_forward_args="a"
    )
    assert row(one, "pair").output == ((5, 2), (1, 2), (1, 2))
    assert row(one, "").output == ((5, 2), (1, 2), (1, 2))


def test_whole_numbers_are_summarised_too() -> None:
    model = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 2), nn.ReLU()).eval()
    one = ta.summary(model, torch.tensor([[1, 2]]))
    assert (one.relu_calls, one.remembered_bytes, one.multiply_adds) == (1, 0, 12)


def test_the_model_is_as_it_was() -> None:
    model = seeded(Net)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ta.summary(model, X)
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    for part in model.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part.training
    assert all(
        parameter.grad is None and parameter.requires_grad for parameter in model.parameters()
    )


def test_what_cannot_be_summarised_is_refused() -> None:
    with refused(TrainingModeError, "model.eval()", "'block.norm'"):
        ta.summary(Net().train(), X)
    with refused(InputTypeError, "model must be a module", "function"):
        ta.summary(lambda x: x, X)
    with refused(ModelError, "'0.weight'", "run the model once"):
        ta.summary(nn.Sequential(LAZY), X)


LAZY = nn.LazyConv2d(2, 3)


def test_functions_of_ones_own_are_named() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Own.apply(x)

    one = ta.summary(Model().eval(), X)
    assert one.unseen == {"Own": 1}
    assert "Out of every rule's sight" in str(one)


def test_a_model_that_looks_at_values_has_no_shapes_without_them() -> None:
    class Looking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    assert ta.summary(Looking().eval(), X).parameters == 0
    with refused(ModelError, "cannot be traced by shapes alone", "on a real device"):
        ta.summary(Looking().eval(), X.to("meta"))
    with refused(ShapeError, "2 channels instead of 3"):
        ta.summary(seeded(Net), X[:, :2])


class Scaled(nn.Module):
    """A weight that a rectifier computes from constants, and branches that no output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(4, 3))
        self.scale = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.GELU())
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.unused = nn.Sequential(nn.ReLU(), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.unused(y)
        with torch.no_grad():
            F.relu(y)
        F.relu(y.detach())
        return self.relu(y) * self.scale(self.table).mean(0)[:, None, None]


def test_only_rectifiers_that_rules_reach_are_counted() -> None:
    model = seeded(Scaled)
    found = ta.summary(model, X)
    assert found.relu_calls == row(found, "relu").relu_calls == row(found, "").relu_calls == 1
    assert row(found, "scale").relu_calls == row(found, "unused").relu_calls == 0
    assert row(found, "scale").operations == {"gelu": 1, "linear": 1, "relu": 1}
    assert found.without_rule == row(found, "scale").without_rule == {}


class Written(nn.Module):
    """Rectifiers that overwrite a tensor, a slice of one, and by assignment."""

    def forward(self, x: Tensor) -> Tensor:
        x = x * 2
        x[x < 0] = 0
        x[:, :1].relu_()
        x[:, 1:].clamp_(min=0)
        F.relu_(x)
        return torch.relu(x).add_(1)


def test_rectifiers_in_place_are_counted() -> None:
    assert ta.summary(Written(), X).relu_calls == 5


def test_no_rule_reaches_what_was_cut_off() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(F.gelu(x).detach())

    found = ta.summary(Cut(), X)
    assert (found.relu_calls, found.without_rule) == (0, {})
    assert found.rows[0].operations == {"gelu": 1, "relu": 1}


def test_relative_positions_of_a_transformer_are_constants() -> None:
    model = swin_v2(num_classes=4)
    assert ta.summary(model.eval(), torch.rand(1, 3, 32, 32)).relu_calls == 0


def swin_v2(**options: Any) -> nn.Module:
    """A small network of torchvision whose position table goes through an MLP with ReLUs."""
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer
    from torchvision.models.swin_transformer import SwinTransformerBlockV2 as Block2

    small = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": [4, 4]}
    return SwinTransformer(
        [2, 2], **small, block=Block2, downsample_layer=PatchMergingV2, **options
    )
