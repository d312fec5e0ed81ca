"""Gradient SHAP by hand: every sample of every example drawn and differentiated by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, cos, log, pi, sin, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor


def numbers(seed: int, stream: int, sample: int, width: int) -> list[float]:
    """Return the numbers within [0, 1) of one sample, drawn four at a time."""
    blocks = ceil(width / 4)
    generator = np.random.Philox(key=seed + (stream << 64), counter=sample * blocks)
    return [(int(raw) >> 11) / 2**53 for raw in generator.random_raw(4 * blocks)[:width]]


def normals(seed: int, stream: int, sample: int, width: int) -> list[float]:
    """Return standard normal numbers: all cosines, then all sines."""
    half = ceil(width / 2)
    drawn = numbers(seed, stream, sample, 2 * half)
    radii = [sqrt(-2 * log(1 - u)) for u in drawn[:half]]
    angles = [2 * pi * u for u in drawn[half:]]
    pairs = list(zip(radii, angles, strict=True))
    return [*(r * cos(a) for r, a in pairs), *(r * sin(a) for r, a in pairs)][:width]


def sampled(
    forward: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    pools: Sequence[Tensor],
    samples: int,
    *,
    seed: int = 0,
    stdevs: Sequence[float] = (),
) -> tuple[list[Tensor], Tensor]:
    """Return a single example's attributions and its deltas, one for each sample.

    Args:
        forward: from inputs `(1, ...)` to the score.
        inputs: those of the example.
        pools: the rows of baselines for each.
        samples: their number.
        seed: the example's seed.
        stdevs: of the noise on each input.
    """
    totals = [torch.zeros_like(x) for x in inputs]
    deltas = []
    counts = [len(pool) for pool in pools]
    for number in range(samples):
        alpha, *chosen = numbers(seed, 0, number, 1 + len(inputs))
        starts, ends = [], []
        for k, (x, pool) in enumerate(zip(inputs, pools, strict=True)):
            row = int(chosen[counts.index(len(pool))] * len(pool))
            starts.append(pool[row : row + 1])
            noise = normals(seed, 1 + k, number, x.numel()) if any(stdevs) else [0.0] * x.numel()
            added = torch.tensor(noise, dtype=x.dtype).reshape(x.shape)
            ends.append(x + (stdevs[k] if stdevs else 0) * added)
        points: list[Any] = [
            (alpha * x + (1 - alpha) * start).requires_grad_()
            for x, start in zip(ends, starts, strict=True)
        ]
        grads = torch.autograd.grad(forward(*points).sum(), points)
        products = [(x - start) * grad for x, start, grad in zip(ends, starts, grads, strict=True)]
        totals = [total + one / samples for total, one in zip(totals, products, strict=True)]
        risen = forward(*ends) - forward(*starts)
        deltas.append(sum(one.sum() for one in products) - risen.sum())
    return totals, torch.stack(deltas).detach()
