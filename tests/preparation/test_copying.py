"""The copy has new objects over the same memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchattr.preparation.copying import shared_copy, storages


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 2)
        self.tied = nn.Linear(3, 2, bias=False)
        self.tied.weight = self.one.weight
        self.register_buffer("count", torch.zeros(2), persistent=False)
        self.made = self.one.weight * 2  # Has a graph, which deepcopy alone refuses.
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)


def test_tensors_are_shared_and_objects_are_not() -> None:
    model = Odd()
    copy = shared_copy(model)
    own, ours = dict(model.named_parameters()), dict(copy.named_parameters())
    assert [(n, p.requires_grad) for n, p in own.items()] == [
        (n, p.requires_grad) for n, p in ours.items()
    ]
    assert all(ours[name] is not own[name] for name in own)
    assert storages(ours.values()) == storages(own.values())
    assert copy.tied.weight is copy.one.weight
    assert copy.count is not model.count
    assert copy.count.data_ptr() == model.count.data_ptr()
    assert copy.made.data_ptr() == model.made.data_ptr()
    copy.to(torch.float64)
    assert model.one.weight.dtype == model.count.dtype == torch.float32


class Tagged(nn.Parameter):
    """A parameter of another class."""


def test_parameters_keep_their_class() -> None:
    model = nn.Linear(2, 2)
    model.weight = Tagged(model.weight.detach())
    copy = shared_copy(model)
    assert type(copy.weight) is Tagged
    assert copy.weight is not model.weight
    assert copy.weight.data_ptr() == model.weight.data_ptr()


def test_what_a_forward_keeps_with_its_graph_is_shared() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.kept: dict[str, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            return x * self.kept.setdefault("table", self.weight * 2)

    model = Keeping()
    model(torch.ones(3))
    copied = shared_copy(model)
    assert copied.kept["table"].data_ptr() == model.kept["table"].data_ptr()
    assert not copied.kept["table"].requires_grad
