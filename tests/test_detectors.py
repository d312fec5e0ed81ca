"""Torchvision's detectors, with random weights, against plain loops and PyTorch's own gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.ops import box_iou

import torchattr as ta
from torchattr.errors import LayerError, ModelError, NoRuleMatched

NEW: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": 4}
SMALL: dict[str, Any] = {"min_size": 64, "max_size": 96}
FEW: dict[str, Any] = {"score_thresh": 0.0, "detections_per_img": 6}
BUILD: dict[str, Callable[[], nn.Module]] = {
    "faster_rcnn": lambda: detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        **NEW, **SMALL, box_score_thresh=0.0, box_detections_per_img=6, rpn_post_nms_top_n_test=40
    ),
    "retinanet": lambda: detection.retinanet_resnet50_fpn(**NEW, **SMALL, **FEW),
    "ssd": lambda: detection.ssdlite320_mobilenet_v3_large(**NEW, **FEW),
    "fcos": lambda: detection.fcos_resnet50_fpn(**NEW, **SMALL, **FEW),
}
LAYERS = {
    "faster_rcnn": "backbone.body.16",
    "retinanet": "backbone.body.layer4",
    "ssd": "backbone.features.0",
    "fcos": "backbone.body.layer4",
}
EACH = pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one == "faster_rcnn" else pytest.mark.slow) for one in BUILD],
)
IMAGES = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0)).double()
QUARTERS = torch.arange(4).view(2, 2).repeat_interleave(32, 0).repeat_interleave(40, 1)[None, None]
METHODS: dict[str, dict[str, Any]] = {
    "saliency": {},
    "guided_backprop": {},
    "feature_ablation": {"feature_mask": QUARTERS},
    "integrated_gradients": {"n_steps": 3},
    "rise": {"n_masks": 4, "grid_size": 2},
}


@cache
def detector(name: str) -> nn.Module:
    """Return a detector whose activations have the scale of a trained one's."""
    torch.manual_seed(0)
    model = BUILD[name]().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.train()
    with torch.no_grad():
        model(torch.rand(4, 3, 64, 80).double())
    return model.eval()


@cache
def wanted(name: str) -> tuple[Tensor, Tensor]:
    """Return the label and the box, slightly moved, of a large detection of each image."""
    with torch.no_grad():
        found = detector(name)(list(IMAGES))
    sizes = [(one["boxes"][:, 2:] - one["boxes"][:, :2]).prod(1) for one in found]
    best = [int(size.argmax()) for size in sizes]
    labels = torch.stack([one["labels"][k] for one, k in zip(found, best, strict=True)])
    boxes = torch.stack([one["boxes"][k] for one, k in zip(found, best, strict=True)])
    widths = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return labels, boxes + widths * torch.tensor([0.05, 0.02, -0.03, -0.04])


def target(name: str) -> ta.OutputTarget:
    labels, boxes = wanted(name)
    return ta.Boxes(labels[:, None], boxes[:, None])


def values(name: str, inputs: Tensor) -> Tensor:
    """Return the values of the wanted boxes by a plain loop."""
    written = []
    for found, label, box in zip(detector(name)(list(inputs)), *wanted(name), strict=True):
        shares = box_iou(box[None], found["boxes"])[0]
        fitting = (shares > 0.5) & (found["labels"] == label)
        value = found["scores"].sum() * 0
        if fitting.any():
            best = int(torch.where(fitting, shares, 0).argmax())
            value = shares[best] + found["scores"][best]
        written.append(value)
    return torch.stack(written)


def gradient(name: str, inputs: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    return torch.autograd.grad(values(name, leaf).sum(), leaf)[0]


def close(found: Tensor, expected: Tensor) -> None:
    assert expected.any()
    scale = expected.abs().max().item()
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-10, atol=1e-10)


@EACH
def test_saliency_is_the_gradient_of_the_written_value(name: str) -> None:
    found = ta.Saliency(detector(name)).attribute(IMAGES, target(name), abs=False)
    close(found, gradient(name, IMAGES))


@EACH
def test_integrated_gradients(name: str) -> None:
    points = [0.25, 0.75]
    expected = IMAGES * torch.stack([gradient(name, IMAGES * one) for one in points]).mean(0)
    method = ta.IntegratedGradients(detector(name))
    options: dict[str, Any] = {"n_steps": 2, "method": "riemann_middle"}
    found = method.attribute(IMAGES, target=target(name), **options)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@EACH
def test_feature_ablation(name: str) -> None:
    with torch.no_grad():
        clean, expected = values(name, IMAGES), torch.zeros_like(IMAGES)
        for feature in range(4):
            where = (feature == QUARTERS).expand_as(IMAGES)
            effect = clean - values(name, IMAGES.masked_fill(where, 0))
            expected += where * effect[:, None, None, None]
    method = ta.FeatureAblation(detector(name))
    close(method.attribute(IMAGES, target=target(name), feature_mask=QUARTERS), expected)


@EACH
def test_grad_cam(name: str) -> None:
    model, kept = detector(name), []
    module = model.get_submodule(LAYERS[name])
    handle = module.register_forward_hook(lambda _, __, output: kept.append(output))
    total = values(name, IMAGES).sum()
    handle.remove()
    (grads,) = torch.autograd.grad(total, kept[-1])
    expected = (grads.mean((2, 3), keepdim=True) * kept[-1]).sum(1, keepdim=True).detach()
    found = ta.GradCAM(model, LAYERS[name]).attribute(IMAGES, target(name), relu_attributions=False)
    close(found, expected)


@pytest.mark.filterwarnings("ignore::torchattr.errors.CoverageWarning")
@EACH
def test_methods_explain_boxes_together(name: str) -> None:
    explanation = ta.explain(detector(name), IMAGES, METHODS, target(name))
    for method in METHODS:
        result = explanation[method]
        assert result.shape[:2] == (2, 1)
        assert result.isfinite().all()
    with torch.no_grad():
        torch.testing.assert_close(explanation.scores[:, 0], values(name, IMAGES))


@EACH
def test_the_layer_is_chosen_with_a_warning(name: str) -> None:
    if name == "ssd":
        # It stretches pictures to squares, so no grid has their aspect.
        with pytest.raises(LayerError, match=r"Name one, such as layer='head"):
            ta.GradCAM(detector(name)).attribute(IMAGES, target(name))
        return
    with pytest.warns(ta.LayerChoiceWarning):
        maps = ta.GradCAM(detector(name)).attribute(IMAGES, target(name))
    assert maps.dim() == 4


@pytest.mark.slow
def test_windows_of_a_detector() -> None:
    method, options = ta.Occlusion(detector("faster_rcnn")), {"strides": (3, 32, 40)}
    found = method.attribute(IMAGES, (3, 32, 40), target=target("faster_rcnn"), **options)
    ablated = ta.FeatureAblation(detector("faster_rcnn")).attribute(
        IMAGES, target=target("faster_rcnn"), feature_mask=QUARTERS
    )
    close(found, ablated)


@EACH
def test_differences_from_a_baseline_are_refused_in_a_sentence(name: str) -> None:
    """What a detector keeps depends on the values, so layers of two inputs do not correspond."""
    with pytest.raises((ModelError, NoRuleMatched), match=r"IntegratedGradients"):
        ta.DeepLift(detector(name)).attribute(IMAGES, target=target(name))


def test_relevance_is_refused_where_regions_are_cut_out() -> None:
    with pytest.raises(NoRuleMatched, match=r"(?i)roi_?align"):
        ta.LRP(detector("faster_rcnn")).attribute(IMAGES, target("faster_rcnn"))
