"""The command `summary`."""

import json
from pathlib import Path

import pytest
import torch
from command import call, refused

import torchattr as ta


def manifest():
    return json.loads(Path("torchattr-out/manifest.json").read_text())["pictures"]


def relu(command, *arguments, model="models.py:relu"):
    return call(command, "--model", model, *arguments)


def test_the_summary_is_that_of_the_library(here):
    result = call("summary", "--depth", "1", "--device", "cpu")
    assert result.exit_code == 0, result.output
    loaded = ta.models.load_model("demo")
    expected = ta.summary(loaded.model, torch.zeros(1, 3, 128, 128), depth=1)
    assert result.stdout.strip() == str(expected)
    assert not Path("torchattr-out").exists()


def test_the_summary_of_another_size_and_on_no_device(here):
    options = ("--size", "64x96", "--batch", "5", "--device", "meta")
    result = call("summary", *options, "--out", "s", "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert "(5, 32, 16, 24)" in result.stdout
    assert Path("s/summary.txt").read_text().strip() in result.stdout
    assert "Multiply-adds" in Path("page.html").read_text()


def test_a_model_that_cannot_be_traced_by_shapes_is_named(here):
    Path("looks.py").write_text(
        "import torch\n"
        "from torchvision.transforms import ToTensor\n"
        "class Looks(torch.nn.Conv2d):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.relu() if x.sum() > 0 else x)\n"
        "def looks():\n"
        "    return Looks(3, 4, 3), ToTensor()\n"
    )
    result = call("summary", "--model", "looks.py:looks", "--device", "meta")
    refused(result, "cannot be traced by shapes alone", "summarise it on a real device")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "big"), "--size must be a number of pixels, or 224x320, got 'big'"),
        (("--out", "photo.png/x"), "cannot write to"),
        (("--html", "photo.png"), "photo.png was not created by torchattr"),
    ],
)
def test_a_wrong_summary_is_named(here, arguments, said):
    refused(relu("summary", *arguments), said)


def test_the_summary_as_json(here):
    result = relu("summary", "--depth", "1", "--json", "--out", "s")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    loaded = ta.models.load_model("models.py:relu")
    expected = ta.summary(loaded.model, torch.zeros(1, 3, 32, 32), depth=1)
    assert found["parameters"] == expected.parameters
    assert [row["name"] for row in found["rows"]] == [row.name for row in expected.shown]
    assert found["rows"][1]["output"] == [1, 4, 30, 30]
    assert found["rows"][2]["operations"] == {"relu": 1}
    assert found["input"] == [1, 3, 32, 32]
    assert Path("s/summary.txt").exists()
