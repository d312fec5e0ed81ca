"""The class activation maps that are made of one layer's values and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cam_networks import Deep, Pooled, images, layer_pair, made, seeded
from cam_oracles import ORACLES
from helpers import refused
from networks import channels_last, pictures, tokens, vit
from torch import Tensor, nn

import torchattr as ta
from torchattr import captum
from torchattr.layers import graph_trace

GRADIENT_FREE = ("eigen_cam", "fem", "kpca_cam", "random_cam")
SHARING = [*ORACLES, "random_cam", "refine_cam"]


def assert_right(found: Tensor, name: str, values: Tensor, gradients: Tensor) -> None:
    """Compare maps with the plain formula, example by example."""
    pairs = zip(values.numpy(), gradients.numpy(), strict=True)
    expected = torch.from_numpy(np.stack([ORACLES[name](a, g) for a, g in pairs]))[:, None]
    # A squared matrix has half the digits.
    close = 1e-7 if name in ("eigen_cam", "eigen_grad_cam", "kpca_cam") else 1e-12
    torch.testing.assert_close(
        found, expected, rtol=close, atol=close * float(expected.abs().max())
    )


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize(("network", "layer"), [(Pooled, "body"), (Deep, "norm"), (Deep, "stem")])
def test_maps_are_those_of_the_formulas(name: str, network: Any, layer: str) -> None:
    net, x = seeded(network), images()
    for target in (0, 3):
        found = made(name, net, layer).attribute(x, target=target)
        pair = layer_pair(net, net.get_submodule(layer), x, target)
        assert_right(found, name, *pair)


@pytest.mark.parametrize("name", ORACLES)
def test_grids_of_tokens_and_channels_last(name: str) -> None:
    net, x = vit(1), pictures(2, 3, 8, 12)
    values, gradients = layer_pair(net, net.get_submodule("blocks.0"), x, 1)
    grid = tokens(4, 6, 1)
    assert_right(
        made(name, net, "blocks.0").attribute(x, target=1), name, grid(values), grid(gradients)
    )

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.head = nn.Linear(3, 6), nn.Linear(6, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(F.gelu(self.linear(images.permute(0, 2, 3, 1))).square().mean((1, 2)))

    last = seeded(Last)
    values, gradients = layer_pair(last, last.get_submodule("linear"), images(), 1)
    found = made(name, last, "linear").attribute(images(), target=1)
    assert_right(found, name, channels_last(values), channels_last(gradients))


@pytest.mark.parametrize("name", ORACLES)
def test_three_dimensions(name: str) -> None:
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv3d(2, 4, 2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)
        )
    )
    x = torch.rand(2, 2, 3, 4, 5, dtype=torch.float64)
    pair = layer_pair(net, net.get_submodule("1"), x, 1)
    assert_right(made(name, net, "1").attribute(x, target=1), name, *pair)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fem_weighs_half_precision_as_single(dtype: torch.dtype) -> None:
    """The squares of these values are beyond the largest number of float16."""
    method = ta.FEM(seeded(Pooled), "body")
    values = (2000 * torch.rand(2, 4, 9, 9, generator=torch.Generator().manual_seed(0)) ** 4).to(
        dtype
    )
    found = method.weigh(values, values)
    expected = method.weigh(values.float(), values.float())
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype), rtol=0.02, atol=0)
    assert method.weigh(values[:0], values[:0]).shape == (0, 4, 9, 9)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Count backwards."""
    counted: list[str] = []
    own = graph_trace.engine_run_backward

    def counting(*args: Any, **kwargs: Any) -> Any:
        counted.append("backward")
        return own(*args, **kwargs)

    monkeypatch.setattr(graph_trace, "engine_run_backward", counting)
    return counted


def test_all_of_them_cost_one_forward_and_one_backward(runs: list[str]) -> None:
    net, x = seeded(Deep), images()
    ta.explain(net, x, SHARING, targets=1, layer=["norm", "stem"])  # Layouts are known from here.
    runs.clear()
    handle = net.register_forward_hook(lambda *call: runs.append("forward"))
    found = ta.explain(net, x, SHARING, targets=1, layer=["norm", "stem"])
    handle.remove()
    assert runs == ["forward", "backward"]
    for name in SHARING:
        own = made(name, net, ["norm", "stem"]).attribute(x, target=1)
        if name == "refine_cam":
            torch.testing.assert_close(found[name][:, 0], own, rtol=1e-12, atol=1e-12)
            continue
        for layer, of_layer in own.items():
            torch.testing.assert_close(found[name][layer][:, 0], of_layer, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SHARING)
