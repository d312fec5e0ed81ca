"""Scripted, traced and compiled code: intercepted, refused, or detected afterwards."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, autograd, noise, refused, seeded
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattr as ta
from torchattr.layers import Trace
from torchattr.layers.guards import modules_behind

X = noise(2, 3, 8, 8)

pytestmark = pytest.mark.filterwarnings(
    # torch.jit warns that it is deprecated.
    "ignore:.*torch.jit.*",
    "ignore:.*jit.script.*",
)


def small() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64, 3)),
        )
    ).double()


SCRIPTED: dict[str, tuple[Callable[[], Any], str]] = {
    "scripted": (lambda: torch.jit.script(small()), "the model"),
    "traced": (lambda: torch.jit.trace(small(), X), "the model"),
    "scripted part": (lambda: nested(torch.jit.script), "'inner.1'"),
    "traced part": (
        lambda: nested(lambda part: torch.jit.trace(part, X[:, :, 1:-1, 1:-1])),
        "'inner.1'",
    ),
    "scripted function": (lambda: torch.jit.script(scores), "the model"),
    "method of a scripted module": (lambda: torch.jit.script(small()).forward, "the model"),
}


def scores(x: Tensor) -> Tensor:
    return torch.relu(x).flatten(1)


def nested(change: Callable[[nn.Module], Any]) -> nn.Module:
    model = nn.Module()
    model.inner = nn.Sequential(nn.Conv2d(3, 3, 3).double(), change(nn.Sequential(nn.ReLU())))
    model.forward = lambda x: model.inner(x).flatten(1)  # type: ignore[method-assign]
    return model.eval()


@pytest.mark.parametrize("method", [ta.Saliency, ta.GuidedBackprop, ta.Deconvolution])
@pytest.mark.parametrize("form", SCRIPTED)
def test_scripted_code_is_refused_with_the_way_out(form: str, method: Any) -> None:
    make, what = SCRIPTED[form]
    with refused(ta.ScriptedModelError, what, "Python", "torch.export"):
        method(make()).attribute(X, target=1)


class CallsScripted(nn.Module):
    """Its forward calls a scripted function, which its modules do not show."""

    def __init__(self, function: Callable[[Tensor], Tensor], also: bool) -> None:
        super().__init__()
        self.conv = seeded(nn.Conv2d, 3, 4, 3).double()
        self._function = torch.jit.script(function)
        self._also = also

    def forward(self, x: Tensor) -> Tensor:
        x = self._function(self.conv(x))
        return (x.relu() if self._also else x).flatten(1)


def relu(x: Tensor) -> Tensor:
    return torch.relu(x) * 2.0


def clamp(x: Tensor) -> Tensor:
    return torch.clamp(x, min=0.0) * 2.0


def hardtanh(x: Tensor) -> Tensor:
    return F.hardtanh(x, 0.0, 6.0) * 2.0


def threshold(x: Tensor) -> Tensor:
    return torch.threshold(x, 0.0, 0.0) * 2.0


HIDDEN = {f.__name__: f for f in (relu, clamp, hardtanh, threshold)}


@pytest.mark.parametrize("also", [False, True], ids=["alone", "beside a visible one"])
@pytest.mark.parametrize("function", HIDDEN)
def test_a_rectifier_in_a_scripted_function_is_found_out(function: str, also: bool) -> None:
    model = CallsScripted(HIDDEN[function], also).eval()
    # The profiling executor changes its mind within the first runs.
    for _ in range(4):
        with refused(ta.NoRuleMatched, "GuidedBackprop missed", "out of sight", "strict=False"):
            ta.GuidedBackprop(model).attribute(X, target=1)
        with pytest.warns(ta.CoverageWarning, match="out of sight"):
            ta.GuidedBackprop(model, strict=False).attribute(X, target=1)


def test_saliency_does_not_mind_a_scripted_function() -> None:
    model = CallsScripted(relu, True).eval()
    result = ta.Saliency(model).attribute(X, target=1, abs=False)
    assert_same(result, autograd(model, X, lambda output: output[:, 1]), 1e-12)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.stem, self.body = small()[:2], small()[2:]
        self._reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self._reentrant is None:
            return self.body(x)
        return checkpoint(self.body, x, use_reentrant=self._reentrant)


CHECKED = {
    "saliency": ta.Saliency,
    "guided_backprop": ta.GuidedBackprop,
    "deconvolution": ta.Deconvolution,
    "grad_cam": lambda model: ta.GradCAM(model, "stem"),
}


@pytest.mark.parametrize("method", CHECKED)
def test_checkpointed_model(method: str) -> None:
    model = seeded(Checkpointed, False)
    expected = CHECKED[method](seeded(Checkpointed, None)).attribute(X, target=1)
    assert_same(CHECKED[method](model).attribute(X, target=1), expected, 1e-12)


def test_checkpointed_calls_count_once() -> None:
    found = ta.explain(seeded(Checkpointed, False), X, ["guided_backprop"], targets=ta.TopK(2))
    assert (found.coverage.calls["relu"], found.coverage.calls["conv"]) == (2, 2)


@pytest.mark.filterwarnings("ignore::torchattr.CoverageWarning")
@pytest.mark.parametrize("method", ["saliency", "guided_backprop", "deconvolution"])
def test_reentrant_checkpoint_is_refused_with_the_way_out(method: str) -> None:
    with refused(ta.DisconnectedError, "use_reentrant=True", "set use_reentrant=False"):
        CHECKED[method](seeded(Checkpointed, True)).attribute(X, target=1)


def test_a_model_wholly_in_a_reentrant_checkpoint_is_refused_with_the_way_out() -> None:
    model = small()
    with refused(ta.NoRuleMatched, "CheckpointFunction", "use_reentrant=False"):
        ta.GuidedBackprop(lambda x: checkpoint(model, x, use_reentrant=True)).attribute(X, 1)


def test_layers_after_a_reentrant_checkpoint_are_served() -> None:
    model = small()

    def forward(x: Tensor) -> Tensor:
        return model[2:](checkpoint(model[:2], x, use_reentrant=True))

    result = ta.LayerActivation(model, model[2]).attribute(X)
    assert result.shape[1] == 4
    expected = ta.GradCAM(model, "3").attribute(X, target=1)
    assert_same(ta.GradCAM(forward, model[3]).attribute(X, target=1), expected, 1e-12)
    with pytest.warns(UserWarning, match="None of the inputs"):
        found = ta.GradCAM(forward, model[3], memory="lean").attribute(X, target=1)
    assert_same(found, expected, 1e-12)


def test_the_stance_ends_with_the_last_of_several_threads() -> None:
    """Compiled code runs eagerly while any attribution runs, and compiled again afterwards."""
    torch.compiler.reset()
    runs: list[int] = []

    def counting(graph: Any, examples: Any) -> Any:
        runs.append(1)
        return graph

    model = small()
    forward = torch.compile(model, backend=counting)
    forward(X)
    assert len(runs) == 1
    expected = ta.GuidedBackprop(model).attribute(X, target=1)
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda _: ta.GuidedBackprop(forward).attribute(X, target=1), range(12))
        assert all(torch.equal(result, expected) for result in results)
    assert len(runs) == 1
    fresh = torch.compile(lambda x: model(x) + 1, backend=counting)
    fresh(X)
    assert len(runs) == 2


def test_the_stance_is_left_after_an_error() -> None:
    import torch._dynamo  # the stance is touched only once it is loaded

    before = torch._dynamo.eval_frame._stance.stance
    during: list[str] = []

    def fail(x: Tensor) -> Tensor:
        during.append(torch._dynamo.eval_frame._stance.stance)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ta.Saliency(fail).attribute(X)
    assert during == ["force_eager"]
    assert torch._dynamo.eval_frame._stance.stance == before


def test_a_stance_that_was_put_back_after_its_attribution_does_not_stay() -> None:
    """As `set_stance` does in another thread that began meanwhile and ends afterwards."""
    import torch._dynamo

    before = torch._dynamo.eval_frame._stance
    others: list[Any] = []

    def forward(x: Tensor) -> Tensor:
        others.append(torch.compiler.set_stance("force_eager"))
        return x.flatten(1).relu()

    ta.Saliency(forward).attribute(X, target=1)
    assert torch._dynamo.eval_frame._stance is before
    others[0].__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    ta.Saliency(small()).attribute(X, target=1)
    assert torch._dynamo.eval_frame._stance is before


def test_checked_forwards_of_several_threads_leave_no_stance(
    outputs_are_the_models_own: None,
) -> None:
    """The fixture runs the model eagerly, too, and the last of all to leave is any of them."""
    import torch._dynamo

    before = torch._dynamo.eval_frame._stance
    model, inside, over = small(), Event(), Event()

    def waiting(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # Where the fixture runs it.
            inside.set()
            over.wait(60)
        return model(x)

    with ThreadPoolExecutor(1) as pool:

        def checked() -> Tensor:
            return Trace(waiting, (X,)).output

        def whole(x: Tensor) -> Tensor:
            if not others:
                others.append(pool.submit(checked))
                inside.wait(60)
            return model(x)

        others: list[Any] = []
        ta.Saliency(whole).attribute(X, target=1)
        over.set()
        others[0].result(60)
    assert torch._dynamo.eval_frame._stance is before


def test_a_custom_autograd_function_is_reported() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return 2 * grad

    model = small()

    def forward(x: Tensor) -> Tensor:
        return model(Twice.apply(x))

    assert Trace(forward, (X,)).coverage.custom == {"Twice": 1}
    with pytest.warns(ta.CoverageWarning, match="1 custom Twice call keeps its own gradient"):
        result = ta.GuidedBackprop(forward).attribute(X, target=1)
    assert_same(result, 2 * ta.GuidedBackprop(model).attribute(2 * X, target=1), 1e-12)


class Pipeline:
    def __init__(self, net: Any, pick: Callable[[Any], Any] = lambda held: held) -> None:
        self.net = net
        self.pick = pick

    def __call__(self, x: Tensor) -> Tensor:
        return self.pick(self.net)(x).flatten(1)


class Slotted:
    __slots__ = ("net",)

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net(x).flatten(1)


@dataclass
class Described:
    net: nn.Module

    def run(self, x: Tensor) -> Tensor:
        return self.net(x).flatten(1)


GLOBAL = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())


def reaching(kind: str) -> tuple[nn.Module, Any]:
    """Return a module in training mode and a function that reaches it in a given way."""
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    if kind == "global":
        return GLOBAL, lambda x: GLOBAL(x).flatten(1)
    inner = lambda x: model(x).flatten(1)  # noqa: E731  # a closure is what is tested
    functions = {
        "callable object": Pipeline(model),
        "callable object with slots": Slotted(model),
        "dataclass": Described(model).run,
        "list": Pipeline([{"net": [model]}], pick=lambda held: held[0]["net"][0]),
        "object in a closure": partial(lambda run, x: run(x), Pipeline(model)),
        "method": model.forward,
        "closure": inner,
        "nested closure": lambda x: inner(x),
        "partial": partial(lambda part, x: part(x), model),
        "keyword of a partial": partial(lambda x, part: part(x), part=model),
    }
    return model, functions[kind]


@pytest.mark.parametrize(
    "kind",
    [
        *("callable object", "callable object with slots", "dataclass", "list"),
        *("object in a closure", "method", "closure", "nested closure"),
        *("partial", "keyword of a partial", "global"),
    ],
)
def test_modules_behind_a_function_are_guarded(kind: str) -> None:
    model, function = reaching(kind)
    assert modules_behind(function) == [model]
    with pytest.raises(ta.TrainingModeError, match=r"buffer of '0'.*eval\(\)"):
        ta.Saliency(function).attribute(
            torch.rand(2, 3, 4, 4), target=lambda y: y.flatten(1).sum(1)
        )
    assert model[0].num_batches_tracked == 0


HIDDEN_AWAY = {"net": nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())}


def found_elsewhere(x: Tensor) -> Tensor:
    return getattr(sys.modules[__name__], "_".join(("HIDDEN", "AWAY")))["net"](x).flatten(1)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_what_an_unknown_module_counted_is_put_back(momentum: float | None) -> None:
    """The module cannot be found from the function, so its counter is written before it stops."""
    norm = HIDDEN_AWAY["net"][0]
    norm.momentum = momentum
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert modules_behind(found_elsewhere) == []
    with refused(ta.TrainingModeError, "eval()", "stopped before it ran", "training=False"):
        ta.Saliency(found_elsewhere).attribute(torch.rand(2, 3, 4, 4), target=1)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_a_buffer_that_is_gone_refuses_nothing() -> None:
    """A new tensor may be allocated where a buffer was, with the same `id`."""

    class Replacing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)
            self.register_buffer("state", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            old = id(self.state)
            self.state = None
            others = [torch.zeros(())]
            while id(others[-1]) != old and len(others) < 5000:
                others.append(torch.zeros(()))
            return self.linear(x) + sum(other.add_(1) for other in others)

    ta.Saliency(Replacing().train()).attribute(torch.rand(2, 4), target=1)


@pytest.mark.parametrize("name", ["Swish", "Quantise", "Clipped"])
def test_a_custom_activation_is_named_where_nothing_else_ran(name: str) -> None:
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x.sigmoid()

    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(name, (torch.autograd.Function,), members)
    model = small()
    with refused(ta.NoRuleMatched, f"but 1 custom {name} call", "custom autograd function"):
        ta.GuidedBackprop(lambda x: function.apply(model[0](x)).flatten(1)).attribute(X, target=1)


@pytest.mark.parametrize("leaf", ["requires_grad_", "requires_grad"])
def test_a_function_that_runs_its_part_again_in_backward(leaf: str) -> None:
    """As reversible networks do: the rules apply to parts that run again."""
    part, rest = small()[:2], small()[2:]

    class Again(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return part(x)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            x = ctx.saved_tensors[0].detach()
            if leaf == "requires_grad":
                x.requires_grad = True
            else:
                x.requires_grad_()
            with torch.enable_grad():
                return torch.autograd.grad(part(x), x, grad)[0]

    for method in (ta.Saliency, ta.GuidedBackprop, ta.Deconvolution):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ta.CoverageWarning)
            found = method(lambda x: rest(Again.apply(x))).attribute(X, target=1)
        assert_same(found, method(nn.Sequential(part, rest)).attribute(X, target=1), 1e-12)
