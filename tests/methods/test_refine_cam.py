"""RefineCAM: the product of several layers' maps."""

from __future__ import annotations

import pytest
import torch
from cam_networks import Deep, images, made, seeded
from helpers import refused

import torchattr as ta


@pytest.mark.parametrize("base", ["grad_cam_plus_plus", "layer_cam", "eigen_cam"])
def test_it_is_the_fused_map_of_its_base(base: str) -> None:
    net, x = seeded(Deep), images()
    found = ta.RefineCAM(net, ["stem", "norm"], base=base).attribute(x, target=1)
    expected = made(base, net, ["stem", "norm"]).attribute(x, target=1, fuse="product")
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 1, 8, 10)
    assert (float(found.amin()), float(found.amax())) == (0, 1)


def test_a_call_with_several_maps_is_refused() -> None:
    net = seeded(Deep)
    with refused(ta.LayerError, "several maps", "calls"):
        ta.RefineCAM(net, "norm", calls="each").attribute(images(), target=1)
    with refused(ta.InputError, "base", "class activation map"):
        ta.RefineCAM(net, "norm", base=ta.Saliency)  # type: ignore[arg-type]
