from torchattr.inspect import environment
from torchattr.kernels import backends
from torchattr.kernels.reference.backend import TorchBackend


class Picky(TorchBackend):
    name = "picky"

    def refusals(self, request):
        return [f"no {request.device.type}", "no compiler"]


def test_the_cpu_is_the_first_device():
    assert environment.list_devices()[0].name == "cpu"


def test_each_operation_is_listed_with_its_rules():
    rules = {row.name: row.rules for row in environment.list_operations()}
    assert {"gradient", "guided", "deconvolution"} <= set(rules["relu"])
    assert "gradient" not in rules["gelu"]
    assert rules["dropout"] == ()


def test_a_backend_says_every_reason(monkeypatch):
    monkeypatch.setattr(environment, "backends", lambda: {"picky": Picky(), **backends()})
    reasons = environment.backend_reasons()
    assert reasons["picky"]["cpu"] == ["no cpu", "no compiler"]
    assert reasons["torch"]["cpu"] == []
