"""DeepLIFT against Captum's, in one process, one after the other.

Captum's result differs where a pool follows an activation, so only the times are compared, beside
how far each misses the difference of the scores.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import captum.attr
import torch
import torchvision
from torch import Tensor, nn

import torchattr as ta

TARGET = 1


def main() -> None:
    options = _options()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = torchvision.models.get_model(options.model, weights=None).eval().to(options.device)
    images = torch.randn(options.batch, 3, options.size, options.size, device=options.device)
    sides = {
        "torchattr": lambda: ta.DeepLift(model).attribute(images, target=TARGET),
        "captum": lambda: captum.attr.DeepLift(model).attribute(images, target=TARGET),
    }
    for name, run in sides.items():
        print(f"{name}: misses {_missed(model, images, run()):.1e} of the difference")
    rounds = [[_seconds(run) for run in sides.values()] for _ in range(options.rounds)]
    for name, taken in zip(sides, zip(*rounds, strict=True), strict=True):
        print(f"{name}: {median(taken):.3f} s")
    print(f"share: {median(ours / theirs for ours, theirs in rounds):.2f}")


def _missed(model: nn.Module, images: Tensor, found: Tensor) -> float:
    with torch.no_grad():
        rise = (model(images) - model(torch.zeros_like(images)))[:, TARGET]
    missed: Any = ((found.detach().flatten(1).sum(1) - rise) / rise).abs().max().item()
    return float(missed)


def _seconds(run: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    run().sum().item()
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
