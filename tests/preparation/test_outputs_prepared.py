"""Models that do not return scores (N, classes) are prepared, or refused with a reason."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from foldable import calibrated
from helpers import assert_same, noise, refused
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

import torchattr as ta
from torchattr.errors import InputTypeError, ModelError, OutputError

X = noise(2, 3, 8, 8)


class Returning(nn.Module):
    """A convolution, a batch-norm and a ReLU, from which a given function makes the output."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.made = made

    def forward(self, x: Tensor) -> Any:
        return self.made(self.bn(self.conv(x)).relu())


def returning(made: Callable[[Tensor], Any]) -> nn.Module:
    return calibrated(Returning(made), 3, 8, 8)


def scores(y: Tensor) -> Tensor:
    return y.mean((2, 3))


Pair = namedtuple("Pair", ["features", "scores"])

SERVED: dict[str, tuple[Callable[[Tensor], Any], Any, Any]] = {
    "one score each": (lambda y: y.mean((1, 2, 3)), None, None),
    "one score each, in a column": (lambda y: y.mean((1, 2, 3))[:, None], None, 0),
    "one score of all": (lambda y: y.mean(), None, None),
    "a map of scores": (lambda y: y, None, (1, 2, 3)),
    "a dict": (lambda y: {"scores": scores(y), "features": y}, "scores", 1),
    "a dict of one": (lambda y: {"scores": y.mean((1, 2, 3))}, None, None),
    "a tuple": (lambda y: (y, scores(y)), 1, 1),
    "a named tuple": (lambda y: Pair(y, scores(y)), "scores", 1),
    "nested": (lambda y: {"a": [{"b": scores(y)}]}, lambda out: out["a"][0]["b"], 1),
    "a dict each": (
        lambda y: [{"scores": row} for row in scores(y)],
        lambda out: torch.stack([one["scores"] for one in out]),
        1,
    ),
    "a dict each, summed": (
        lambda y: [{"scores": row} for row in scores(y)],
        lambda out: torch.stack([one["scores"].sum() for one in out]),
        None,
    ),
    "infinite values besides": (lambda y: (scores(y), scores(y).log().log()), 0, 1),
}


@pytest.mark.parametrize("name", SERVED)
def test_outputs_of_many_forms(name: str) -> None:
    made, key, target = SERVED[name]
    model = returning(made)
    fast = ta.prepare(model, X, channels_last=False, output=key)
    assert len(fast.report.folded) == 1
    for method in (ta.Saliency, ta.GuidedBackprop):
        expected = method(model, output=key).attribute(X, target)
        assert_same(method(fast, output=key).attribute(X, target), expected, 1e-10)


REFUSED: dict[str, tuple[Callable[[Tensor], Any], Any]] = {
    "several entries": (lambda y: {"a": scores(y), "b": y}, None),
    "a list of dicts": (lambda y: [{"scores": row} for row in scores(y)], None),
    "a dict of lists": (lambda y: {"a": [scores(y)]}, None),
    "a dict, by a name that leads to no tensor": (lambda y: {"a": [scores(y)]}, "a"),
    "nothing": (lambda y: None, None),
    "an empty list": (lambda y: [], None),
    "no class": (lambda y: scores(y)[:, :0], None),
    "classes": (lambda y: scores(y).argmax(1), None),
    "truths": (lambda y: scores(y) > 0, None),
    "complex numbers": (lambda y: torch.fft.fft(scores(y)), None),
    "sparse": (lambda y: scores(y).to_sparse(), None),
    "cut off": (lambda y: scores(y.detach()), None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_scores_is_refused(name: str) -> None:
    made, key = REFUSED[name]
    with refused(OutputError, "output="):
        ta.prepare(returning(made), X, channels_last=False, output=key)


@dataclass
class Kept:
    """An output of a class that PyTorch does not traverse."""

    scores: Tensor
    convolved: Any


class Keeping(nn.Module):
    """Returns or keeps its convolution's output, which nothing reads during the forward."""

    def __init__(self, kept: Callable[[Any, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.kept = kept

    def forward(self, x: Tensor) -> Any:
        y = self.conv(x)
        return self.kept(self, y, scores(self.bn(y).relu()))


def _as_attribute(module: Any, y: Tensor, output: Tensor) -> Tensor:
    module.last = y
    return output


KEPT: dict[str, tuple[Any, Callable[[Any, Any], Tensor]]] = {
    "a dataclass": (lambda m, y, out: Kept(out, y), lambda model, out: out.convolved),
    "deep in a dataclass": (
        lambda m, y, out: Kept(out, [{"y": y}]),
        lambda model, out: out.convolved[0]["y"],
    ),
    "a set": (lambda m, y, out: Kept(out, {y}), lambda model, out: next(iter(out.convolved))),
    "an attribute": (_as_attribute, lambda model, out: model.last),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_of_a_folded_convolution_is_true(name: str) -> None:
    kept, read = KEPT[name]
    model = calibrated(Keeping(kept), 3, 8, 8)
    if name == "an attribute":
        model.last = None
    fast = ta.prepare(model, X, channels_last=False, output=lambda out: getattr(out, "scores", out))
    with torch.no_grad():
        given = read(fast._prepared_forward.model, fast(X))
        assert_same(given, model.conv(X))
    assert_same(read(fast._prepared_forward.model, fast(X)).detach(), model.conv(X).detach())


def backbone() -> nn.Module:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    layers.out_channels = 8
    return layers


def anchors() -> AnchorGenerator:
    return AnchorGenerator(((8,),), ((1.0,),))


SIZES = {"min_size": 32, "max_size": 32, "num_classes": 4}
DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "Faster R-CNN": lambda: FasterRCNN(
        backbone(),
        **SIZES,
        rpn_anchor_generator=anchors(),
        box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
        rpn_post_nms_top_n_test=6,
        box_score_thresh=0.0,
    ),
    "RetinaNet": lambda: RetinaNet(
        backbone(), **SIZES, anchor_generator=anchors(), score_thresh=0.0, topk_candidates=5
    ),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name: str) -> None:
    model, x = DETECTORS[name]().double().eval(), noise(2, 3, 32, 32)
    with refused(ModelError, "list of images", "(N, C, H, W)"):
        ta.prepare(model, list(x), channels_last=False)
    with refused(InputTypeError, "got dict"):
        ta.prepare(model, [{"image": x[0]}, {"image": x[1]}], channels_last=False)
    best = {"output": lambda found: torch.stack([one["scores"].sum() for one in found])}
    fast = ta.prepare(model, x, channels_last=False, **best)
    assert len(fast.report.folded) == 1
    expected = ta.Saliency(model, **best).attribute(x)
    assert_same(ta.Saliency(fast, **best).attribute(x), expected, 1e-8)


def test_another_number_of_detections_is_refused_in_words() -> None:
    class Counting(Returning):
        """Returns fewer values if its convolution was folded."""

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            with torch._C.DisableTorchFunction():
                count = 1 if y.isnan().any() else 2
            return scores(self.bn(y))[:, :count]

    with refused(ModelError, "other shapes", "fold=False"):
        ta.prepare(calibrated(Counting(scores), 3, 8, 8), X, channels_last=False)
