"""Which way is taken, by the counted bytes and calls of a model."""

from __future__ import annotations

import gc
from weakref import ref

import pytest
import torch
from helpers import noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError
from torchattr.layers import NativeTrace, TapPoint, Trace
from torchattr.methods._gradient import memory
from torchattr.methods._gradient.memory import (
    ForwardSize,
    checked_memory,
    knows_size,
    note_size,
    prefers_native,
)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


X = noise(2, 3, 8, 8).float()


def noted(model: nn.Module, x: Tensor = X) -> nn.Module:
    note_size(model, (x,), Trace(model, (x,)))
    return model


def test_an_unknown_choice_is_refused() -> None:
    with refused(InputError, "memory='little' is none of auto, lean, native"):
        checked_memory("little")


def test_the_bytes_and_calls_of_a_forward_are_counted() -> None:
    model = seeded(net)
    # Convolution, rectifier and flattening return 288 numbers each, the linear layer 6. What
    # PyTorch's own graph makes of the weights is not counted: it does not grow with the inputs.
    expected = ForwardSize(X.numel() * 4, 4, 4 * (3 * 288 + 6))
    for trace in (Trace(model, (X,)), NativeTrace(model, (X,))):
        note_size(model, (X,), trace)
        assert memory._sizes[model] == expected
    assert expected.of(3 * expected.inputs) == ForwardSize(X.numel() * 12, 4, 3 * expected.bytes)


def test_a_graph_that_begins_at_a_layer_does_not_tell() -> None:
    model = seeded(net)
    note_size(model, (X,), Trace(model, (X,), taps=[TapPoint(model[1])], from_inputs=False))
    assert not knows_size(model)


def test_large_operations_are_lean(monkeypatch: pytest.MonkeyPatch) -> None:
    model = noted(seeded(net))
    average = memory._sizes[model].bytes / 4
    monkeypatch.setitem(memory.SMALL_CALL, "cpu", average)
    assert prefers_native(model, (X,))
    assert not prefers_native(model, (X.repeat(2, 1, 1, 1),))


def test_what_is_large_beside_free_memory_is_lean(monkeypatch: pytest.MonkeyPatch) -> None:
    model = noted(seeded(net))
    monkeypatch.setattr(memory, "ALWAYS_FREE", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10 * memory._sizes[model].bytes)
    assert prefers_native(model, (X,))
    assert not prefers_native(model, (X.repeat(3, 1, 1, 1),))


def test_nothing_outlives_the_model() -> None:
    model = noted(seeded(net))
    known = ref(model)
    assert model in memory._sizes
    del model
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("small", [2, 2**30])
def test_the_same_inputs_always_run_the_same_way(monkeypatch, small: int) -> None:
    """Also the first time, when the inputs' size alone says otherwise."""
    monkeypatch.setitem(memory.SMALL_CALL, "cpu", small)
    monkeypatch.setitem(memory.SMALL_INPUT, "cpu", 2**30 if small == 2 else 2)
    model = seeded(net)
    reasons = [ta.explain(model, X, ["saliency"]).coverage.lean_because for _ in range(2)]
    assert reasons == 2 * ["what it makes is large" if small == 2 else ""]
    assert knows_size(model)


def test_the_first_forward_draws_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) * torch.rand(())

    monkeypatch.setitem(memory.SMALL_INPUT, "cpu", 2)
    torch.manual_seed(1)
    expected = torch.rand(())
    torch.manual_seed(1)
    found = ta.Saliency(Noisy().eval()).attribute(X, target=0)
    assert torch.equal(found.flatten(1)[:, 0], expected.expand(2))
