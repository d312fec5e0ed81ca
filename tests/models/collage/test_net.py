from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name

from torchattr.models.collage.net import CollageNet, ReusedBlock


class Names(TorchFunctionMode):
    """Counts the functions that are called, by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.seen[resolve_name(func) or ""] += 1
        return func(*args, **(kwargs or {}))


def test_maps_and_logits_have_their_shapes() -> None:
    net = CollageNet(8).eval()
    x = torch.rand(2, 3, 128, 128)
    assert net.features(x).shape == (2, 96, 16, 16)
    assert net(x).shape == (2, 8)


def test_relu_is_spelled_in_several_ways() -> None:
    with Names() as names, torch.no_grad():
        CollageNet(8).eval()(torch.rand(1, 3, 64, 64))
    assert names.seen["torch.relu"] == 1
    assert names.seen["torch.Tensor.relu_"] == 3
    # each nn.ReLU arrives as F.relu and twice in its block; each functional block adds one
    assert names.seen["torch.nn.functional.relu"] == 2 * 2 + 3


def test_the_module_relu_is_in_place_and_reused() -> None:
    block = ReusedBlock(4).eval()
    calls: list[nn.Module] = []
    block.relu.register_forward_hook(lambda module, args, output: calls.append(module))
    block(torch.rand(1, 4, 8, 8))
    assert block.relu.inplace
    assert calls == [block.relu, block.relu]


def test_the_input_stays_as_it_was() -> None:
    x = torch.randn(1, 3, 64, 64)
    before = x.clone()
    CollageNet(8).eval()(x)
    assert torch.equal(x, before)


def test_every_parameter_learns() -> None:
    net = CollageNet(8)
    net(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
