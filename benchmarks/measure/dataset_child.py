"""Runs over data sets in processes of their own: `python -m benchmarks.measure.dataset_child`."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights

import torchattr as ta
from benchmarks.tasks import network
from torchattr.models import LoadedModel
from torchattr.models.collage import examples

ROOT = Path(__file__).parents[2]
PAGE = resource.getpagesize()
SIZE = (500, 375)


class Numbers(ta.Pictures):
    """Pictures of 8 × 8 pixels that their numbers determine."""

    def __init__(self, count: int) -> None:
        self._ids = [f"{number:07d}" for number in range(count)]

    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, position: int) -> Tensor:
        return torch.full((3, 8, 8), position % 251 / 251)


def tiny() -> nn.Module:
    """Return a model that costs nothing."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


def quiet(progress: ta.RunProgress) -> None:
    """Print nothing."""


def write_pictures(folder: Path, count: int) -> Path:
    """Write photographs of 500 × 375 pixels, all different, if they are not there yet."""
    if not folder.exists():
        folder.mkdir(parents=True)
        photos = [Image.open(one.path).convert("RGB").resize(SIZE) for one in examples()]
        for number in range(count):
            shifted = ImageChops.offset(photos[number % len(photos)], number, 0)
            shifted.save(folder / f"{number:05d}.jpg", quality=90)
    return folder


def started_alone(what: str, **asked: Any) -> subprocess.Popen:
    """Start a run in a process of its own, on one thread."""
    options = [f"--{name}={value}" for name, value in asked.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.measure.dataset_child", what, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def waited_for(child: subprocess.Popen) -> Any:
    """Return the JSON of the last line of a process.

    Raises:
        RuntimeError: it failed.
    """
    lines, errors = child.communicate()
    if child.returncode:
        raise RuntimeError(f"a run failed: {errors.strip()[-2000:]}")
    return json.loads(lines.splitlines()[-1])


def memory(count: int) -> dict[str, float]:
    """Return how many bytes a process grows with each picture, after the first half."""
    samples: list[tuple[int, int]] = []

    def sample(progress: ta.RunProgress) -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        samples.append((progress.done, resident))

    with tempfile.TemporaryDirectory() as folder:
        ta.run(tiny(), Numbers(count), "saliency", out=f"{folder}/maps.zarr", watch=sample)
    done, resident = np.array(samples[len(samples) // 2 :]).T
    slope = float(np.polyfit(done, resident, 1)[0])
    return {"bytes_per_picture": slope, "resident_mib": float(resident[-1]) / 2**20}


def process(pictures: str, out: str, rank: int, world: int) -> dict[str, float]:
    """Work on a share of a data set; return when that began and ended."""
    loaded = LoadedModel("resnet18", network("resnet18"), ResNet18_Weights.DEFAULT.transforms())
    started = time.time()
    ta.run(
        *(loaded, pictures, "guided_backprop"),
        out=out,
        rank=rank,
        world=world,
        workers=0,
        shard_size=8,
        batch_size=8,
        watch=quiet,
    )
    return {"started": started, "ended": time.time()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("memory", "process"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--pictures")
    parser.add_argument("--out")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--world", type=int)
    asked = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    torch.set_num_threads(1)
    measure: Any = {"memory": memory, "process": process}[asked.pop("what")]
    print(json.dumps(measure(**asked)))


if __name__ == "__main__":
    main()
