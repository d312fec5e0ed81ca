"""Evaluate the network on unseen scenes.

``python -m torchattr.models.collage.making.evaluate`` prints the figures in `collage/README.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.models.collage import collage
from torchattr.models.collage.inputs import preprocess
from torchattr.models.collage.making.scenes import CollageScene, scenes
from torchattr.models.collage.net import CLASSES, CollageNet

EVALUATION_SEED = 1_000_003
_BATCH = 100


@dataclass(frozen=True)
class Figures:
    """Accuracies between 0 and 1.

    `exact`: scenes with all labels right. `label`: single binary labels that are right, `by_class`
    the same for each class. `pointing`: objects in scenes of several whose class
    activation map (Zhou et al., 2016, arXiv:1512.04150) has its maximum inside their own box.
    """

    scenes: int
    exact: float
    label: float
    by_class: dict[str, float]
    pointing: float

    def __str__(self) -> str:
        rows = [
            f"fresh scenes               {self.scenes}",
            f"whole label set right      {self.exact:.2%}",
            f"single labels right        {self.label:.2%}",
            f"map's maximum in the box   {self.pointing:.2%}",
        ]
        return "\n".join(
            rows + [f"  {name:25}{share:.2%}" for name, share in self.by_class.items()]
        )


def truth(labels: tuple[str, ...]) -> Tensor:
    """Return the labels as float32 zeros and ones, (classes,)."""
    return torch.tensor([float(name in labels) for name in CLASSES])


@gradients(False)
def evaluate(net: CollageNet, count: int, seed: int = EVALUATION_SEED) -> Figures:
    """Return the figures of `net`, in evaluation mode, on `count` scenes of the series `seed`."""
    right: list[Tensor] = []
    hits: list[bool] = []
    for batch in _batches(scenes(count, seed)):
        inputs = preprocess.normalised(np.stack([item.image for item in batch]))
        maps = net.features(inputs)
        right.append(
            (net(inputs) > 0) == torch.stack([truth(item.labels) for item in batch]).bool()
        )
        hits.extend(hit for item, m in zip(batch, maps, strict=True) for hit in _hits(net, item, m))
    answers = torch.cat(right).double()
    return Figures(
        scenes=len(answers),
        exact=float((answers == 1).all(1).double().mean()),
        label=float(answers.mean()),
        by_class=dict(zip(CLASSES, answers.mean(0).tolist(), strict=True)),
        pointing=float(np.mean(hits)),
    )


def _batches(series: Iterator[CollageScene]) -> Iterator[list[CollageScene]]:
    batch: list[CollageScene] = []
    for item in series:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _hits(net: CollageNet, item: CollageScene, maps: Tensor) -> list[bool]:
    """Whether each object's class activation map points into its box; empty for a single object."""
    if len(item.labels) < 2:
        return []
    cams = torch.einsum("kc,chw->khw", net.head.weight, maps).numpy()
    side = item.image.shape[0] / cams.shape[-1]
    return [
        _inside(cams[CLASSES.index(name)], box, side)
        for name, box in zip(item.labels, item.boxes, strict=True)
    ]


def _inside(cam: NDArray[np.float32], box: tuple[int, int, int, int], side: float) -> bool:
    row, column = np.unravel_index(cam.argmax(), cam.shape)
    x, y = (column + 0.5) * side, (row + 0.5) * side
    return bool(box[0] <= x < box[2] and box[1] <= y < box[3])


def main() -> None:
    """Print the figures of the bundled weights, or of a file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--weights", type=Path, help="a safetensors file (default: bundled)")
    parser.add_argument("--count", type=int, default=4000, help="number of scenes")
    parser.add_argument("--seed", type=int, default=EVALUATION_SEED, help="seed of the scenes")
    options = parser.parse_args()
    net = collage(weights=options.weights is None)
    if options.weights is not None:
        net.load_state_dict(load_file(options.weights))
    sys.stdout.write(f"{evaluate(net, options.count, options.seed)}\n")


if __name__ == "__main__":
    main()
