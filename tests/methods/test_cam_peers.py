"""The class activation maps beside those of pytorch-grad-cam and TorchCAM, where they are right."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
import torch
from cam_networks import Deep, Pooled, images, layer_pair, made, seeded
from torch import Tensor, nn

import torchattr as ta

grad_cam: Any = pytest.importorskip("pytorch_grad_cam")
torchcam: Any = pytest.importorskip("torchcam.methods")
targets: Any = pytest.importorskip("pytorch_grad_cam.utils.model_targets")

LAYERS = ("stem", "norm")
THEIRS = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "xgrad_cam": "XGradCAM",
    "hires_cam": "HiResCAM",
    "grad_cam_elementwise": "GradCAMElementWise",
    "layer_cam": "LayerCAM",
    "fem": "FEM",
}


def loud(cls: Any) -> nn.Module:
    """Return a network whose gradients are far above the constants that peers add to divisors."""
    net = seeded(cls)
    with torch.no_grad():
        net.get_submodule("head").weight.mul_(1e4)
    return net


def of_peer(
    name: str, net: nn.Module, layers: tuple[str, ...], x: Tensor, **options: Any
) -> Tensor:
    """Return pytorch-grad-cam's map for class 1."""
    method = getattr(grad_cam, name)(net, [net.get_submodule(layer) for layer in layers])
    chosen = options.pop("targets", [targets.ClassifierOutputTarget(1)] * len(x))
    with contextlib.redirect_stdout(io.StringIO()):
        found = method(input_tensor=x, targets=chosen, **options)
    return torch.from_numpy(found)[:, None].double()


@pytest.mark.parametrize("layers", [("norm",), LAYERS])
@pytest.mark.parametrize("name", THEIRS)
def test_one_layer_and_the_mean_of_several(name: str, layers: tuple[str, ...]) -> None:
    net, x = loud(Deep), images()
    found = made(name, net, list(layers)).attribute(x, target=1, fuse="mean")
    torch.testing.assert_close(found, of_peer(THEIRS[name], net, layers, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "hires_cam", "eigen_cam", "kpca_cam"])
def test_components_up_to_their_sign(name: str) -> None:
    net, x = loud(Deep), images()
    theirs = {"eigen_cam": "EigenCAM", "kpca_cam": "KPCA_CAM"}.get(name, THEIRS.get(name, ""))
    smooth = name not in ("eigen_cam", "kpca_cam")
    options = {"eigen_smooth": True} if smooth else {}
    method = made(name, net, ["stem"])
    raw = method.attribute(x, target=1, **options)["stem"]
    expected = of_peer(theirs, net, ("stem",), x, **options)
    for one, peer in zip(raw, expected, strict=True):
        shown = [side.relu() / side.max() for side in (one, -one)]
        assert min(float((side - peer).abs().max()) for side in shown) < 1e-4


def test_products_of_layers() -> None:
    net, x = loud(Deep), images()
    layers = [net.get_submodule(layer) for layer in LAYERS]
    method = grad_cam.RefineCAM(net, layers, base_method=grad_cam.LayerCAM)
    theirs = torch.from_numpy(method(x, [targets.ClassifierOutputTarget(1)] * 2))[:, None]
    found = ta.RefineCAM(net, list(LAYERS), base="layer_cam").attribute(x, target=1)
    torch.testing.assert_close(found, theirs.double(), rtol=0, atol=1e-5)


def test_differences_of_classes() -> None:
    net, x = seeded(Deep), images()
    chosen = [targets.FinerWeightedTarget(1, [0, 3], 0.7)] * 2
    theirs = of_peer("GradCAM", net, ("norm",), x, targets=chosen)
    finer = ta.FinerCAM(net, ["norm"], comparison=[0, 3], gamma=0.7, weighting="probability")
    found = finer.attribute(x, target=1, relu_attributions=True)["norm"]
    shown = torch.nn.functional.interpolate(rescaled(found), (8, 10), mode="bilinear")
    torch.testing.assert_close(rescaled(shown), theirs, rtol=0, atol=1e-5)


def rescaled(maps: Tensor) -> Tensor:
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low)


