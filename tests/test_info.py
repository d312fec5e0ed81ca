import torch
from torch import nn

from torchattr.inspect import layer_info as info
from torchattr.kernels import backends
from torchattr.kernels.reference.backend import TorchBackend


class Picky(TorchBackend):
    name = "picky"

    def refusals(self, request):
        return [f"no {request.device.type}", "no compiler"]


def test_versions_name_what_results_depend_on():
    found = info.versions()
    assert found["torch"] == torch.__version__.partition("+")[0]
    assert {"python", "torchattr", "torchvision", "numpy", "pillow"} <= found.keys()


def test_the_cpu_is_the_first_device():
    assert info.devices()[0].name == "cpu"


def test_each_operation_is_listed_with_its_rules():
    rules = {row.name: row.rules for row in info.operations()}
    assert {"gradient", "guided", "deconvolution"} <= set(rules["relu"])
    assert "gradient" not in rules["gelu"]
    assert rules["dropout"] == ()


def test_a_backend_says_every_reason(monkeypatch):
    monkeypatch.setattr(info, "backends", lambda: {"picky": Picky(), **backends()})
    reasons = info.backend_reasons()
    assert reasons["picky"]["cpu"] == ["no cpu", "no compiler"]
    assert reasons["torch"]["cpu"] == []


def test_layers_show_shapes_calls_and_what_did_not_run():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return self.conv(self.conv(x)).mean((2, 3))

    rows = {row.name: row for row in info.layers(Twice(), torch.ones(1, 3, 4, 4))}
    assert (rows["conv"].shape, rows["conv"].calls) == ((1, 3, 4, 4), 2)
    assert (rows["unused"].shape, rows["unused"].calls) == (None, 0)
    assert rows["conv"].type == "Conv2d"
    assert "kernel_size=(3, 3)" in rows["conv"].description


def test_depth_counts_the_dots():
    rows = info.layers(nn.Sequential(nn.Sequential(nn.Flatten())), torch.ones(1, 2))
    assert [(row.name, row.depth) for row in rows] == [("0", 0), ("0.0", 1)]
