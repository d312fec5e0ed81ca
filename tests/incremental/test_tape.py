"""The tape: which calls of a forward it records, and which clean values it keeps."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from helpers import noise
from torch import Tensor

from torchattr.incremental.tape import Tape, TapeMode, writes_input


def recorded(model: Any, *inputs: Tensor) -> Tape:
    recording = TapeMode(inputs)
    with torch.no_grad(), recording:
        output = model(*inputs)
    recording.finish(output)
    return recording.tape


def names(tape: Tape) -> list[str]:
    return [entry.function.__name__ for entry in tape.entries]


def test_calls_that_depend_on_the_inputs_are_written_down() -> None:
    weight = torch.rand(3, 3)

    def model(x: Tensor) -> Tensor:
        return F.linear(x, weight.exp() * x.shape[0]).relu()

    tape = recorded(model, noise(2, 3).float())
    assert names(tape) == ["linear", "relu"]
    assert [(entry.inputs, entry.outputs) for entry in tape.entries] == [((0,), (1,)), ((1,), (2,))]
    assert [value.readers for value in tape.values] == [1, 1, 1]
    assert tape.values[1].shape == (2, 3)
    assert isinstance(tape.entries[0].args[1], Tensor)


def test_what_is_written_over_becomes_another_value() -> None:
    x = noise(2, 3)
    tape = recorded(lambda x: x.exp().relu_().add_(x), x)
    assert [entry.same for entry in tape.entries] == [False, True, True]
    assert [writes_input(entry) for entry in tape.entries] == [False, True, True]
    # Only values that a later operator may read outside of its box are worth a copy.
    assert tape.values[1].clean is None
    assert tape.values[2].clean is not None
    assert torch.equal(tape.values[2].clean, x.exp().relu())
    assert not tape.aliased


def test_writing_may_be_asked_for_by_position() -> None:
    def model(x: Tensor) -> Tensor:
        y = x.exp()
        z = y * 2
        F.leaky_relu(y, 0.1, True)
        return y + z

    x = noise(2, 3)
    tape = recorded(model, x)
    assert tape.values[1].clean is not None
    assert torch.equal(tape.values[1].clean, x.exp())
    assert tape.entries[-1].inputs == (3, 2)


def test_a_value_written_over_through_another_is_told() -> None:
    assert recorded(lambda x: x[:, :1].mul_(2) + x, noise(2, 3)).aliased
    assert not recorded(lambda x: x[:, :1].clone().mul_(2) + x, noise(2, 3)).aliased
    assert recorded(lambda x: torch.mul(x, 2, out=x.exp()), noise(2, 3)).aliased


def test_parts_that_are_written_over_are_told() -> None:
    def model(x: Tensor) -> Tensor:
        y = x.exp()
        y[:, 0] = 0.5
        return y * 2

    tape = recorded(model, noise(2, 3))
    assert tape.lost == {1}
    assert not tape.aliased


def test_a_constant_that_is_written_over_depends_on_the_input_from_then_on() -> None:
    constant = torch.zeros(2, 3, dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        total = constant.clone()
        total += x
        return total.relu()

    tape = recorded(model, noise(2, 3))
    assert names(tape) == ["add_", "relu"]
    assert not writes_input(tape.entries[0])


def test_questions_about_shapes_are_no_calls() -> None:
    def model(x: Tensor) -> Tensor:
        assert x.dim() == len(x.shape) == x.ndim
        return x.view(x.size(0), -1).double() if x.is_floating_point() else x

    assert names(recorded(model, noise(2, 3))) == ["view", "double"]


def test_what_the_model_drops_lends_its_identity_to_nothing_on_the_tape() -> None:
    def model(x: Tensor) -> Tensor:
        for _ in range(50):
            x = x + 1
            torch.zeros(2, 3).relu()
        return x

    tape = recorded(model, noise(2, 3))
    assert names(tape) == ["add"] * 50
    assert [value.readers for value in tape.values] == [1] * 51


def test_a_tape_has_room_for_so_much() -> None:
    def model(x: Tensor) -> Tensor:
        return x.exp().relu().sin().cos()

    x = noise(2, 3)
    for most, full in ((5 * x.nbytes, False), (3 * x.nbytes, True)):
        recording = TapeMode([x], most)
        with recording:
            output = model(x)
        recording.finish(output)
        assert torch.equal(output, model(x))
        assert recording.is_full == full
        assert len(recording.tape.entries) == (0 if full else 4)
