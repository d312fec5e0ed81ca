"""Replayed forwards and backwards equal traces; a tape stands in for CUDA graphs."""

from __future__ import annotations

import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from foldable import Net, Residual, Sequential, calibrated, network
from helpers import assert_same, noise
from tape import TapeRecorder
from torch import Tensor, nn

import torchattr as ta
from torchattr.kernels import Order, TorchBackend
from torchattr.layers import Epsilon, ZPlus
from torchattr.layers import mode as intercept
from torchattr.preparation import Prepared
from torchattr.preparation.graphs import Graphs, Replayed

X = noise(2, 3, 14, 14)
METHODS = (ta.Saliency, ta.GuidedBackprop, ta.Deconvolution)


class Recordable(TorchBackend):
    """Packs masks without NumPy, whose work a tape does not see."""

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        return (output > 0) if upper is None else (output > 0) & (output < upper)

    def relu(self, x: Tensor, upper: float | None = None, overwrite: bool = False) -> Any:
        output = x.clamp_(0, upper) if overwrite else x.clamp(0, upper)
        return output, self.pack_mask(output, (), upper)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Any, overwrite: bool = False
    ) -> Tensor:
        kept = grad if mask is None else grad.where(mask, 0)
        return kept if gate == "gradient" else kept.clamp(min=0)


@pytest.fixture(autouse=True)
def recordable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intercept, "choose", lambda *args: Recordable())


def graphed(model: nn.Module, limit: int = 8, **options: Any) -> tuple[Prepared, TapeRecorder]:
    fast = ta.prepare(model, X, **{"channels_last": False, **options})
    recorder = TapeRecorder()
    return Prepared(fast._prepared_forward, fast.report, Graphs(recorder, limit)), recorder


@pytest.mark.parametrize("kind", [Net, Sequential, Residual])
@pytest.mark.parametrize("method", METHODS)
def test_replays_give_the_same(kind: type[nn.Module], method: type[ta.Attribution]) -> None:
    model = network(kind)
    fast, recorder = graphed(model)
    for seed in range(3):
        x = noise(2, 3, 14, 14, seed=seed)
        for target in (0, [1, 2], None):
            expected = method(model).attribute(x, target=target)
            assert_same(method(fast).attribute(x, target=target), expected, 1e-10)
    # One forward and one backward were recorded; nine of each were replayed.
    assert recorder.recorded == 2
    assert recorder.replayed == 18


def test_composites_of_the_same_rules_have_graphs_of_their_own() -> None:
    model = network(Net)
    fast, _ = graphed(model)
    rules = {"conv": ZPlus(), "linear": Epsilon()}
    for composite in (rules, {**rules, "first": "flat"}, rules, {**rules, "last": "gamma"}):
        expected = ta.LRP(model, composite).attribute(X, target=1)
        assert_same(ta.LRP(fast, composite).attribute(X, target=1), expected, 1e-9)


def test_layers_and_several_methods_share_the_forward() -> None:
    model = network(Net)
    fast, recorder = graphed(model)
    for seed in range(2):
        x = noise(2, 3, 14, 14, seed=seed)
        given: Any = (x, ["guided_backprop", "saliency", "grad_cam"], ta.TopK(2))
        ours, own = (ta.explain(one, *given, layer="bn2") for one in (fast, model))
        for name in own:
            assert_same(ours[name], own[name], 1e-10)
        assert ours.coverage.calls["relu"] == own.coverage.calls["relu"] == 2
    # Two tables of rules: the guided one, and the gradient's, at the input and at the layer.
    assert recorder.recorded == 3
    assert recorder.replayed == 2 * (1 + 2 * 2)


def test_results_are_copies() -> None:
    fast, _ = graphed(network(Net))
    first = ta.explain(fast, X, ["guided_backprop", "grad_cam"], layer="bn2")
    kept = {name: first[name].clone() for name in first}
    output = first.output.clone()
    ta.explain(fast, X + 1, ["guided_backprop", "grad_cam"], layer="bn2")
    assert all(torch.equal(first[name], kept[name]) for name in kept)
    assert torch.equal(first.output, output)