def test_several_targets_are_side_by_side(name: str) -> None:
    net, x = seeded(Deep), images()
    method = made(name, net, "norm")
    together = method.attribute(x, target=ta.Classes(0, 4, 2))
    for number, target in enumerate((0, 4, 2)):
        single = method.attribute(x, target=target)
        torch.testing.assert_close(together[:, number], single, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", GRADIENT_FREE)
def test_values_alone_need_no_target_and_no_scores(name: str) -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = seeded(Deep)

        def forward(self, x: Tensor) -> list[dict[str, Any]]:
            with torch.no_grad():
                scores = self.backbone(x)
            return [{"boxes": scores, "labels": [1]}]

    x = images()
    found = made(name, Detector(), "backbone.norm").attribute(x)
    expected = made(name, seeded(Deep), "norm").attribute(x, target=2)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_control_has_weights_of_its_seed() -> None:
    net, x = seeded(Pooled), images(3)
    values = ta.LayerActivation(net, "body").attribute(x)
    found = ta.RandomCAM(net, "body", seed=4).attribute(x, attr_dim_summation=False)
    weights = (found / values)[values > 0]
    assert float(weights.abs().max()) <= 1
    again = ta.RandomCAM(net, "body", seed=4).attribute(x[:1])
    torch.testing.assert_close(again, found[:1].sum(1, keepdim=True))
    other = ta.RandomCAM(net, "body", seed=5).attribute(x)
    assert not torch.allclose(other, found.sum(1, keepdim=True))


def from_0_to_1(maps: Tensor) -> Tensor:
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low)


@pytest.mark.parametrize("fuse", ["mean", "product", "max"])
def test_layers_are_fused_at_the_size_of_the_input(fuse: Any) -> None:
    net, x = seeded(Deep), images()
    method = ta.LayerCAM(net, ["stem", "norm"])
    parts = [
        F.interpolate(from_0_to_1(one.relu()), (8, 10), mode="bilinear", align_corners=False)
        for one in method.attribute(x, target=1).values()
    ]
    pair = torch.stack(parts)
    expected = {"mean": pair.mean(0), "product": pair.prod(0), "max": pair.amax(0)}[fuse]
    found = method.attribute(x, target=1, fuse=fuse)
    torch.testing.assert_close(found, from_0_to_1(expected))
    explained = ta.explain(net, x, {method: {"fuse": fuse}}, targets=1)["layer_cam"]
    torch.testing.assert_close(explained[:, 0], found)


def test_a_map_without_evidence_stays_0_when_fused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 80, 2)).double()
    nn.init.zeros_(net[2].weight)
    with pytest.warns(ta.DisconnectedWarning):
        found = ta.GradCAM(net, "0").attribute(images(), target=1, fuse="mean")
    assert not found.any()


def test_the_mean_over_mirrored_and_scaled_images() -> None:
    net, x = seeded(Deep), images()
    method = ta.GradCAM(net, "norm")
    target = net(x).argmax(1)
    maps = []
    for factor in (0.9, 1.0, 1.1):
        maps.append(method.attribute(x * factor, target=target))
        maps.append(method.attribute((x * factor).flip(3), target=target).flip(3))
    expected = torch.stack(maps).mean(0)
    torch.testing.assert_close(method.attribute(x, aug_smooth=True), expected)
    explained = ta.explain(net, x, {"grad_cam": {"aug_smooth": True}}, layer="norm")["grad_cam"]
    torch.testing.assert_close(explained[:, 0], expected)
    mirrored = method.attribute(x.flip(3), target=target, aug_smooth=True)
    torch.testing.assert_close(mirrored.flip(3), expected)


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam"])
def test_a_component_in_the_place_of_the_sum(name: str) -> None:
    net, x = seeded(Deep), images()
    method = made(name, net, "norm")
    channels = method.attribute(x, target=1, attr_dim_summation=False).numpy()
    found = method.attribute(x, target=1, eigen_smooth=True)
    for one, of_example in zip(found, channels, strict=True):
        rows = of_example.reshape(len(of_example), -1).T
        rows = rows - rows.mean(0)
        left, values, _ = np.linalg.svd(rows, full_matrices=False)
        component = left[:, 0] * values[0]
        component *= np.sign(component @ of_example.sum(0).ravel())
        np.testing.assert_allclose(one.numpy().ravel(), component, rtol=1e-7, atol=1e-9)


def test_a_component_does_not_depend_on_the_sign_that_a_library_finds() -> None:
    net, x = seeded(Pooled), images()
    values = ta.LayerActivation(net, "body").attribute(x)
    found = ta.EigenCAM(net, "body").attribute(x)
    assert ((found * values.abs().sum(1, keepdim=True)).sum((1, 2, 3)) > 0).all()
    assert float(found.sum((2, 3)).abs().max()) < 1e-10


def test_weights_of_nothing_are_0() -> None:
    class Cancelling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return (self.layer(x) * torch.arange(8.0)).flatten(1).cumsum(1)

    x = torch.tensor([1.0, -1.0]).repeat(4).view(1, 1, 1, 8) * 0.1
    assert not ta.XGradCAM(Cancelling(), "layer").attribute(x, target=7).any()
    # 2 + g · ΣA = 0 at one position: its coefficient is 0, not infinite.
    x = torch.zeros(1, 1, 1, 8)
    x[..., 0] = -1.0
    found = ta.GradCAMPlusPlus(Cancelling(), "layer").attribute(x, target=7)
    assert found.isfinite().all()


