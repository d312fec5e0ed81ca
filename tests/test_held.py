"""Nothing is kept alive after a call, even without the garbage collector."""

from __future__ import annotations

import gc
import resource
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from helpers import seeded
from relevance_oracles.tiny_vit import tiny_vit
from torch import Tensor, nn

import torchattr as ta
from torchattr import evaluate
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.inspect.spatial_calls import spatial_calls


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = (
            nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)) + x)


class Net(nn.Sequential):
    def __init__(self) -> None:
        stem = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        super().__init__(*stem, Block(), nn.Flatten(), nn.Linear(64, 3))


MODEL, X = seeded(Net), torch.rand(2, 3, 8, 8)
FAST = ta.prepare(MODEL, X, channels_last=False)
TOKENS = tiny_vit().float()
LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
LABELLED = LabelledPictures(
    MODEL, X, torch.tensor([0, 1]), torch.arange(64).reshape(1, 8, 8).repeat(2, 1, 1) < 20
)
SEGMENTS = torch.arange(64).reshape(1, 1, 8, 8) // 16
FIVE = ["saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam"]


def occlusion(mode: Any) -> Callable[[], Any]:
    window = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 2, 2), "incremental": mode}
    return lambda: ta.Occlusion(MODEL).attribute(X, target=1, **window)


