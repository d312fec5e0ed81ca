"""Files: pictures drawn in every style, raw values and their names."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from asking import (
    PATH,
    attribute,
    decoded,
    panel_parts,
    photo,
    raw,
    sentence,
    unpacked,
    upload,
)
from PIL import Image
from starlette.testclient import TestClient

import torchattr as ta
from torchattr.models import LoadedModel, read_image
from torchattr.models.geometry import Box, place
from torchattr.show.styles import OVERLAY, Color, Heat, Overlay
from torchattr.web import create_app

LOOKS = {
    "overlay": ({"kind": "overlay"}, Overlay()),
    "strength": (
        {"kind": "overlay", "alpha": 0.3, "percentile": 99, "cmap": "magma"},
        Overlay(percentile=99, alpha=0.3, cmap="magma"),
    ),
    "heat": (
        {"kind": "heat", "channels": "max_abs", "sign": "absolute", "cmap": "inferno"},
        Heat(percentile=100),
    ),
    "signed": (
        {"kind": "heat", "channels": "mean", "sign": "all", "cmap": "bwr"},
        Heat("mean", "all", 100, "bwr"),
    ),
    "negative": (
        {"kind": "overlay", "sign": "negative"},
        Overlay(sign="negative"),
    ),
    "colour": ({"kind": "color", "sign": "all", "percentile": 99.9}, Color()),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_picture_is_drawn_as_the_library_draws_it(
    client: TestClient, picture: str, look: str
) -> None:
    wanted, style = LOOKS[look]
    part = attribute(client, picture, "input_x_gradient")["parts"][0]
    base = {"kind": "overlay", "channels": "sum", "sign": "positive", "cmap": "viridis"}
    query = {**base, "percentile": 100, "alpha": 0.8, "dim": 0, **wanted}
    found = decoded(client.get(f"/api/results/{part['id']}.png", params=query))
    original = np.asarray(read_image(PATH))
    placed = place(style.reduce(raw(client, part)), Box(0, 0, 320, 320), (320, 320))
    np.testing.assert_array_equal(found, style.paint(original, placed))


def test_a_map_is_drawn_in_its_own_style_unless_told_otherwise(
    client: TestClient, picture: str
) -> None:
    part = attribute(client, picture, "grad_cam")["parts"][0]
    found = decoded(client.get(f"/api/results/{part['id']}.png"))
    placed = place(OVERLAY.reduce(raw(client, part)), Box(0, 0, 320, 320), (320, 320))
    np.testing.assert_array_equal(found, OVERLAY.paint(np.asarray(read_image(PATH)), placed))


def test_one_sign_in_colour_is_black_where_there_is_nothing(
    client: TestClient, picture: str
) -> None:
    part = attribute(client, picture, "input_x_gradient")["parts"][0]
    address = f"/api/results/{part['id']}.png"
    both = decoded(client.get(address, params={"kind": "color", "sign": "all"}))
    raised = decoded(client.get(address, params={"kind": "color", "sign": "positive"}))
    assert (raised[both < 127] == 0).all()
    assert raised.max() > 200


@pytest.mark.parametrize("shared", [False, True])
def test_the_grid_is_that_of_the_library(
    client: TestClient, picture: str, shared: bool, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    for layer in ("stage2", "stage2.0.norm1"):
        answer = client.post("/api/features", json={"picture": picture, "layer": layer}).json()
        found = decoded(client.get(f"/api/results/{answer['id']}.png", params={"shared": shared}))
        expected = ta.feature_maps(demo.model, inputs, layer).picture(layer, shared=shared)
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_one_map_is_drawn_large(client: TestClient, picture: str) -> None:
    answer = client.post("/api/features", json={"picture": picture, "layer": "stage3"}).json()
    found = decoded(client.get(f"/api/results/{answer['id']}.png", params={"channel": 7}))
    assert found.shape == (512, 512, 3)
    np.testing.assert_array_equal(found[::32, ::32], found[31::32, 31::32])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("kind=sparkles", "kind must be one of"),
        ("sign=sideways", "sign must be one of"),
        ("channels=some", "channels must be one of"),
        ("cmap=jet", "cmap must be one of"),
        ("alpha=2", "alpha must be within 0..1"),
        ("alpha=nan", "alpha must be within 0..1"),
        ("percentile=0", "percentile"),
        ("percentile=high", "percentile"),
        ("kind=heat&sign=all&cmap=viridis", "no colours for negative values"),
        ("kind=color", "channels"),
        ("channels=luma&kind=heat", "luma"),
    ],
)
def test_wrong_looks_are_answered_by_sentences(
    client: TestClient, picture: str, query: str, words: str
) -> None:
    options = {"layer": "stage3", "attr_dim_summation": False}
    part = attribute(client, picture, "grad_cam", options=options)["parts"][0]
    assert part["shape"] == [96, 16, 16]
    assert words in sentence(client.get(f"/api/results/{part['id']}.png?{query}"), 422)


@pytest.mark.parametrize(
    "channels", ["", "x", "0,", "-1", "64", "0,64", "1e3", ",".join("0" * 300)]
)
def test_wrong_channels_are_answered_by_sentences(
    client: TestClient, picture: str, channels: str
) -> None:
    maps = client.post("/api/features", json={"picture": picture, "layer": "stage2"}).json()
    response = client.get(f"/api/results/{maps['id']}.f32", params={"channels": channels})
    assert "channels must be" in sentence(response, 422)
    sentence(client.get(f"/api/results/{maps['id']}.f32"), 422)
    sentence(client.get(f"/api/results/{maps['id']}.png?channel=64"), 422)


def test_a_picture_is_no_result(client: TestClient) -> None:
    key = upload(client, photo()).json()["id"]
    for suffix in ("png", "f32", "svg"):
        sentence(client.get(f"/api/results/{key}.{suffix}"), 404)
    assert unpacked(client.get(f"/api/results/{key}.npz"))["tensor"].shape == (3, 128, 128)


def named(client: TestClient, path: str) -> str:
    return str(client.get(f"/api/{path}").headers["content-disposition"])


def test_files_are_named_after_picture_class_and_what_was_computed(
    client: TestClient, picture: str
) -> None:
    part = attribute(client, picture, "grad_cam")["parts"][0]
    results = f"results/{part['id']}"
    assert named(client, f"{results}.npz") == (
        'attachment; filename="astronaut_cat-cat-Grad-CAM.npz"'
    )
    assert named(client, f"{results}.png") == 'inline; filename="astronaut_cat-cat-Grad-CAM.png"'
    assert 'filename="astronaut_cat.png"' in named(client, f"pictures/{picture}.png")
    panel = panel_parts(client, picture, "kernels")[0]
    assert "astronaut_cat-cat-kernels-stem.conv.png" in named(client, f"results/{panel['id']}.png")
    question = {"picture": picture, "layer": "stage1", "channel": 3}
    maps = client.post("/api/features", json={"picture": picture, "layer": "stage1"}).json()
    assert "astronaut_cat-stage1-maps.npz" in named(client, f"results/{maps['id']}.npz")
    projected = client.post("/api/projections", json=question).json()["parts"][1]
    assert "astronaut_cat-stage1-map-3-deconvolution-whole-map.png" in named(
        client, f"results/{projected['id']}.png"
    )


def test_a_file_name_keeps_its_script(client: TestClient) -> None:
    key = upload(client, photo(), "猫 1.png").json()["id"]
    said = named(client, f"pictures/{key}.png")
    assert said == "inline; filename=\"1.png\"; filename*=UTF-8''%E7%8C%AB-1.png"


def test_a_picture_of_which_the_model_sees_a_part_is_drawn_whole(
    demo: LoadedModel, visit: Any
) -> None:
    from torchvision.transforms._presets import ImageClassification

    transform = ImageClassification(crop_size=64, resize_size=64)
    client = visit(create_app(LoadedModel("cropping", demo.model, transform, demo.class_names)))
    wide = Image.open(PATH).resize((300, 100))
    wide.save(file := io.BytesIO(), "PNG")
    key = upload(client, file.getvalue()).json()["id"]
    part = attribute(client, key, "grad_cam")["parts"][0]
    assert part["box"] == [100, 0, 200, 100]
    drawn = decoded(client.get(f"/api/results/{part['id']}.png"))
    assert drawn.shape == (100, 300, 3)
    assert (drawn[:, :100] >= np.asarray(wide)[:, :100]).all()