def test_curvature() -> None:
    net, x = seeded(Pooled, nn.GELU), images()
    chosen = [targets.ClassifierOutputReST(1)] * 2
    theirs = of_peer("ShapleyCAM", net, ("body",), x, targets=chosen)
    found = ta.ShapleyCAM(net, "body").attribute(x, target=1, fuse="mean")
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-5)


def test_all_biases() -> None:
    net, x = loud(Deep), images()
    theirs = of_peer("FullGrad", net, (), x)
    found = rescaled(ta.FullGrad(net).attribute(x, target=1))
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-4)


def test_scores_of_masked_images_of_the_layers_own_size() -> None:
    """Without enlarging, about whose corners and order with rescaling the libraries differ."""
    net, x = seeded(Deep), images()
    found = ta.ScoreCAM(net, ["stem"]).attribute(x, target=1, relu_attributions=True)["stem"]
    theirs = of_peer("ScoreCAM", net, ("stem",), x)
    torch.testing.assert_close(rescaled(found), theirs, rtol=0, atol=1e-5)
    with torchcam.ScoreCAM(net, "stem") as method, torch.no_grad():
        net(x)
        (other,) = method(class_idx=1, normalized=False)
    torch.testing.assert_close(found[:, 0], other)


def test_losses_without_a_channel_of_rectified_layers() -> None:
    """Of other layers pytorch-grad-cam sets channels to a large negative number, not to 0."""
    net, x = seeded(Pooled), images(1)
    with torch.no_grad():
        net.get_submodule("body.0").weight.abs_()
        net.get_submodule("head").weight.abs_()
    found = ta.AblationCAM(net, "stem").attribute(x, target=1, relu_attributions=True)
    theirs = of_peer("AblationCAM", net, ("stem",), x)
    torch.testing.assert_close(rescaled(found), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("grad_cam", "GradCAM"), ("xgrad_cam", "XGradCAM"), ("layer_cam", "LayerCAM")],
)
def test_torchcam(name: str, theirs: str) -> None:
    net, x = loud(Deep), images()
    found = made(name, net, "norm").attribute(x, target=1, relu_attributions=True)
    with getattr(torchcam, theirs)(net, "norm") as method:
        (other,) = method(class_idx=1, scores=net(x), normalized=False)
    torch.testing.assert_close(found[:, 0], other, rtol=1e-6, atol=1e-6)


def test_torchcams_weights_of_the_head() -> None:
    net, x = seeded(Pooled), images()
    with torchcam.CAM(net, "body", "head") as method, torch.no_grad():
        net(x)
        (other,) = method(class_idx=1, normalized=False)
    torch.testing.assert_close(ta.CAM(net, "body").attribute(x, target=1)[:, 0], other)


def test_torchcam_applies_no_coefficients() -> None:
    """Its Grad-CAM++ weighs by the cubes of positive gradients, as the guide says."""
    net, x = loud(Deep), images()
    values, gradients = layer_pair(net, net.get_submodule("norm"), x, 1)
    cubes = gradients.relu().pow(3).sum((2, 3), keepdim=True)
    with torchcam.GradCAMpp(net, "norm") as method:
        (other,) = method(class_idx=1, scores=net(x), normalized=False)
    torch.testing.assert_close((cubes * values).sum(1).relu(), other)
    found = ta.GradCAMPlusPlus(net, "norm").attribute(x, target=1, relu_attributions=True)
    assert not torch.allclose(rescaled(found)[:, 0], rescaled(other[:, None])[:, 0], atol=1e-2)


def test_a_constant_in_the_divisor_replaces_the_coefficients_of_small_gradients() -> None:
    """Of pytorch-grad-cam's Grad-CAM++, as the guide says: weights become cubes of gradients."""
    net, x = seeded(Deep), images()
    with torch.no_grad():
        net.get_submodule("head").weight.mul_(1e-4)
    values, gradients = layer_pair(net, net.get_submodule("norm"), x, 1)
    cubes = gradients.relu().pow(3).sum((2, 3), keepdim=True)
    theirs = of_peer("GradCAMPlusPlus", net, ("norm",), x)
    shown = rescaled((cubes * values).sum(1, keepdim=True).relu())
    sized = torch.nn.functional.interpolate(shown, (8, 10), mode="bilinear")
    torch.testing.assert_close(rescaled(sized), theirs, rtol=0, atol=1e-2)
