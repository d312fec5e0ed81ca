"""What prepare returns and refuses, and that it does not change the model."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torchvision
from foldable import Functional, Net, Sequential, calibrated, network
from helpers import assert_same, noise, refused, weighted
from torch import Tensor, nn

import torchattr as ta
from torchattr.captum import GuidedGradCam
from torchattr.errors import (
    InputError,
    InputTypeError,
    ModelError,
    NoRuleMatched,
    ScriptedModelError,
    TrainingModeError,
)
from torchattr.preparation import Prepared, flipped_gates
from torchattr.preparation.folding import Fold

X = noise(2, 3, 14, 14)


def snapshot(model: nn.Module) -> Any:
    """Return everything about a model that could change."""
    return [
        *(
            (name, id(one), one.clone(), one.requires_grad)
            for name, one in model.named_parameters()
        ),
        *((name, id(one), one.clone()) for name, one in model.named_buffers()),
        *((name, id(part), type(part), part.training) for name, part in model.named_modules()),
        *(sorted(vars(part)) for part in model.modules()),
        *((dict(p._forward_hooks), dict(p._forward_pre_hooks)) for p in model.modules()),
    ]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("options", [{}, {"channels_last": True}, {"precision": "bfloat16"}])
def test_the_model_is_not_touched(options: dict[str, Any]) -> None:
    model, x = network(Net), X.clone()
    before = snapshot(model)
    fast = ta.prepare(model, x, **options)
    ta.GuidedBackprop(fast).attribute(x, target=0)
    fast.float().to("meta")
    assert same(snapshot(model), before)
    assert torch.equal(x, X)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_prepares_without_gradients(mode: Any) -> None:
    model = network(Net)
    expected = ta.Saliency(model).attribute(X, target=0)
    with mode():
        fast = ta.prepare(model, X)
    assert_same(ta.Saliency(fast).attribute(X, target=0), expected, 1e-4)


def test_memory_is_shared_but_for_folded_weights() -> None:
    model = network(Net)
    fast = ta.prepare(model, X, channels_last=False)
    ours, own = dict(fast.named_parameters()), dict(model.named_parameters())
    assert list(ours) == list(own)
    assert all(ours[name] is not own[name] for name in own)
    assert all(ours[name].data_ptr() == own[name].data_ptr() for name in own)
    floats = 6 * 3 * 9 + 6 + 6 * 6 * 9 + 6
    assert fast.report.new == 8 * floats
    held = [*model.parameters(), *model.buffers()]
    assert fast.report.shared == sum(one.untyped_storage().nbytes() for one in held)


def test_layers_keep_their_names() -> None:
    model = network(Functional)
    fast = ta.prepare(model, X)
    assert list(dict(fast.named_modules())) == list(dict(model.named_modules()))
    assert list(fast.state_dict()) == list(model.state_dict())
    assert [type(part) for part in fast.children()] == [type(part) for part in model.children()]
    assert fast.bn1.weight.shape == (6,)
    assert_same(fast.features(X), model.features(X), 1e-10)
    sequence = ta.prepare(network(Sequential), X)
    assert sequence[1] is dict(sequence.named_modules())["1"]
    with pytest.raises(AttributeError, match="absent"):
        _ = fast.absent


def test_everything_takes_it_for_a_model() -> None:
    model = network(Sequential)
    fast = ta.prepare(model, X, channels_last=True)
    for run in (
        lambda one: ta.GuidedGradCAM(one, layer="5").attribute(X, target=1),
        lambda one: ta.GradCAM(one, layer=one[4]).attribute(X, target=weighted),
        lambda one: ta.Saliency(one).attribute(X, target=ta.Neuron("0", (1, 2, 3))),
        lambda one: ta.Saliency(one).attribute(X, target=ta.TopK(2)),
        lambda one: ta.IntegratedGradients(one).attribute(X, target=1, n_steps=3),
        lambda one: ta.FeatureAblation(one).attribute(X[:, :, :2, :2].repeat(1, 1, 7, 7), target=1),
        lambda one: ta.explain(one, X, ["guided_backprop", "saliency"])["guided_backprop"],
        lambda one: GuidedGradCam(one, one[5]).attribute(X, target=1),
        lambda one: ta.feature_maps(one, X, "1")["1"],
    ):
        assert_same(run(fast), run(model), 1e-10)
    words = str(ta.summary(fast, X)).replace("Prepared", "Sequential").split()
    assert words == str(ta.summary(model, X)).split()


def test_rules_that_match_nothing_are_still_refused() -> None:
    model = calibrated(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()), 3, 9, 9)
    fast = ta.prepare(model, noise(2, 3, 9, 9))
    with pytest.raises(NoRuleMatched):
        ta.GuidedBackprop(fast).attribute(noise(2, 3, 9, 9), target=0)


def test_the_report_says_what_was_done() -> None:
    report = ta.prepare(network(Functional), X, channels_last=False).report
    text = str(report)
    for words in (
        "batch-norms folded    2 of 2",
        "no: as requested",
        "guided_backprop maps  relative error",
        "gradient 0 of 4,704 (0%), guided 0 of 4,704",
        "MiB shared",
    ):
        assert words in text, text
    assert report.difference < 1e-12
    assert report.maps["saliency"].relative < 1e-12
    html = report._repr_html_()
    assert html.startswith("<table>")
    assert "2 of 2" in html
    unfolded = ta.prepare(network(Net), X, fold=False).report
    assert unfolded.folded == ()
    assert set(unfolded.left.values()) == {"fold=False"}
    assert unfolded.new == 0
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(588, 3), nn.GELU()).double().eval()
    assert "no ReLU" in str(ta.prepare(smooth, X).report)


class Moody(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * torch.rand(())


class Uncopied(Net):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("not this one")


def test_errors_are_sentences() -> None:
    model = network(Net)
    with refused(InputTypeError, "example_inputs is missing", "torch.randn"):
        ta.prepare(model)
    with refused(InputTypeError, "nn.Module", "function"):
        ta.prepare(lambda x: x, X)
    with refused(TrainingModeError, "training mode", "bn1", "model.eval()"):
        ta.prepare(network(Net).train(), X)
    with refused(InputError, "precision", "'bfloat16'", "'half'"):
        ta.prepare(model, X, precision="half")
    with refused(InputError, "channels_last", "'measure'", "'yes'"):
        ta.prepare(model, X, channels_last="yes")
    with refused(InputError, "graphs", "-1"):
        ta.prepare(model, X, graphs=-1)
    with refused(InputError, "example_inputs", "meta", "cpu"):
        ta.prepare(model, X.to("meta"))
    with refused(InputError, "inputs is torch.float32", "parameters torch.float64"):
        ta.prepare(model, X.float())
    with refused(ModelError, "does not run on example_inputs", "channels"):
        ta.prepare(model, X[:, :2])
    with refused(ModelError, "already prepared"):
        ta.prepare(ta.prepare(model, X), X)
    with refused(ModelError, "cannot be copied", "not this one"):
        ta.prepare(calibrated(Uncopied(), 3, 14, 14), X)
    with refused(ModelError, "output differs", "fold=False"):
        ta.prepare(Moody().eval(), X)
    with refused(ModelError, "uninitialised", "0.weight", "run it once"):
        ta.prepare(nn.Sequential(nn.LazyConv2d(3, 3)).eval(), X)
    with refused(ModelError, "cannot be trained", "train the original"):
        ta.prepare(model, X).train()
    assert ta.prepare(model, X).eval().training is False


def test_a_part_in_training_mode_is_refused_before_it_changes_anything() -> None:
    model = network(Net)
    model.bn2.train()
    before = snapshot(model)
    with pytest.raises(TrainingModeError):
        ta.prepare(model, X)
    assert same(snapshot(model), before)


def test_hidden_and_exported_models() -> None:
    model = network(Net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, X)
    with refused(ScriptedModelError, "scripted"):
        ta.prepare(traced, X)
    program = torch.export.export(model, (X,))
    with refused(InputTypeError, "program.module()"):
        ta.prepare(program, X)
    exported = program.module()
    fast = ta.prepare(exported, X)
    assert fast.report.folded == ()
    expected = ta.GuidedBackprop(model).attribute(X, target=0)
    assert_same(ta.GuidedBackprop(fast).attribute(X, target=0), expected, 1e-10)
    compiled = torch.compile(model, backend="eager")
    assert len(ta.prepare(compiled, X).report.folded) == 2


def test_dicts_and_further_arguments() -> None:
    class Both(Net):
        def forward(self, x: Tensor, factor: float, *, extra: int = 0) -> Any:
            return {"scores": super().forward(x) * factor, "extra": extra}

    model = calibrated_both(Both())
    fast = ta.prepare(model, X, (2.0,), output="scores")
    assert fast(X, 3.0, extra=4)["extra"] == 4
    given = {"target": 1, "additional_forward_args": (3.0,)}
    expected = ta.GuidedBackprop(model, output="scores").attribute(X, **given)
    assert_same(ta.GuidedBackprop(fast, output="scores").attribute(X, **given), expected, 1e-10)


def calibrated_both(model: nn.Module) -> nn.Module:
    source = network(Net)
    model.double().load_state_dict(source.state_dict())
    return model.eval()


def test_a_wrong_fold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check on the example inputs can fail."""
    monkeypatch.setattr(Fold, "weights", lambda fold: (fold.conv.weight, fold.conv.bias))
    with refused(ModelError, "output differs", "fold=False"):
        ta.prepare(network(Net), X)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet"])