def failing(call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> None:
        with pytest.raises(ta.TorchattrError):
            call()

    return run


CALLS: dict[str, Callable[[], Any]] = {
    "saliency": lambda: ta.Saliency(MODEL).attribute(X, target=1),
    "guided": lambda: ta.GuidedBackprop(MODEL).attribute(X, target=1),
    "deconvolution": lambda: ta.Deconvolution(MODEL).attribute(X),
    "input x gradient": lambda: ta.InputXGradient(MODEL).attribute(X, target=1),
    "integrated": lambda: ta.IntegratedGradients(MODEL).attribute(X, target=1, n_steps=4),
    "smooth grad": lambda: ta.SmoothGrad(MODEL).attribute(X, target=1, n_samples=3),
    "gradient shap": lambda: ta.GradientShap(MODEL).attribute(
        X, lambda x: x * 0.5, 4, 0.1, 1, return_convergence_delta=True
    ),
    "deep lift": lambda: ta.DeepLift(MODEL).attribute(
        X, X.flip(0), 1, return_convergence_delta=True
    ),
    "deep lift of attention": lambda: ta.DeepLift(TOKENS).attribute(X, target=ta.Classes(1, 2)),
    "deep lift shap": lambda: ta.DeepLiftShap(MODEL).attribute(
        X, X.flip(0), 1, return_convergence_delta=True, internal_batch_size=2
    ),
    "lrp": lambda: ta.LRP(MODEL).attribute(X, target=1, return_ledger=True),
    "lrp of a neuron": lambda: ta.LRP(MODEL).attribute(X, target=ta.Neuron("3", (0, 1, 1))),
    "lrp of parts": lambda: ta.LRP(
        lambda x: (lambda y: torch.addcmul(y, y, y) / y.var(1, keepdim=True))(MODEL(x))
    ).attribute(X, target=1, return_ledger=True),
    "attn lrp": lambda: ta.AttnLRP(MODEL).attribute(X, target=ta.Classes(0, 2)),
    "attn lrp of attention": lambda: ta.AttnLRP(TOKENS).attribute(X, 1, return_ledger=True),
    "layer lrp": lambda: ta.LayerLRP(MODEL, ["0", "3"]).attribute(X, 1),
    "excitation backprop": lambda: ta.ExcitationBackprop(MODEL, "3", contrast=True).attribute(X, 1),
    "raw attention": lambda: ta.RawAttention(TOKENS).attribute(X),
    "attention rollout": lambda: ta.AttentionRollout(TOKENS).attribute(X, ta.TopK(2)),
    "attention gradient": lambda: ta.AttentionGradient(TOKENS).attribute(X, ta.Classes(0, 2)),
    "legrad": lambda: ta.LeGrad(TOKENS).attribute(X, 1),
    "libra grad": lambda: ta.LibraGrad(MODEL).attribute(X, target=1, return_ledger=True),
    "noise tunnel": lambda: ta.NoiseTunnel(ta.Saliency(MODEL)).attribute(X, target=1),
    "grad-cam": lambda: ta.GradCAM(MODEL, layer="3").attribute(X, target=1),
    "ablation-cam": lambda: ta.AblationCAM(MODEL, "3").attribute(X, target=1),
    "concepts": lambda: ta.deep_feature_factorization(MODEL, X, "3", 2, n_steps=2),
    "eigen-cam": lambda: ta.EigenCAM(MODEL, layer="3").attribute(X),
    "finer-cam": lambda: ta.FinerCAM(MODEL, layer="3", comparison=1).attribute(X, target=1),
    "full-grad": lambda: ta.FullGrad(MODEL).attribute(X, target=1),
    "score-cam": lambda: ta.ScoreCAM(MODEL, "3").attribute(X, target=1),
    "shapley-cam": lambda: ta.ShapleyCAM(MODEL, "3").attribute(X, target=ta.Classes(0, 1)),
    "smooth grad-cam++": lambda: ta.SmoothGradCAMPlusPlus(MODEL, "3").attribute(X, target=1),
    "smoothed grad-cam": lambda: ta.GradCAM(MODEL, layer="3").attribute(X, aug_smooth=True),
    "guided grad-cam": lambda: ta.GuidedGradCAM(MODEL, layer="3").attribute(X, target=1),
    "layer activation": lambda: ta.LayerActivation(MODEL, "3").attribute(X),
    "layer gradient": lambda: ta.LayerGradientXActivation(MODEL, "3").attribute(X, target=1),
    "layer conductance": lambda: ta.LayerConductance(MODEL, "3").attribute(X, target=1, n_steps=4),
    "internal influence": lambda: ta.InternalInfluence(MODEL, "3").attribute(
        X, target=1, n_steps=4
    ),
    "layer integrated": lambda: ta.LayerIntegratedGradients(MODEL, "3").attribute(
        X, target=1, n_steps=4
    ),
    "layer gradient shap": lambda: ta.LayerGradientShap(MODEL, "3").attribute(
        X, n_samples=4, target=1, return_convergence_delta=True
    ),
    "layer deep lift": lambda: ta.LayerDeepLift(MODEL, "3").attribute(X, target=1),
    "layer deep lift shap": lambda: ta.LayerDeepLiftShap(MODEL, "3").attribute(
        X, lambda x: x * 0.5, target=1
    ),
    "neuron conductance": lambda: ta.NeuronConductance(MODEL).attribute(
        X, ta.Neuron("3", (0, 1, 1)), target=1, n_steps=4
    ),
    "neuron": lambda: ta.Saliency(MODEL).attribute(X, target=ta.Neuron("3", (0, 1, 1))),
    "a difference": lambda: ta.Saliency(MODEL).attribute(X, target=ta.Difference(0, 1)),
    "probabilities": lambda: ta.FeatureAblation(MODEL).attribute(
        X, target=ta.Classes(1, ta.Probability()), feature_mask=SEGMENTS
    ),
    "occlusion": occlusion(False),
    "incremental occlusion": occlusion("auto"),
    "feature ablation": lambda: ta.FeatureAblation(MODEL).attribute(
        X, target=1, feature_mask=SEGMENTS
    ),
    "shapley sampling": lambda: ta.ShapleyValueSampling(MODEL).attribute(
        X, target=1, feature_mask=SEGMENTS, n_samples=2, incremental=True
    ),
    "shapley values": lambda: ta.ShapleyValues(MODEL).attribute(X, target=1, feature_mask=SEGMENTS),
    "kernel shap": lambda: ta.KernelShap(MODEL).attribute(
        X, target=1, feature_mask=SEGMENTS, n_samples=6
    ),
    "lime": lambda: ta.Lime(MODEL).attribute(X, target=1, feature_mask=SEGMENTS, n_samples=6),
    "feature permutation": lambda: ta.FeaturePermutation(MODEL).attribute(
        X, target=1, feature_mask=SEGMENTS, incremental=True
    ),
    "layer ablation": lambda: ta.LayerFeatureAblation(MODEL, "3").attribute(
        X, target=1, layer_mask=torch.zeros(1, 1, 1, 1, dtype=torch.long)
    ),
    "rise": lambda: ta.RISE(MODEL).attribute(X, target=1, n_masks=8),
    "explain": lambda: ta.explain(MODEL, X, FIVE, targets=ta.TopK(2), layer="3"),
    "prepare": lambda: ta.prepare(MODEL, X, channels_last=False),
    "prepared": lambda: ta.GuidedBackprop(FAST).attribute(X, target=1),
    "prepared cam": lambda: ta.GradCAM(FAST, layer="3.conv").attribute(X, target=1),
    "summary": lambda: ta.summary(MODEL, X),
    "feature maps": lambda: ta.feature_maps(MODEL, X, "r"),
    "feature maps of layers": lambda: ta.feature_maps(MODEL, X, ["3", "3.*"]),
    "picture": lambda: ta.feature_maps(MODEL, X, "r").picture("1"),
    "places": lambda: spatial_calls(MODEL, X, "c"),
    "back_project": lambda: ta.back_project(MODEL, X, "3", 0),
    "top patches": lambda: ta.top_patches(MODEL, X, "3", 1, k=2),
    "maximise": lambda: ta.maximise(MODEL, 0, shape=(3, 8, 8), steps=2),
    "deepdream": lambda: ta.deepdream(MODEL, X[:1], "3", steps=2, octaves=1),
    "layer by layer": lambda: ta.layer_by_layer(MODEL, X, target=1),
    "guided layer by layer": lambda: ta.layer_by_layer(
        MODEL, X, target=1, method="guided_grad_cam"
    ),
    "receptive field": lambda: ta.receptive_field(MODEL, X, "3", (1, 1)),
    "kernels": lambda: ta.conv_kernels(MODEL, "0"),
    "kernels of a call": lambda: ta.conv_kernels(MODEL, "3.conv", inputs=X),
    "deletion": lambda: evaluate.deletion_curve(MODEL, X, X, target=1, steps=4),
    "insertion": lambda: evaluate.insertion_curve(MODEL, X, X, target=1, steps=4),
    "mprt": lambda: evaluate.mprt(MODEL, X, ["saliency", "grad_cam"], target=1, layer="3"),
    "random logit": lambda: evaluate.random_logit(MODEL, X, "saliency", target=1),
    "check": lambda: evaluate.check(
        MODEL, X, "saliency", 1, steps=1, n_samples=1, squares_across=2
    ),
    "sensitivity": lambda: evaluate.sensitivity_max(
        ta.Saliency(MODEL).attribute, X, target=1, n_samples=2
    ),
    "benchmark": lambda: evaluate.benchmark(
        LABELLED, methods=["saliency", "feature_ablation"], metrics=["mass", "deletion", "road"]
    ),
    "planted": lambda: evaluate.planted(["saliency", "grad_cam"], "stamp", n=2),
    "deletion by blocks": lambda: evaluate.deletion_curve(
        MODEL, X, X, target=1, feature_mask=evaluate.blocks(X, 4), incremental=True
    ),
    "a disconnected grid": lambda: evaluate.DisconnectedGrid(MODEL, "0")(X.tile(1, 1, 2, 2)),
    "a wrong target": failing(lambda: ta.Saliency(MODEL).attribute(X, target=9)),
    "a wrong layer": failing(lambda: ta.feature_maps(MODEL, X, "nowhere")),
    "a wrong operation": failing(lambda: ta.feature_maps(MODEL, X, "3.gelu")),
    "no attention": failing(lambda: ta.AttentionRollout(MODEL).attribute(X)),
    "no common run": failing(lambda: ta.DeepLift(lambda x: x.sort().values).attribute(X, target=1)),
    "no rule": failing(lambda: ta.GuidedBackprop(LINEAR).attribute(X, target=1)),
    "a model in training": failing(lambda: ta.Saliency(seeded(Net).train()).attribute(X)),
}


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    gc.disable()
    # Earlier objects need not be searched.
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


@contextmanager
def uncollected() -> Iterator[list[Any]]:
    """Yield the objects made in a `with` block that only a garbage collector would free."""
    gc.collect()
    found: list[Any] = []
    yield found
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def is_heavy(held: Any) -> bool:
    """Whether something of this package, or with memory of tensors, is held."""
    kind = type(held)
    ours = str(kind.__module__).startswith("torchattr") or kind.__name__.endswith("Backward0")
    return ours or isinstance(held, (Tensor, nn.Module, torch.UntypedStorage))


def alive() -> int:
    return sum(map(is_heavy, gc.get_objects()))


@pytest.mark.parametrize("name", CALLS)
def test_nothing_keeps_what_a_call_made(name: str) -> None:
    call = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            call()
        with uncollected() as found:
            before = alive()
            call()
            # What only the graph holds, which no collector sees into, would never be freed.
            assert alive() <= before
    # Functions of PyTorch itself leave some small ones, such as its `tree_flatten`.
    assert [type(held) for held in found if is_heavy(held)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_five_hundred_calls_take_no_more_memory_than_a_few(name: str) -> None:
    call = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(20):
            call()
        held, memory = alive(), peak()
        for _ in range(500):
            call()
        assert alive() <= held
        # What PyTorch's own functions leave for the collector; one input of each call is 1.5 KiB.
        assert peak() - memory < 24 * 2**20


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
