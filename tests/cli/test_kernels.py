"""The command `kernels`."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import call, refused

import torchattr as ta


def arrays(path):
    with np.load(Path("torchattr-out") / path) as found:
        return dict(found)


def manifest():
    return json.loads(Path("torchattr-out/manifest.json").read_text())["pictures"]


def relu(command, *arguments, model="models.py:relu"):
    return call(command, "--model", model, *arguments)


def test_the_kernels_of_every_convolution_are_shown(here):
    result = call("kernels", "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert len(manifest()) == 13
    model = ta.models.load_model("demo").model
    found = arrays("kernels/stem.conv.npz")
    np.testing.assert_array_equal(found["kernels"], model.stem.conv.weight.detach().numpy())
    assert "Kernels of stem.conv" in Path("page.html").read_text()


def test_chosen_kernels(here):
    options = ("--channel", 3, "--channel", 1, "--input-channel", 2, "--mode", "channels")
    assert call("kernels", "--layer", "stem.*", *options).exit_code == 0
    found = arrays("kernels/stem.conv.npz")
    assert found["kernels"].shape == (2, 1, 5, 5)
    assert found["output_channels"].tolist() == [3, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--channel", "4"), "output_channels must be within 0..3, got 4"),
        (("--layer", "1"), "'1' is ReLU, not a convolution, so it has no kernels. Name a conv"),
        (("--layer", "9"), "has no layer '9'"),
        (("--layer", "x*"), "no layer matches 'x*'"),
        (("--mode", "colour"), "mode must be one of 'auto', 'rgb'"),
        (("--mode", "rgb", "--input-channel", "0"), "--mode rgb needs kernels"),
        (("--out", "photo.png/x"), "cannot write to"),
        (("--logdir", "photo.png"), "logdir: cannot write to"),
    ],
)
def test_wrong_kernels_are_named_and_nothing_is_written(here, arguments, said):
    refused(relu("kernels", *arguments), said)
    refused(relu("kernels", model="models.py:flat"), "no convolution")
