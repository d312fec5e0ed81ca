"""Each case runs from end to end on something tiny, and its tables can be shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import vgg

from benchmarks import child, operations, tasks, viewer
from benchmarks.__main__ import sections
from benchmarks.cases import CASES, kernels, prepare, scale
from benchmarks.cases import inspect as inside
from benchmarks.cases.base import Case, Row
from benchmarks.comparison import Comparison
from benchmarks.operations import Relu, ReluBackward, wrong
from benchmarks.settings import Settings
from benchmarks.tasks import METHODS, Subject, Task
from torchattr.kernels.reference.backend import TorchBackend

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


def light(name: str, size: int) -> nn.Module:
    """Give ResNet-18 for any network, and the convolutions of VGG-16 with one linear layer."""
    if name != "vgg16":
        return tasks.network("resnet18", size)
    torch.manual_seed(0)
    features = vgg.make_layers(vgg.cfgs["D"])
    for part in features:
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    end = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(512, 1000)}
    return nn.Sequential(OrderedDict(features=features, **end)).eval()


def of(name: str, size: int, device: torch.device) -> Subject:
    name = name if name == "vgg16" else "resnet18"
    return Subject(name, light(name, size), size, device, 7)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks and pictures in place of all."""
    monkeypatch.setattr(Settings, "size", property(lambda self: 64))
    monkeypatch.setattr(Settings, "growth_batches", property(lambda self: (1,)))
    monkeypatch.setattr(prepare, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(scale, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(Subject, "of", of)


def shown(case: str, rows: list[dict[str, Any]]) -> str:
    return "\n".join(CASES[case].tables(rows))


def right(row: dict[str, Any]) -> list[str]:
    return [name for name, side in row["sides"].items() if "wrong" not in side]


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_methods() -> None:
    rows = list(CASES["methods"].run(QUICK))
    assert [(row["method"], row["batch"]) for row in rows] == [
        (method, batch) for method in METHODS for batch in (1, 2)
    ]
    guided = next(row for row in rows if row["method"] == "GuidedBackprop" and row["batch"] == 2)
    assert guided["sides"]["grad-cam"] == {"wrong": "one image at a time"}
    assert right(guided) == ["torchattr", "captum", "zennit", "floor"]
    ours, captum = guided["sides"]["torchattr"], guided["sides"]["captum"]
    assert ours["remembered_mib"] < captum["remembered_mib"] / 20
    assert ours["peak_mib"] < captum["peak_mib"]
    assert captum["ratio"] > 0
    assert "### GuidedGradCAM" in shown("methods", rows)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_a_cell_that_would_take_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not one that a target rests on."""
    monkeypatch.setattr(Settings, "batch", property(lambda self: 1))
    monkeypatch.setattr(Settings, "longest_round", property(lambda self: 1e-6))
    first, second = CASES["methods"].run(replace(QUICK, methods=("Saliency",)))
    assert "sides" in first
    assert second["left_out"].startswith("a round would take about")


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("case", ["sharing", "prepare"])
def test_case(case: str) -> None:
    rows = CASES[case].run(QUICK)
    assert rows
    for row in rows:
        assert all("wrong" not in side for side in row["sides"].values())
    assert shown(case, rows)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_scale() -> None:
    (row,) = CASES["scale"].run(QUICK)
    assert right(row) == ["torchattr", "inference", "captum"]
    assert all(side["growth_mib"] > 0 for side in row["sides"].values())
    assert "| resnet18 | 1 |" in shown("scale", [row])


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_inspect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "COUNTS", (1, 2))
    monkeypatch.setattr(inside, "CALLS", 2)
    clicked = {"name": "viewer click", "left_out": "it is tested by itself"}
    monkeypatch.setattr(inside, "click", lambda settings: clicked)
    rows = CASES["inspect"].run(QUICK)
    assert [row["name"] for row in rows[:3]] == ["whole maps", "maxima", "layer by layer"]
    assert all(right(row) == ["torchattr", "captum"] for row in rows[:3])
    assert "Left out: viewer click, it is tested by itself." in shown("inspect", rows)


@pytest.mark.slow
def test_a_click() -> None:
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    row = inside.click(QUICK)
    assert row["rounds"] == len(viewer.LAYERS)
    assert 0 < row["sides"]["torchattr"]["ms"] <= row["sides"]["torchattr"]["longest_ms"]


@pytest.fixture
def tiny_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PLANES", (3, 10, 11))


@pytest.mark.usefixtures("tiny_planes")
@pytest.mark.parametrize("memory", kernels.MEMORY)
def test_operations_agree_with_the_eager_ones(memory: str) -> None:
    made = operations.operations(2, QUICK.device, torch.float32, kernels.MEMORY[memory])
    for name, make in made.items():
        operation = make()
        assert operation.name == name
        assert operation.moved > operation.x.nbytes
        assert wrong(operation, TorchBackend()) is None, name


@pytest.mark.parametrize("gate", ["gradient", "guided", "deconvolution"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 0, 2, 1)])
def test_a_mask_is_packed_for_the_layout_of_its_signal(gate: Any, order: tuple[int, ...]) -> None:
    inverse = sorted(range(4), key=order.__getitem__)
    x = torch.randn([[2, 3, 4, 5][axis] for axis in order]).permute(inverse)
    operation = ReluBackward("relu_backward", x, gate)
    assert operation.output.stride() == x.stride()
    assert wrong(operation, TorchBackend()) is None


@pytest.mark.usefixtures("tiny_planes")
def test_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def eager(operation: operations.Operation) -> Callable[[], Any]:
        return operation.eager

    monkeypatch.setattr(kernels, "_compiled", eager)
    rows = CASES["kernels"].run(QUICK)
    assert {row["operation"] for row in rows if row["chosen"]} == {row["operation"] for row in rows}
    assert all(row["of_copy"] > 0 and row["to_compiled"] > 0 for row in rows)
    assert all("to_plain" in row for row in rows if row["operation"] == "relu")
    assert "| relu | float32 |" in shown("kernels", rows)


def test_a_backend_that_is_wrong_gets_no_time() -> None:
    class Bad:
        name = "bad"

        def relu(self, x: torch.Tensor) -> Any:
            output, mask = TorchBackend().relu(x)
            return output, mask ^ 1

    operation = Relu("relu", torch.linspace(-1, 1, 60).view(1, 3, 4, 5))
    assert wrong(operation, Bad()) == "differs by 1 of the largest value"  # type: ignore[arg-type]


def test_a_side_that_is_wrong_in_a_comparison_is_named() -> None:
    def sides(task: Task) -> Any:
        return {
            "torchattr": lambda: [task.images],
            "captum": lambda: [task.images + 1],
            "broken": lambda: [][0],
        }

    model = nn.Conv2d(3, 2, 1)
    subject = Subject("resnet18", model, 4, QUICK.device, 0)
    found = Comparison("it", "resnet18", 1, sides, lambda task: [task.images]).wrong_sides(subject)
    assert list(found) == ["captum", "broken"]
    assert found["captum"].startswith("wrong by")
    assert found["broken"].startswith("raises IndexError")


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="invalid choice"):
        child.measured_alone("nonsense")


class Counted(Case):
    """Measures nothing, and says what it was asked for."""

    name = title = "counted"

    def run(self, settings: Settings) -> Iterator[dict[str, Any]]:
        for network in settings.networks:
            for method in settings.methods:
                for batch in settings.batches:
                    yield counted(network, method, batch, is_new=True)

    def tables(self, rows: Sequence[Row]) -> list[str]:
        return []


def counted(network: str, method: str, batch: int, is_new: bool) -> dict[str, Any]:
    return {"network": network, "method": method, "batch": batch, "is_new": is_new}


BEFORE = [
    counted(network, method, batch, is_new=False)
    for network in ("vgg16", "alexnet")
    for method in METHODS
    for batch in (1, 8, 64)
]


@pytest.mark.parametrize(
    ("asked", "renewed"),
    [
        ({"networks": ("vgg16",), "largest": 8}, len(METHODS) * 2),
        ({"networks": ("vgg16",), "methods": ("GradCAM",)}, 3),
        ({"networks": ("vgg16", "alexnet"), "methods": ("Deconvolution", "GradCAM")}, 12),
    ],
)
def test_rows_that_a_run_leaves_out_stay(asked: dict[str, Any], renewed: int) -> None:
    settings = Settings(torch.device("cpu"), **asked)
    *_, last = sections(Counted(), settings, BEFORE)
    assert [row | {"is_new": False} for row in last["rows"]] == BEFORE
    new = [row for row in last["rows"] if row["is_new"]]
    assert len(new) == renewed
    assert all(settings.renews(row) for row in new)


def test_a_run_that_is_cut_off_keeps_what_it_has() -> None:
    settings = Settings(torch.device("cpu"), networks=("vgg16",))
    growing = sections(Counted(), settings, BEFORE)
    before = len([row for row in BEFORE if row["network"] == "alexnet"])
    assert [len(next(growing)["rows"]) for _ in range(3)] == [before, before + 1, before + 2]
