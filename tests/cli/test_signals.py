"""Signals that end a command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import call, here, refused, shelf  # noqa: F401
from PIL import Image

import torchattr
from torchattr.cli import signals as ending

SLOW = """
import os, time
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor


class Slow(nn.Sequential):
    def forward(self, x):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return super().forward(x)


def net():
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    return Slow(*parts), Compose([Resize((32, 32)), ToTensor()])
"""

MODEL = ("--model", "slow.py:net", "--method", "saliency")

OUT = Path("torchattr-out")


@pytest.fixture
def pictures(here):  # noqa: F811
    """Eight pictures, and a model whose forward takes a given time."""
    Path("in").mkdir()
    for number in range(8):
        Image.new("RGB", (40, 30), (20 * number, 80, 90)).save(f"in/p{number}.png")
    Path("slow.py").write_text(SLOW)
    return here


def explain(*arguments):
    return call("explain", *arguments, *MODEL)


def manifest(out=OUT):
    return json.loads((out / "manifest.json").read_text())


def start(*arguments, slow=0.0):
    root = str(Path(torchattr.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-m", "torchattr", "explain", *arguments, *MODEL],
        env={**os.environ, "SLOW": str(slow), "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def once_one_is_done(process):
    while not (OUT / "manifest.json").exists() or not manifest()["finished"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def check_whole(out=OUT):
    said = manifest(out)["pictures"]
    listed = {file for entry in said.values() for file in entry["files"]}
    there = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert there == listed | {"manifest.json"}


def explain_photo(folder):
    (folder / "slow.py").write_text(SLOW)
    return explain("photo.png")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_keeps_what_is_done(pictures, number):
    process = start("in", slow=0.4)
    once_one_is_done(process)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    done = len(manifest()["finished"])
    assert 0 < done < 8
    assert f"note: Kept {done} of 8 finished results in torchattr-out" in said
    assert "Traceback" not in said
    check_whole()
    result = explain("in")
    assert f"{done} image" in result.stdout
    assert "Kept results for" in result.stdout
    assert len(manifest()["finished"]) == 8
    check_whole()


def test_a_signal_that_somebody_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending.ending_like_ctrl_c():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sigterm_is_given_back_after_a_command(here):  # noqa: F811
    assert explain_photo(here).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with ending.ending_like_ctrl_c(), pytest.raises(ending.Ended) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ending.exit_code(ended.value) == 143
