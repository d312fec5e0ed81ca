"""Result folders from the command line: interrupted, repeated, shared, and on full disks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import call, here, refused, shelf  # noqa: F401
from PIL import Image

import torchattr

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


def test_a_rerun_says_what_it_keeps(pictures):
    assert explain("in/p0.png", "in/p1.png").exit_code == 0
    result = explain("in")
    assert result.exit_code == 0, result.output
    assert "Wrote results for 6 images to torchattr-out" in result.stdout
    assert "Kept results for 2 images in torchattr-out: already done with the same" in result.stdout
    assert "--overwrite redoes them" in result.stdout
    result = explain("in", "--overwrite")
    assert "Wrote results for 8 images" in result.stdout
    assert "kept" not in result.stdout
    result = explain("in", "--target", "1")
    assert "Wrote results for 8 images" in result.stdout
    check_whole()


def test_a_disk_that_fills_up_keeps_what_is_done(pictures, monkeypatch):
    write, calls = Path.write_bytes, []

    def full(path, content):
        calls.append(path)
        if len(calls) > 14:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = explain("in")
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "error: out: cannot write to torchattr-out (No space left" in result.stderr
    assert "free some space and rerun" in result.stderr
    done = len(manifest()["finished"])
    assert 1 < done < 8
    assert f"Kept {done} of 8 finished results in torchattr-out" in result.stderr
    check_whole()
    monkeypatch.undo()
    os.chdir(pictures)
    result = explain("in")
    assert f"Wrote results for {8 - done} image" in result.stdout
    assert f"Kept results for {done} image" in result.stdout
    check_whole()


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(pictures):
    process = start("in", slow=0.4)
    once_one_is_done(process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    result = explain("in")
    assert result.exit_code == 0, result.output
    assert "Kept results for" in result.stdout
    assert len(manifest()["pictures"]) == len(manifest()["finished"]) == 8
    check_whole()


@pytest.mark.slow
def test_two_runs_into_one_folder_keep_each_others_entries(pictures):
    processes = [start(f"in/p[{part}].png", slow=0.1) for part in ("0-3", "4-7")]
    for one in processes:
        one.communicate(timeout=300)
        assert one.returncode == 0
    assert set(manifest()["pictures"]) == {f"p{number}" for number in range(8)}
    check_whole()


NAMES = [
    b"caf\xe9.png",
    b"\xff\xfe.png",
    b"red\x1b[31m.png",
    b"title\x1b]0;t\x07.png",
    b"new\nline.png",
    b"..png",
    b"aux.png",
    b"x" * 251 + b".png",
    b"Photo.png",
    b"photo.png",
    b"\xe2\x80\xae.png",
]


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_odd_names_are_explained_and_never_reach_the_terminal(pictures):
    Path("odd").mkdir()
    for name in NAMES:
        shutil.copy(b"in/p0.png", b"odd/" + name)
    Path(os.fsdecode(b"odd/broken\x1b[32m\xff.png")).write_text("no picture")
    result = explain("odd", "--html", "page.html")
    assert result.exit_code == 1, result.output
    assert f"Wrote results for {len(NAMES)} images" in result.stdout
    assert "red\\x1b[31m.png" in result.stdout
    assert "skipped: odd/broken\\x1b[32m\\xff.png: not a picture" in result.stderr
    for text in (result.stdout, result.stderr, Path("page.html").read_text(encoding="utf-8")):
        assert all(one.isprintable() or one == "\n" for one in text)
    sources = {os.fsencode(entry["source"]) for entry in manifest()["pictures"].values()}
    assert sources == {b"odd/" + name for name in NAMES}
    check_whole()
    assert "Kept" in explain("odd").stdout


@pytest.mark.parametrize("content", ["junk", "{}", '{"format": "torchattr run 1"}'])
def test_a_manifest_that_is_none_is_a_sentence(pictures, content):
    Path("mine").mkdir()
    Path("mine/manifest.json").write_text(content)
    result = explain("in", "--out", "mine")
    refused(result, "mine holds manifest.json, which was not created by torchattr", "--overwrite")
    assert os.listdir("mine") == ["manifest.json"]
    assert explain("in/p0.png", "--out", "mine", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", ""], "out: '' is not a path"),
        (["--html", ""], "html: '' is not a path"),
        (["--logdir", ""], "logdir: '' is not a path"),
        (["--out", "~nobody-of-this-name/x"], "write out the path"),
        (["--html", "/dev/null", "--overwrite"], "is no file that can be replaced"),
        (["--out", "photo.png"], "is not a folder"),
    ],
)
def test_places_that_take_nothing_are_a_sentence(pictures, options, said):
    refused(explain("photo.png", *options), said)


@pytest.mark.parametrize("picture", ["", "~nobody-of-this-name/x.png", "nowhere.png", "in/["])
def test_pictures_that_are_none_are_a_sentence(pictures, picture):
    refused(explain(picture))