def test_other_forms_have_other_graphs_and_the_oldest_goes() -> None:
    model = network(Net)
    fast, recorder = graphed(model, limit=2)
    method = ta.Saliency(fast)
    for rows in (1, 2, 1, 3, 1, 2):
        x = noise(rows, 3, 14, 14)
        expected = ta.Saliency(model).attribute(x, target=0)
        assert_same(method.attribute(x, target=0), expected, 1e-10)
    # 1 and 2 are recorded, 3 drives 2 out, which is recorded again.
    assert recorder.recorded == 2 * 4
    assert fast.report.graphs == ("(1, 3, 14, 14) is replayed", "(2, 3, 14, 14) is replayed")
    other = noise(2, 3, 14, 14).contiguous(memory_format=torch.channels_last)
    assert_same(
        method.attribute(other, target=0), ta.Saliency(model).attribute(other, target=0), 1e-10
    )
    assert recorder.recorded == 2 * 5
    method.attribute(other, target=0)
    ta.GuidedBackprop(fast).attribute(other, target=0)
    assert recorder.recorded == 2 * 6


def test_a_forward_that_was_replayed_over_is_replayed_again() -> None:
    model = network(Net)
    fast, recorder = graphed(model)
    wanted: Any = {"tables": [{}], "taps": [], "key": None, "from_inputs": True}
    first = fast.trace([X], (), **wanted, of_output=True)
    given = X.clone()
    second = fast.trace([given], (), **wanted, of_output=True)
    given.zero_()
    third = fast.trace([X + 1], (), **wanted, of_output=True)
    assert all(isinstance(one, Replayed) for one in (first, second, third))
    expected = ta.Saliency(model).attribute(X, target=1, abs=False)
    for one in (second, first):
        (found,) = one.gradients(one.output[:, 1], one.input_edges, of_output=True)
        assert found is not None
        assert_same(found, expected, 1e-10)
    assert one.gradients(one.output[:, 1], [None]) == [None]
    assert recorder.replayed == 3 + 2 * 2


def test_threads_do_not_disturb_each_other() -> None:
    model = network(Net)
    fast, _ = graphed(model)
    pictures = [noise(2, 3, 14, 14, seed=seed) for seed in range(8)]
    method = ta.GuidedBackprop(fast)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: method.attribute(x, target=1), pictures * 3))
    for x, one in zip(pictures * 3, found, strict=True):
        assert_same(one, ta.GuidedBackprop(model).attribute(x, target=1), 1e-10)


class Deciding(Net):
    """Branches on a value of its input."""

    def features(self, x: Tensor) -> Tensor:
        x = super().features(x)
        return x * 2 if x.sum() > 1 else x


def test_what_cannot_be_recorded_runs_eagerly_and_is_reported() -> None:
    model = calibrated(Deciding(), 3, 14, 14)
    fast, recorder = graphed(model)
    for x in (X, X - 9):
        expected = ta.GuidedBackprop(model).attribute(x, target=1)
        assert_same(ta.GuidedBackprop(fast).attribute(x, target=1), expected, 1e-10)
    assert recorder.replayed == 0
    reason = "(2, 3, 14, 14) runs eagerly: a value was read while the graph was recorded"
    assert fast.report.graphs == (reason,)
    assert reason in str(fast.report)


