"""The command `dream`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import call, refused
from PIL import Image

import torchattr as ta
from torchattr.models.collage import examples

CAT = examples()[0].path


def arrays(path):
    with np.load(Path("torchattr-out") / path) as found:
        return dict(found)


def manifest():
    return json.loads(Path("torchattr-out/manifest.json").read_text())["pictures"]


def relu(command, *arguments, model="models.py:relu"):
    return call(command, "--model", model, *arguments)


def test_an_image_is_made_from_noise_for_a_class(here):
    result = call("dream", "--target", "cat", "--steps", 16)
    assert result.exit_code == 0, result.output
    model = ta.models.load_model("demo").model
    image = torch.from_numpy(arrays("dreams/cat.npz")["image"])[None]
    before = 0.1 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert model(image)[0, 1] > model(before)[0, 1] + 5
    with Image.open("torchattr-out/dreams/cat.png") as shown:
        assert shown.width == 448 + 2 * 32  # A page: the picture between its margins.
    assert manifest()["dreams/cat"]["objective"] == "cat"


def test_a_size_a_seed_and_a_channel(here):
    kept = []
    for seed in (1, 1, 2):
        options = ("--layer", "stage1", "--channel", 5, "--size", "40x56", "--seed", seed)
        assert call("dream", *options, "--steps", 2, "--octaves", 2).exit_code == 0
        kept.append(arrays("dreams/stage1_channel_5.npz")["image"])
    assert kept[0].shape == (3, 40, 56)
    assert np.array_equal(kept[0], kept[1])
    assert not np.array_equal(kept[0], kept[2])


def test_a_dream_of_a_picture_is_that_of_the_library(here):
    result = call("dream", CAT, "--layer", "stage2", "--steps", 2, "--html", "page.html")
    assert result.exit_code == 0, result.output
    loaded = ta.models.load_model("demo")
    x = loaded.preprocess(ta.models.read_image(CAT)).tensor[None]
    black, white = ((torch.tensor([[v]] * 3) - _MEAN) / _STD for v in (0.0, 1.0))
    bounds = (black[..., None], white[..., None])
    expected = ta.deepdream(loaded.model, x, "stage2", steps=2, bounds=bounds)
    found = arrays("dreams/stage2/astronaut_cat.npz")["image"]
    np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-4)
    assert "Wrote results for 1 image" in result.stdout


_MEAN = torch.tensor([[0.46], [0.40], [0.34]])
_STD = torch.tensor([[0.27], [0.25], [0.24]])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "pass a --target or a --layer"),
        (("--target", "drak"), "did you mean 'dark'? Allowed are a name or an index"),
        (("--target", "0", "--size", "1"), "images of (1, 1) are too small; pass at least 2"),
        (("--target", "top2"), "'top2' does not select a single class"),
        (("--target", "7"), "7 is out of range"),
        (("--layer", "9"), "has no layer '9'"),
        (("--layer", "0", "--channel", "4"), "channel 4 is out of range"),
        (("--channel", "4"), "name it with --layer"),
        (("--target", "0", "--layer", "0"), "--target and --layer are mutually"),
        (("--target", "0", "--size", "x"), "--size must be a number"),
        (("--target", "0", "--octaves", "20"), "--octaves 20 would start with an image of"),
        (("--target", "0", "--octave-scale", "1"), "octave_scale must be above 1"),
        (("--target", "0", "--rate", "-1"), "rate must not be negative"),
        (("photo.png", "--target", "0"), "--target is for images from noise"),
        (("photo.png", "--size", "32"), "--size is for images from noise"),
        (("photo.png", "--layer", "0", "--channel", "4"), "channel 4 is out of range"),
        (("--target", "0", "--out", "photo.png/x"), "cannot write to"),
        (("--target", "0", "--backend", "tritn"), "no backend is called"),
    ],
)
def test_wrong_dreams_are_named_and_nothing_is_written(here, arguments, said):
    refused(relu("dream", *arguments), said)


@pytest.mark.parametrize("model", ["flat", "asserting"])
def test_a_model_of_one_size_is_named(here, model):
    flat = {"model": f"models.py:{model}"}
    refused(relu("dream", "--target", "0", "--octaves", "2", **flat), "several octaves")
    refused(relu("dream", "--target", "0", "--size", "64", **flat), "mit the size")
    deep = ("--steps", "1", "--layer", "body.1" if model == "asserting" else "2")
    refused(relu("dream", "photo.png", *deep, **flat), "pass --octaves 1")
    assert relu("dream", "--target", "0", "--steps", "2", **flat).exit_code == 0
    assert relu("dream", "photo.png", *deep, "--octaves", "1", **flat).exit_code == 0


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("misfitting", "cannot be run on a picture (1, 3, 32, 32)"),
        ("forgetful", "in forward: LookupError: a fault of the model"),
    ],
)
def test_the_size_is_not_blamed_for_what_fails_at_every_size(here, model, said):
    for changed in (("--octaves", "2"), ("--size", "64")):
        result = relu("dream", "--target", "0", *changed, model=f"models.py:{model}")
        refused(result, said)
        assert "of any size" not in result.stderr


def test_a_fault_of_the_library_is_not_one_of_the_model(here, monkeypatch):
    def failing(*arguments, **options):
        raise LookupError("a fault of the library")

    monkeypatch.setattr("torchattr.runs.dream_jobs.deepdream", failing)
    failed = relu("dream", "photo.png", "--layer", "2")
    assert isinstance(failed.exception, LookupError)
    assert "of any size" not in failed.output


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("misfitting", "cannot be run on a picture (1, 3, 32, 32)"),
        ("asserting_another_size", "Input height (16) does not match the model (32)"),
    ],
)
def test_a_model_that_cannot_run_is_a_sentence(here, model, said):
    for line in (("dream", "--target", "0"), ("explain", "photo.png", "--target", "0")):
        refused(relu(*line, model=f"models.py:{model}"), said)


def test_a_foreign_file_is_kept(here):
    for name in ("dreams/dark.png", "kernels/0.npz"):
        (Path("torchattr-out") / name).parent.mkdir(parents=True)
        (Path("torchattr-out") / name).write_text("mine")
    for command in (("dream", "--target", "dark"), ("kernels",)):
        result = relu(*command)
        assert result.exit_code == 2
        assert "which was not created by torchattr" in result.stderr
    assert not Path("torchattr-out/manifest.json").exists()


def test_ctrl_c_while_dreaming_writes_nothing(here, monkeypatch):
    from torchattr.runs import dream_jobs as dreams

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(dreams, "maximise", interrupted)
    refused(relu("dream", "--target", "0"), "stop: interrupted", code=130)
