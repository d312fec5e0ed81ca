"""What the tests of the command share: models to run, a folder to run in, and refusals."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import models
from typer.testing import CliRunner

from torchattr.cli import app

MODELS = """
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

transform = Compose([Resize((32, 32)), ToTensor()])


def net(activation, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), activation, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


def relu():
    return net(nn.ReLU()), transform, ["dark", "light", "[red]"]


def gelu():
    return net(nn.GELU()), transform


def mixed():
    return net(nn.Sequential(nn.ReLU(), nn.GELU())), transform


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 2), nn.ReLU()), transform


class Asserting(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net(nn.ReLU())

    def forward(self, x):
        assert x.shape[2] == 32, f"Input height ({x.shape[2]}) does not match the model (32)"
        return self.body(x)


def asserting():
    return Asserting(), transform


class Forgetful(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net(nn.ReLU())

    def forward(self, x):
        if torch.is_grad_enabled():
            raise LookupError("a fault of the model")
        return self.body(x)


def forgetful():
    return Forgetful(), transform


def asserting_another_size():
    return Asserting(), Compose([Resize((16, 16)), ToTensor()])


def shared():
    once = nn.Conv2d(3, 3, 3, padding=1)
    return nn.Sequential(once, nn.ReLU(), once, nn.Flatten(), nn.Linear(3072, 2)), transform


def bare():
    return net(nn.ReLU())


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        found = self.head(self.body(x))
        return {"out": found, "aux": found}


def segments():
    torch.manual_seed(0)
    return Segmenter(), transform


class Two(nn.Module):
    def forward(self, x):
        return {"a": x.relu().mean((2, 3)), "b": x.relu().amax((2, 3))}


def two():
    return Two(), transform


class Labelled(nn.Module):
    def forward(self, x):
        means = x.relu().mean((2, 3))
        return {"loss": means.sum(), "labels": means.argmax(1), "hidden": x, "logits": means}


def labelled():
    return Labelled(), transform


class Detector(nn.Module):
    def forward(self, x):
        return [{"boxes": one[0, :4], "scores": one[0, :, 0]} for one in x]


def detector():
    return Detector(), transform


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        with torch.no_grad():
            means = self.body(x).relu().mean((2, 3))
        return self.head(means)


def frozen():
    return Frozen(), transform


class Picking(nn.Module):
    def forward(self, x):
        return torch.nn.functional.one_hot(x.mean((2, 3)).argmax(1), 3).float()


def picking():
    return Picking(), transform


class Detached(nn.Module):
    def forward(self, x):
        return x.detach().mean((2, 3))


def detached():
    return Detached(), transform


class Broken(nn.Module):
    def forward(self, x):
        raise ZeroDivisionError("a fault of the model")


def broken():
    return Broken(), transform


def grey():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten()), transform


def double():
    return net(nn.ReLU()).double(), transform


def misfitting():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(7, 3)), transform


def nan():
    model = net(nn.ReLU())
    model[-1].bias.data.fill_(float("nan"))
    return model, transform
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A file with models, and weights."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "models.py").write_text(MODELS)
    torch.manual_seed(0)
    torch.save(models.squeezenet1_1().state_dict(), folder / "squeezenet.pth")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, shelf):
    """An empty folder with one picture, and the models beside it."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), (200, 120, 40)).save("photo.png")
    (tmp_path / "models.py").write_text((shelf / "models.py").read_text())
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def refused(result, *said, code=2):
    """The command ended with a sentence on stderr, without a traceback, and wrote nothing."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    for text in said:
        assert text in result.stderr
    for out in ("torchattr-out", "page.html", "log"):
        assert not Path(out).exists(), f"{out} was written"
