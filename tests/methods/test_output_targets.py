"""Targets that are functions of the output, under every kind of method, against plain loops.

The oracle knows nothing of targets: it differentiates a scalar that is written out here for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import TargetError
from torchattr.evaluate import deletion_curve

SIZE = 8
K = 4
IMAGES = torch.rand(
    3, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
)
GRID = torch.arange(16).view(4, 4).repeat_interleave(2, 0).repeat_interleave(2, 1)[None, None]


class Net(nn.Module):
    """A small network with every kind of output."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kind = kind
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, K, 3, padding=1)
        self.double()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).double() / 3

    def forward(self, x: Tensor) -> Any:
        maps = self.second(self.first(x).relu())
        if self.kind == "maps":
            return maps
        if self.kind == "boxes":
            return [_detected(one) for one in maps.unbind()]
        scores = maps.mean((2, 3))
        return scores[:, 0] if self.kind == "single" else scores


def _detected(maps: Tensor) -> dict[str, Tensor]:
    """Return the detections of a head with an anchor in each cell of 4 × 4 pixels."""
    cells = F.avg_pool2d(maps[None], 4)[0].flatten(1)
    corner = torch.tensor([[0.0, 0], [4, 0], [0, 4], [4, 4]]).double()
    low = corner + 0.3 * cells[:2].T.tanh()
    boxes = torch.cat([low, low + 4 + 0.2 * cells[2:].T.tanh()], 1)
    scores = cells[3].sigmoid()
    kept = scores.argsort(descending=True)[:3]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": (kept % 2).long()}


def _share(box: Tensor, other: Tensor) -> Tensor:
    width = torch.minimum(box[2], other[2]) - torch.maximum(box[0], other[0])
    height = torch.minimum(box[3], other[3]) - torch.maximum(box[1], other[1])
    shared = width.clamp(min=0) * height.clamp(min=0)
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (box, other)]
    return shared / (areas[0] + areas[1] - shared)


with torch.no_grad():
    FOUND = Net("boxes")(IMAGES)
    SCORES = Net("scores")(IMAGES)
    MAPS = Net("maps")(IMAGES)
    SINGLE = Net("single")(IMAGES)

LABELS = [int(one["labels"][0]) for one in FOUND]
WANTED = [one["boxes"][:1] + 0.1 for one in FOUND]
MASK = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
MASK[0, 2:6, 1:4] = MASK[1, 4:] = MASK[2, :, ::2] = True
EMBEDDING = torch.randn(3, K, generator=torch.Generator().manual_seed(2)).double()
BEST = SCORES.argmax(1).tolist()
COMMON = int(MAPS.argmax(1).flatten().mode().values)


def of_box(found: dict[str, Tensor], n: int) -> Tensor:
    """Return score + IoU of the best detection of the label by a plain loop."""
    best, value = 0.5, found["scores"].sum() * 0
    for box, score, label in zip(found["boxes"], found["scores"], found["labels"], strict=True):
        share = _share(WANTED[n][0], box)
        if int(label) == LABELS[n] and share > best:
            best, value = share.item(), score + share
    return value


Written = Callable[[Any, int], Tensor]


@dataclass(frozen=True)
class Case:
    """A target, and its value for one example written out."""

    kind: str
    target: Any
    written: Written


