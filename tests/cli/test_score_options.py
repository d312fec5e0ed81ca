"""How the command shows a model's scores: percentages only if they are probabilities."""

import json
from pathlib import Path

import pytest
import torch
from command import call, refused

from torchattr.models import load_model, read_image

HEADS = """
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

from torchattr.models import LoadedModel

transform = Compose([Resize((16, 16)), ToTensor()])


class Gives(nn.Module):
    def __init__(self, bias, last):
        super().__init__()
        self.body = nn.Conv2d(3, 2, 3, padding=1)
        self.head = nn.Linear(2, len(bias))
        nn.init.zeros_(self.head.weight)
        self.head.weight.data[0, 0] = 1e-3
        self.head.bias.data = torch.tensor(bias)
        self.last = last

    def forward(self, x):
        return self.last(self.head(self.body(x).relu().mean((2, 3))))


def gives(*bias, last=nn.Identity(), names=None):
    torch.manual_seed(0)
    return Gives(list(bias), last).eval(), transform, names


def logit():
    return gives(-5.0)


def flat_logit():
    return gives(-5.0, last=nn.Flatten(0))


def chance():
    return gives(-5.0, last=nn.Sigmoid())


def age():
    return gives(37.0)


def box():
    return gives(0.2, 0.7, 0.4, 0.9)


def classes():
    return gives(1.0, 3.0, -2.0, names=["a", "b", "c"])


def softmaxed():
    return gives(1.0, 3.0, -2.0, last=nn.Softmax(1))


def logarithms():
    return gives(1.0, 3.0, -2.0, last=nn.LogSoftmax(1))


def labels():
    return gives(1.0, 3.0, -2.0, last=nn.Sigmoid(), names=["a", "b", "c"])


def loaded():
    return LoadedModel("loaded", *gives(37.0)[:2])


def declared():
    return LoadedModel("declared", *gives(1.0, 3.0, -2.0)[:2], activation="sigmoid")


def mask():
    torch.manual_seed(0)
    return nn.Conv2d(3, 1, 3, padding=1), transform


def rows():
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.Flatten(0)), transform
"""


@pytest.fixture
def shown(here):
    """Explain the picture with one of the models; return the output and the targets' records."""
    Path("heads.py").write_text(HEADS)

    def run(function, *options):
        line = ("--model", f"heads.py:{function}", "--method", "saliency", "--overwrite")
        result = call("explain", "photo.png", *line, "--html", "page.html", *options)
        assert result.exit_code == 0, result.output
        entry = json.loads(Path("torchattr-out/manifest.json").read_text())["pictures"]["photo"]
        return result, {target["index"]: target for target in entry["targets"]}

    return run


@pytest.mark.parametrize(
    ("function", "options", "percentages"),
    [
        ("logit", ["--scores", "logits"], {0: 0.0067}),
        ("logit", ["--scores", "sigmoid"], {0: 0.0067}),
        ("flat_logit", ["--scores", "logits"], {0: 0.0067}),
        ("chance", [], {0: 0.0067}),
        ("chance", ["--scores", "sigmoid"], {0: 0.0067}),
        ("chance", ["--scores", "softmax"], {0: 0.0067}),
        ("classes", [], {0: 0.1185, 1: 0.8756, 2: 0.0059}),
        ("classes", ["--scores", "sigmoid"], {0: 0.7311, 1: 0.9526}),
        ("softmaxed", [], {0: 0.1185, 1: 0.8756, 2: 0.0059}),
        ("softmaxed", ["--scores", "softmax"], {0: 0.1185, 1: 0.8756, 2: 0.0059}),
        ("logarithms", [], {0: 0.1185, 1: 0.8756, 2: 0.0059}),
        ("labels", [], {0: 0.7311, 1: 0.9526}),
        ("declared", [], {0: 0.7311, 1: 0.9526}),
        ("declared", ["--scores", "softmax"], {0: 0.1185, 1: 0.8756, 2: 0.0059}),
    ],
)
def test_probabilities_are_percentages(shown, function, options, percentages):
    result, targets = shown(function, *options)
    assert set(targets) == set(percentages)
    for index, chance in percentages.items():
        assert targets[index]["probability"] == pytest.approx(chance, abs=2e-3)
    assert "%" in result.stdout
    assert (
        "%" in Path("page.html").read_text().partition('class="scores"')[2].partition("</div>")[0]
    )


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        ("logit", [], "-5"),
        ("logit", ["--scores", "softmax"], "-5"),
        ("age", [], "37"),
        ("loaded", [], "37"),
        ("flat_logit", [], "-5"),
        ("box", [], "0.9"),
        ("age", ["--scores", "raw"], "37"),
        ("softmaxed", ["--scores", "raw"], "0.87"),
        ("classes", ["--scores", "raw"], "3"),
    ],
)
def test_values_are_shown_as_they_are(shown, function, options, said):
    result, targets = shown(function, *options)
    assert all("probability" not in target for target in targets.values())
    assert "%" not in result.stdout
    assert said in result.stdout
    scores = Path("page.html").read_text().partition('class="scores"')[2].partition("</div>")[0]
    assert "%" not in scores
    assert f"score {said}" in scores
    assert ("--scores" in result.stderr) == ("raw" not in options)


@pytest.mark.parametrize("command", ["explain", "layers", "report"])
def test_every_command_that_shows_scores_takes_the_option(here, command):
    Path("heads.py").write_text(HEADS)
    line = (command, "photo.png", "--model", "heads.py:logit", "--target", "0")
    raw = call(*line)
    assert "-5" in raw.stdout
    assert "it is not known whether they are logits" in raw.stderr
    assert "0.7 %" in call(*line, "--scores", "logits").stdout


@pytest.mark.parametrize("command", ["explain", "layers", "report", "view"])
def test_another_word_is_refused_at_once(here, command):
    result = call(command, "photo.png", "--model", "none.py:f", "--scores", "percent")
    refused(result, "--scores must be one of logits, sigmoid, softmax, raw, got 'percent'")


def test_present_needs_probabilities(here):
    Path("heads.py").write_text(HEADS)
    line = ("explain", "photo.png", "--model", "heads.py:box", "--target", "present")
    refused(call(*line), "'present' needs probabilities", "--scores")
    assert call(*line, "--scores", "sigmoid", "--method", "saliency").exit_code == 0


def test_one_map_is_no_picture_full_of_its_class(here):
    Path("heads.py").write_text(HEADS)
    line = ("explain", "photo.png", "--model", "heads.py:mask", "--method", "saliency")
    refused(call(*line), "a single map of the shape (1, 1, 16, 16)", "--scores logits")
    result = call(*line, "--scores", "logits")
    assert result.exit_code == 0, result.output
    mask = load_model("heads.py:mask")
    with torch.no_grad():
        logits = mask.model(mask.preprocess(read_image("photo.png")).tensor[None])
    entry = json.loads(Path("torchattr-out/manifest.json").read_text())["pictures"]["photo"]
    share = float((logits > 0).double().mean())
    assert entry["targets"][0]["probability"] == pytest.approx(share)


def test_rows_that_are_no_pictures_are_refused(here):
    Path("heads.py").write_text(HEADS)
    result = call("explain", "photo.png", "--model", "heads.py:rows")
    refused(result, "returns 5 scores or rows of them for 1 picture")
