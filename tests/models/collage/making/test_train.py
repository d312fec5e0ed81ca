from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from torchattr.models.collage.inputs import preprocess
from torchattr.models.collage.making.evaluate import EVALUATION_SEED, truth
from torchattr.models.collage.making.scenes import scene
from torchattr.models.collage.making.train import Scenes, collate, main


def test_samples_are_the_scenes_of_the_seed() -> None:
    data = Scenes(seed=3, count=2)
    inputs, labels = collate([data[0], data[1]])
    assert len(data) == 2
    for index in range(2):
        made = scene(3, index)
        assert torch.equal(inputs[index], preprocess.normalised(made.image[None])[0])
        assert torch.equal(labels[index], truth(made.labels))


def test_the_seed_of_the_fresh_scenes_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--seed", str(EVALUATION_SEED)])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "choose another" in capsys.readouterr().err


def test_scikit_image_is_needed_only_to_cut() -> None:
    code = (
        "import sys; from torchattr.models.collage.making import train, pictures;"
        "sys.exit('skimage' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