CASES = {
    "mask": Case("maps", ta.Mask([1, 0, 3], MASK), lambda o, n: o[[1, 0, 3][n]][MASK[n]].sum()),
    "segment": Case(
        "maps", ta.Segment(COMMON), lambda o, n: o[COMMON][MAPS[n].argmax(0) == COMMON].sum()
    ),
    "boxes": Case("boxes", ta.Boxes([[one] for one in LABELS], WANTED), of_box),
    "similarity": Case(
        "scores",
        ta.Similarity(EMBEDDING),
        lambda o, n: (o @ EMBEDDING[n]) / (o.norm() * EMBEDDING[n].norm()),
    ),
    "difference": Case(
        "scores", ta.Difference([0, 1, 0], [2, 3]), lambda o, n: o[[0, 1, 0][n]] - (o[2] + o[3]) / 2
    ),
    "difference of the predicted": Case(
        "scores",
        ta.Difference(alpha=0.5),
        lambda o, n: o[BEST[n]] - (o.sum() - o[BEST[n]]) / (K - 1) / 2,
    ),
    "probability": Case("scores", ta.Probability(), lambda o, n: o[BEST[n]].exp() / o.exp().sum()),
    "loss": Case(
        "scores",
        ta.Loss(F.cross_entropy, [2, 0, 1]),
        lambda o, n: o.exp().sum().log() - o[[2, 0, 1][n]],
    ),
    "binary": Case("single", ta.Binary(), lambda o, n: o if SINGLE[n] > 0 else -o),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def rows(output: Any) -> Iterator[Any]:
    yield from output


def oracle_gradient(case: Case, inputs: Tensor, net: Net | None = None) -> Tensor:
    """Return the gradient of the written-out values by PyTorch alone."""
    leaf = inputs.detach().clone().requires_grad_()
    total = sum(case.written(row, n) for n, row in enumerate(rows((net or Net(case.kind))(leaf))))
    assert isinstance(total, Tensor)
    return torch.autograd.grad(total, leaf)[0]


def written_values(case: Case, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([case.written(row, n) for n, row in enumerate(Net(case.kind)(inputs))])


def close(found: Tensor, expected: Tensor) -> None:
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@EACH
@pytest.mark.parametrize("memory", ["native", "lean"])
def test_saliency(case: Case, memory: Any) -> None:
    found = ta.Saliency(Net(case.kind), memory=memory).attribute(IMAGES, case.target, abs=False)
    close(found, oracle_gradient(case, IMAGES))


@EACH
def test_grad_cam(case: Case) -> None:
    net, kept = Net(case.kind), []
    net.first.register_forward_hook(lambda _, __, output: kept.append(output))
    total = sum(case.written(row, n) for n, row in enumerate(rows(net(IMAGES))))
    (gradient,) = torch.autograd.grad(total, kept[0])
    expected = (gradient.mean((2, 3), keepdim=True) * kept[0].detach()).sum(1, keepdim=True)
    found = ta.GradCAM(Net(case.kind), "first").attribute(
        IMAGES, case.target, relu_attributions=False
    )
    close(found, expected)


@EACH
def test_integrated_gradients(case: Case) -> None:
    steps = 5
    points = [(k + 0.5) / steps for k in range(steps)]
    mean = torch.stack([oracle_gradient(case, IMAGES * one) for one in points]).mean(0)
    method = ta.IntegratedGradients(Net(case.kind))
    found = method.attribute(IMAGES, target=case.target, n_steps=steps, method="riemann_middle")
    close(found, mean * IMAGES)


@EACH
@pytest.mark.parametrize("incremental", [True, False])
@pytest.mark.parametrize("at_once", [1, None])
def test_feature_ablation(case: Case, incremental: bool, at_once: int | None) -> None:
    clean = written_values(case, IMAGES)
    expected = torch.zeros_like(IMAGES)
    for feature in range(16):
        where = (feature == GRID).expand_as(IMAGES)
        effect = clean - written_values(case, IMAGES.masked_fill(where, 0))
        expected += where * effect[:, None, None, None]
    found = ta.FeatureAblation(Net(case.kind)).attribute(
        IMAGES,
        target=case.target,
        feature_mask=GRID,
        incremental=incremental,
        perturbations_per_eval=at_once,
    )
    close(found, expected)


@EACH
def test_rise_reads_the_output_as_it_is(case: Case) -> None:
    """Its softmax is for class scores, and these are functions of what the model returns."""
    options: dict[str, Any] = {"target": case.target, "n_masks": 8, "grid_size": 2, "seed": 0}
    by_default = ta.RISE(Net(case.kind)).attribute(IMAGES, **options)
    as_it_is = ta.RISE(Net(case.kind)).attribute(IMAGES, activation="none", **options)
    assert torch.equal(by_default, as_it_is)


def test_classes_beside_functions_keep_their_activation() -> None:
    options: dict[str, Any] = {"n_masks": 8, "grid_size": 2, "seed": 0}
    net = Net("scores")
    both = ta.RISE(net).attribute(IMAGES, ta.Classes(1, ta.Difference(1, 2)), **options)
    for position, target in enumerate((1, ta.Difference(1, 2))):
        torch.testing.assert_close(
            both[:, position], ta.RISE(net).attribute(IMAGES, target, **options)
        )


@EACH
def test_a_callable_of_the_same_value_gives_the_same(case: Case) -> None:
    """The targets are one more form of what a callable does."""
    found = ta.explain(Net(case.kind), IMAGES, ["saliency", "guided_backprop"], case.target)
    assert found.targets is None
    torch.testing.assert_close(found.scores[:, 0], written_values(case, IMAGES))


def test_several_targets_of_all_kinds_share_a_forward() -> None:
    targets = [1, ta.Difference(0, 2), ta.Probability(), ta.Loss(F.cross_entropy, [0, 1, 2])]
    methods = {"saliency": {"abs": False}, "feature_ablation": {"feature_mask": GRID}}
    together = ta.explain(Net("scores"), IMAGES, methods, ta.Classes(targets))
    for position, target in enumerate(targets):
        alone = ta.explain(Net("scores"), IMAGES, methods, target)
        for name in methods:
            torch.testing.assert_close(together[name][:, position], alone[name][:, 0])


def test_relevance_starts_at_the_function() -> None:
    """Relevance is linear in what it starts from: that of a difference is the difference."""
    lrp = ta.LRP(Net("scores"))
    first, second = lrp.attribute(IMAGES, 0), lrp.attribute(IMAGES, 2)
    close(lrp.attribute(IMAGES, ta.Difference(0, 2)), first - second)


@pytest.mark.parametrize("name", ["difference", "mask", "similarity"])
def test_the_ledger_takes_the_rows_of_its_example(name: str) -> None:
    case = CASES[name]
    ledgers = ta.LRP(Net(case.kind)).ledgers(IMAGES, case.target)
    expected = written_values(case, IMAGES).tolist()
    assert [ledger.score for ledger in ledgers] == pytest.approx(expected)


@EACH
def test_noise_tunnel_repeats_the_rows(case: Case) -> None:
    tunnel = ta.NoiseTunnel(ta.Saliency(Net(case.kind)))
    found = tunnel.attribute(IMAGES, nt_samples=3, stdevs=0.0, target=case.target, abs=False)
    close(found, oracle_gradient(case, IMAGES))


@EACH
def test_curves_follow_the_function(case: Case) -> None:
    maps = torch.rand_like(IMAGES[:, :1])
    curves = deletion_curve(Net(case.kind), IMAGES, maps, case.target, steps=4)
    torch.testing.assert_close(curves.scores[:, 0], written_values(case, IMAGES))


@pytest.mark.parametrize("method", ["Saliency", "GradCAM", "FeatureAblation", "LRP", "RISE"])
def test_the_detector_that_finds_nothing_is_named(method: str) -> None:
    options = {"layer": "first"} if method == "GradCAM" else {}
    made = getattr(ta, method)(Net("boxes"), **options)
    with pytest.raises(TargetError, match=r"no detection matches box \(0, 0, 1, 1\) of label 1"):
        made.attribute(IMAGES, target=ta.Boxes(1, [0, 0, 1, 1]))


@pytest.mark.parametrize("target", [None, 1, ta.TopK(2)])
def test_a_detector_without_boxes_says_what_to_pass(target: Any) -> None:
    with pytest.raises(TargetError, match=r"these are detections: pass Boxes"):
        ta.Saliency(Net("boxes")).attribute(IMAGES, target)


def test_a_head_before_suppression_is_read_by_a_function() -> None:
    """As for a YOLO head, which returns centres, sizes and the scores of all classes."""
    head = nn.Conv2d(3, 4 + 2, 4, stride=4).double()

    def read(raw: Tensor) -> Tensor:
        centre, size, scores = raw.flatten(2).transpose(1, 2).split([2, 2, 2], -1)
        corners = torch.cat([centre - size.exp(), centre + size.exp()], -1)
        return ta.detections(corners, scores.sigmoid())

    boxes = read(head(IMAGES)).detach()
    wanted = ta.Boxes(boxes[:, :1, 5].long(), boxes[:, :1, :4], overlap=False)
    found = ta.Saliency(head, output=read).attribute(IMAGES, wanted, abs=False)
    leaf = IMAGES.clone().requires_grad_()
    rows = read(head(leaf))
    (expected,) = torch.autograd.grad(rows[:, 0, 4].sum(), leaf)
    close(found, expected)
