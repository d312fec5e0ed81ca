"""Every call of an operation has a readable, stable name and an output in the graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from helpers import noise, seeded
from torch import Tensor, nn

from torchattr.core.select import layer_names
from torchattr.inspect.recording.module_stack import ModuleStack
from torchattr.inspect.recording.operation_calls import OperationCall, OperationWatcher
from torchattr.layers import Trace


class Block(nn.Module):
    """Calls ReLU as a layer twice, as a function, in place, and as arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = self.relu(self.conv(x))
        x = F.relu(self.conv(x))
        x = self.conv(x).relu_()
        x = self.conv(x)
        return x * (x > 0)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.pool = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.block(x))
        x, _ = self.pool(x)
        return torch.flatten(F.avg_pool2d(F.relu(x), 2), 1)


def watched(model: nn.Module, x: Tensor) -> list[tuple[OperationCall, Tensor]]:
    seen: list[tuple[OperationCall, Tensor]] = []
    names = layer_names(model)
    operations = OperationWatcher(
        names, ModuleStack(names), lambda ran, output: seen.append((ran, output))
    )
    Trace(operations.around(model), (x,))
    return seen


def test_names_are_those_of_layers_or_of_the_module_and_the_operation() -> None:
    seen = watched(seeded(Net), noise(1, 2, 8, 8, dtype=torch.float32))
    assert [ran.name for ran, _ in seen] == [
        *("block.conv", "block.relu", "block.conv#2", "block.relu#2"),
        # The block has a layer called relu, so its functional ones get other names.
        *("block.conv#3", "block.relu()", "block.conv#4", "block.relu()#2"),
        *("block.conv#5", "block.relu()#3"),
        *("relu", "pool", "relu#2", "avg_pool"),
    ]
    assert [ran.operation for ran, _ in seen].count("relu") == 7
    assert seen[1][0].path == "block.relu"
    assert seen[5][0].path == "block"
    assert seen[-1][0].path == ""


def test_outputs_are_in_the_graph() -> None:
    for ran, output in watched(seeded(Net), noise(1, 2, 8, 8, dtype=torch.float32)):
        assert output.requires_grad, ran.name


def test_an_assignment_gives_what_it_wrote_to() -> None:
    class Assigning(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x * 2
            x[x < 0] = 0
            return x + 0.5

    x = noise(1, 5)
    ((ran, output),) = watched(Assigning().eval(), x)
    assert ran.name == "relu"
    assert torch.equal(output, (2 * x).relu())


def test_a_watched_model_stays_the_method_of_its_module() -> None:
    model = Net()
    operations = OperationWatcher({}, ModuleStack({}), lambda ran, output: None)
    assert operations.around(model).__self__ is model
    assert operations.around(model.forward).__self__ is model


def test_names_do_not_depend_on_the_values() -> None:
    model = seeded(Net)
    first = [ran.name for ran, _ in watched(model, noise(1, 2, 8, 8, dtype=torch.float32))]
    second = [ran.name for ran, _ in watched(model, noise(3, 2, 8, 8, seed=5, dtype=torch.float32))]
    assert first == second