def test_torchvision(name: str) -> None:
    _check_torchvision(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "efficientnet_b0", "regnet_y_400mf"])
def test_more_of_torchvision(name: str) -> None:
    _check_torchvision(name)


LAYERS = {"resnet18": "layer4", "googlenet": "inception5b"}
FOLDED = {
    "resnet18": 20,
    "mobilenet_v2": 52,
    "googlenet": 57,
    "densenet121": 59,
    "efficientnet_b0": 49,
    "regnet_y_400mf": 53,
}


def _check_torchvision(name: str) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    model, x = calibrated(model, 3, 64, 64), noise(2, 3, 64, 64)
    fast = ta.prepare(model, x, channels_last=True)
    assert len(fast.report.folded) == FOLDED[name]
    lenient = {"rules": {"silu": "guided"}} if name == "efficientnet_b0" else {}
    open_ended = {"rules": {"silu": "deconvolution"}} if lenient else {}
    layer = LAYERS.get(name, "features" if hasattr(model, "features") else "trunk_output")
    for make in (
        lambda one: ta.Saliency(one),
        lambda one: ta.GuidedBackprop(one, **lenient),
        lambda one: ta.Deconvolution(one, **open_ended),
        lambda one: ta.GradCAM(one, layer=layer),
    ):
        expected = make(model).attribute(x, target=7)
        assert_same(make(fast).attribute(x, target=7), expected, 1e-10)
    if not lenient:
        flips = flipped_gates(model, fast, [x])
        assert flips.forward.gates > 0
        assert flips.forward.flipped == flips.guided.flipped == flips.deconvolution.flipped == 0


def test_it_can_be_copied_and_moved() -> None:
    model = network(Net)
    fast = ta.prepare(model, X)
    assert isinstance(copy.deepcopy(fast), Prepared)
    assert fast.float()(X.float()).dtype == torch.float32
    assert model.conv1.weight.dtype == torch.float64