def test_small_gradients_keep_their_coefficients() -> None:
    """A large grid has gradients whose squares are below any constant added to them."""
    net, x = seeded(Pooled), images()
    tiny = seeded(Pooled)
    with torch.no_grad():
        tiny.get_submodule("head").weight.mul_(1e-12)
    found = ta.GradCAMPlusPlus(tiny, "body").attribute(x, target=1)
    values, gradients = layer_pair(tiny, tiny.get_submodule("body"), x, 1)
    assert_right(found, "grad_cam_plus_plus", values, gradients)
    assert float(found.abs().max()) > 1e-15
    assert not torch.allclose(
        from_0_to_1(found), from_0_to_1(ta.GradCAMPlusPlus(net, "body").attribute(x, target=1))
    )


def test_bad_options_say_what_is_possible() -> None:
    net, x = seeded(Pooled), images()
    cam = ta.GradCAM(net, "body")
    with refused(ta.InputError, "fuse", "'product'", "'sum'"):
        cam.attribute(x, target=1, fuse="sum")  # type: ignore[arg-type]
    with refused(ta.InputError, "attr_dim_summation", "fuse"):
        cam.attribute(x, target=1, fuse="mean", attr_dim_summation=False)
    with refused(ta.InputError, "eigen_smooth", "attr_dim_summation"):
        ta.explain(net, x, {cam: {"eigen_smooth": True, "attr_dim_summation": False}}, targets=1)
    linear = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with refused(ta.InputError, "aug_smooth", "images"):
        ta.GradCAM(linear, "0").attribute(torch.rand(2, 3), target=1, aug_smooth=True)
    with refused(ta.InputError, "kernel", "'sigmoid'", "'poly'"):
        ta.KPCACAM(net, "body", kernel="poly")  # type: ignore[arg-type]
    with refused(ta.InputError, "gamma", "-1"):
        ta.KPCACAM(net, "body", gamma=-1)
    with refused(ta.InputError, "k must be", "-1"):
        ta.FEM(net, "body", k=-1)
    with refused(ta.InputError, "seed"):
        ta.RandomCAM(net, "body", seed=-1)
    with refused(ta.LayerError, "8192", "EigenCAM"):
        ta.KPCACAM(net, "stem").attribute(images(1, 91, 91))


@pytest.mark.parametrize("name", ["eigen_cam", "eigen_grad_cam", "fem", "kpca_cam"])
def test_what_compares_positions_needs_several(name: str) -> None:
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = nn.Sequential(*pooled, nn.Linear(4, 2)).eval()
    x = torch.rand(2, 3, 8, 8)
    for layer, has in (("1", "a single position"), ("2", "no positions"), ("3", "no positions")):
        with refused(ta.LayerError, has, "FEM", "before the global pooling", "leave"):
            ta.explain(net, x, [name], targets=1, layer=layer)
        smooth = {ta.GradCAM(net, layer): {"eigen_smooth": True}}
        with refused(ta.LayerError, has):
            ta.explain(net, x, smooth, targets=1)
    # Where there are none, the batch may be empty.
    assert ta.explain(net, x[:0], [name], targets=1, layer="0")[name].shape == (0, 1, 1, 6, 6)


NUMBERS = ("grad_cam", "hires_cam", "grad_cam_elementwise", "grad_cam_plus_plus", "xgrad_cam")
NUMBERS += ("layer_cam", "random_cam", "finer_cam", "shapley_cam", "smooth_grad_cam_plus_plus")
NUMBERS += ("ablation_cam", "excitation_backprop")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_layer_without_positions_is_warned_of(name: str) -> None:
    body = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.ReLU())
    net, x = nn.Sequential(*body, nn.Linear(5, 4)).eval(), images()[..., :8, :8].float()
    for of in (net, ta.prepare(net, x)) if name == "grad_cam" else (net,):
        method = made(name, of, "4")
        said = f"{method.title}|GradCAM: layer '4' has no positions, .* a single number"
        with pytest.warns(ta.NotSpatialWarning, match=said):
            assert method.attribute(x, target=1).shape == (len(x), 1)
        with pytest.warns(ta.NotSpatialWarning, match=said):
            made(name, of, ["4"]).attribute(x, target=ta.TopK(2))


def test_channels_of_a_layer_without_positions_are_no_map() -> None:
    net, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), torch.rand(2, 6)
    assert ta.GradCAM(net, "1").attribute(x, 1, attr_dim_summation=False).shape == (2, 5)
    with pytest.warns(ta.NotSpatialWarning):
        expected = ta.GradCAM(net, "1").attribute(x, 1)
    # Captum says nothing, and neither does its name here.
    found = captum.LayerGradCam(net, net[1]).attribute(x, 1)
    torch.testing.assert_close(found, expected)
