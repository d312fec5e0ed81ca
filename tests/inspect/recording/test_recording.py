"""Layers and operations are recorded together, however they are selected."""

from __future__ import annotations

import re
import warnings
from threading import Thread
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

from torchattr.errors import LayerError, ScriptedModelError, TrainingModeError
from torchattr.inspect import Recording


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.drop = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.drop(self.conv(x)))


class Net(nn.Module):
    """Calls one branch twice and another one never."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = Branch()
        self.unused = Branch()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.branch(self.branch(x)) - 0.1)
        return F.max_pool2d(x, 2)


X = noise(2, 2, 4, 4, dtype=torch.float32)


def recorded(layers: Any, model: nn.Module | None = None) -> dict[str, int]:
    calls = Recording(seeded(Net) if model is None else model, (X,), (), layers).calls
    return {name: len(found) for name, found in calls.items()}


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ("r", {"relu": 1, "branch.relu": 2}),
        ("c", {"branch.conv": 2}),
        ("p", {"max_pool": 1}),
        ("branch", {"branch": 2}),
        ("branch#2", {"branch#2": 1}),
        ("branch.relu", {"branch.relu": 2}),
        ("branch.relu#2", {"branch.relu#2": 1}),
        ("branch.*", {"branch.conv": 2, "branch.drop": 2, "branch.relu": 2}),
        (re.compile("relu$"), {"relu": 1, "branch.relu": 2}),
        (nn.Conv2d, {"branch.conv": 2}),
        (-1, {"relu": 1}),
        (["p", "relu", "branch.relu"], {"max_pool": 1, "relu": 1, "branch.relu": 2}),
    ],
)
def test_what_is_selected_is_recorded(layers: Any, found: dict[str, int]) -> None:
    assert recorded(layers) == found


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("branch.relo", ("'branch.relo'", "did you mean 'branch.relu'")),
        ("unused.conv", ("'unused.conv' did not run",)),
        ("branch.relu#3", ("'branch.relu#3' did not run", "fewer times")),
        ("branch#3", ("'branch#3' did not run",)),
        ("elsewhere#1", ("no layer 'elsewhere#1'",)),
    ],
)
def test_what_did_not_run_is_refused(layers: str, words: Any) -> None:
    with refused(LayerError, *words):
        recorded(layers)


def test_a_code_without_operations_says_what_ran() -> None:
    with refused(LayerError, "the code 'p'", "max_pool", "it ran: linear"):
        Recording(nn.Linear(2, 2), (torch.ones(1, 2),), (), "p")


def test_values_are_those_of_the_forward_though_written_over() -> None:
    model = seeded(Net)
    calls = Recording(model, (X,), (), ["branch", "branch.relu", "relu"]).calls
    once = model.branch(X)
    twice = model.branch(once)
    assert_same(calls["branch"][0].values[0].detach(), once.detach())
    assert_same(calls["branch.relu"][1].values[0].detach(), twice.detach())
    assert_same(calls["relu"][0].values[0].detach(), (twice - 0.1).relu().detach())


def test_gradients_are_read_at_operations() -> None:
    model = seeded(Net)
    recording = Recording(model, (X,), (), "branch.relu#2")
    ((captured,),) = recording.calls.values()
    with pytest.raises(KeyError):
        recording.calls["branch.relu"]
    values = captured.values[0].detach().requires_grad_()
    F.max_pool2d((values - 0.1).relu(), 2).sum().backward()
    watched = Recording(model, (X,), (), ["branch.relu#2", "max_pool"])
    last = watched.calls["max_pool"][0].values[0]
    (found,) = watched.trace.gradients(last.sum(), watched.calls["branch.relu#2"][0].edges)
    assert found is not None
    assert_same(found, values.grad)


def test_a_function_names_its_operations() -> None:
    recording = Recording(lambda x: F.relu(F.relu(x) - 1), (X,), (), "r")
    assert {name: len(calls) for name, calls in recording.calls.items()} == {"relu": 2}


def test_training_and_scripted_models_are_refused_and_nothing_stays() -> None:
    model = Net().train()
    with refused(TrainingModeError, "model.eval()", "'branch.drop'"):
        recorded("r", model)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit warns that it is deprecated.
        traced = torch.jit.trace(seeded(Branch), X, check_trace=False)
    with refused(ScriptedModelError, "hides its operations"):
        recorded("r", traced)


def test_several_threads_record_the_same_model() -> None:
    model = seeded(Net)
    found: list[dict[str, int]] = []
    threads = [
        Thread(target=lambda: found.append(recorded(["r", "branch"], model))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"relu": 1, "branch.relu": 2, "branch": 2}] * 4
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_grad_modes_of_the_caller_do_not_matter() -> None:
    model = seeded(Net)
    with torch.inference_mode():
        calls = Recording(model, (X.clone(),), (), "r").calls
    assert all(one.edges[0] is not None for found in calls.values() for one in found)


def test_an_exported_graph_names_its_operations() -> None:
    graph = torch.export.export(seeded(Net), (X,)).module()
    assert recorded(["r", "c", "p"], graph) == {"relu": 3, "conv": 2, "max_pool": 1}


@pytest.mark.slow
def test_a_compiled_model_keeps_its_names() -> None:
    compiled = torch.compile(seeded(Net), backend="eager")
    compiled(X)
    assert recorded(["r", "branch"], compiled) == {"relu": 1, "branch.relu": 2, "branch": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "relus", "places"),
    [
        ("resnet18", {}, 17, 9),
        ("googlenet", {"init_weights": False}, 57, 57),
        ("vgg11", {}, 10, 10),
        ("densenet121", {}, 121, 121),
    ],
)
def test_every_relu_of_torchvision_models(
    name: str, options: dict[str, Any], relus: int, places: int
) -> None:
    models = pytest.importorskip("torchvision.models")
    model = seeded(getattr(models, name), weights=None, **options)
    recording = Recording(model, (noise(1, 3, 64, 64, dtype=torch.float32),), (), "r")
    assert (
        sum(map(len, recording.calls.values())) == relus == recording.trace.coverage.calls["relu"]
    )
    assert len(recording.calls) == places
    for calls in recording.calls.values():
        assert all(bool((call.values[0] >= 0).all()) for call in calls)