class Looking(torch.autograd.Function):
    """Reads a value of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * (2 if grad.sum() > 0 else 3)


class LooksBack(Net):
    def features(self, x: Tensor) -> Tensor:
        return Looking.apply(F.relu(self.bn1(self.conv1(x))))


def test_a_backward_that_cannot_be_recorded_runs_on_the_replayed_forward() -> None:
    model = calibrated(LooksBack(), 3, 14, 14)
    fast, recorder = graphed(model)
    for seed in range(4):
        x, target = noise(2, 3, 14, 14, seed=seed), seed
        expected = ta.Saliency(model).attribute(x, target=target)
        assert_same(ta.Saliency(fast).attribute(x, target=target), expected, 1e-10)
    assert (recorder.recorded, recorder.replayed) == (1, 4)


def test_what_does_not_come_from_the_output_or_has_arguments_is_not_recorded() -> None:
    model = network(Net)
    fast, recorder = graphed(model)
    neuron = ta.Neuron("conv2", (1, 2, 3))
    expected = ta.Saliency(model).attribute(X, target=neuron)
    assert_same(ta.Saliency(fast).attribute(X, target=neuron), expected, 1e-10)
    rules = {"conv": "gradient"}
    ta.GuidedBackprop(fast, rules=rules).attribute(X, target=0)
    assert recorder.recorded == 0


def test_changed_weights_and_moves_record_anew() -> None:
    model = network(Net)
    fast, recorder = graphed(model)
    method = ta.Saliency(fast)
    method.attribute(X, target=0)
    with torch.no_grad():
        model.conv1.weight.mul_(2)
    assert_same(method.attribute(X, target=0), ta.Saliency(model).attribute(X, target=0), 1e-10)
    assert recorder.recorded == 4
    fast.double()
    assert fast.report.graphs == ()
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        expected = ta.Saliency(model).attribute(X, target=0)
        assert_same(ta.Saliency(other).attribute(X, target=0), expected, 1e-10)


def test_inference_mode_and_dropped_recordings() -> None:
    model = network(Net)
    fast, _ = graphed(model, limit=1)
    with torch.inference_mode():
        given = X.clone()
        found = ta.Saliency(fast).attribute(given, target=0)
    assert_same(found, ta.Saliency(model).attribute(X, target=0), 1e-10)
    ta.Saliency(fast).attribute(X[:1], target=0)
    gc.collect()
    assert fast.report.graphs == ("(1, 3, 14, 14) is replayed",)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestCuda:
    @pytest.fixture(autouse=True)
    def own_backend(self, monkeypatch: pytest.MonkeyPatch, recordable: None) -> None:
        monkeypatch.undo()

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("kind", [Net, Sequential, Residual])
    def test_replays_give_the_same(self, kind: type[nn.Module], method: type[Any]) -> None:
        model = network(kind).cuda()
        fast = ta.prepare(model, X.cuda())
        for seed in range(3):
            x = noise(2, 3, 14, 14, seed=seed).cuda()
            expected = method(model).attribute(x, target=1)
            assert_same(method(fast).attribute(x, target=1), expected, 1e-10)
        assert fast.report.graphs == ("(2, 3, 14, 14) is replayed",)

    def test_what_cudnn_searched_for_is_timed_as_replays(self) -> None:
        model, x = network(Net).float().cuda(), X.float().cuda()
        before = torch.backends.cudnn.benchmark
        report = ta.prepare(model, x).report
        assert torch.backends.cudnn.benchmark is before
        assert len(report.configuration.seconds) == (2 if before else 4)
        for searched in (True, False):
            fast = ta.prepare(model, x, cudnn_benchmark=searched, channels_last=True)
            found = ta.GuidedBackprop(fast).attribute(x, target=1)
            assert_same(found, ta.GuidedBackprop(model).attribute(x, target=1), 1e-2)
            assert fast.report.graphs == ("(2, 3, 14, 14) is replayed",)
            assert torch.backends.cudnn.benchmark is before

    def test_layers_and_streams(self) -> None:
        model = network(Net).cuda()
        fast = ta.prepare(model, X.cuda())
        method = ta.GuidedGradCAM(fast, layer="bn2")
        own = ta.GuidedGradCAM(model, layer="bn2")

        def run(seed: int) -> Tensor:
            with torch.cuda.stream(torch.cuda.Stream()):
                x = noise(2, 3, 14, 14, seed=seed).cuda()
                found = method.attribute(x, target=1)
                torch.cuda.current_stream().synchronize()
            return found

        method.attribute(X.cuda(), target=1)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(run, range(16)))
        for seed, one in enumerate(found):
            x = noise(2, 3, 14, 14, seed=seed).cuda()
            assert_same(one, own.attribute(x, target=1), 1e-10)

    def test_what_cannot_be_recorded_runs_eagerly(self) -> None:
        model = calibrated(Deciding(), 3, 14, 14).cuda()
        fast = ta.prepare(model, X.cuda())
        expected = ta.GuidedBackprop(model).attribute(X.cuda(), target=1)
        assert_same(ta.GuidedBackprop(fast).attribute(X.cuda(), target=1), expected, 1e-10)
        assert "runs eagerly" in fast.report.graphs[0]

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_precision(self, precision: Any) -> None:
        model = network(Net).float().cuda()
        fast = ta.prepare(model, X.float().cuda(), precision=precision)
        found = ta.GuidedBackprop(fast).attribute(X.float().cuda(), target=1)
        assert found.dtype == torch.float32
        assert fast.report.maps["guided_backprop"].correlation > 0.9
