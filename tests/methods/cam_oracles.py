"""The formulas of the class activation maps as plain loops, for one example in double precision.

`A` and `g` are a layer's activations and gradients, `(C, H, W)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Oracle = Callable[[np.ndarray, np.ndarray], np.ndarray]


def positions(a: np.ndarray) -> Iterator[tuple[int, int]]:
    return iter(np.ndindex(*a.shape[1:]))


def weighted(a: np.ndarray, weights: list[float]) -> np.ndarray:
    total = np.zeros(a.shape[1:])
    for channel, weight in zip(a, weights, strict=True):
        for p in positions(a):
            total[p] += weight * channel[p]
    return total


def grad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    count = a[0].size
    return weighted(a, [sum(row[p] for p in positions(a)) / count for row in g])


def grad_cam_plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    weights = []
    for channel, row in zip(a, g, strict=True):
        total = sum(channel[p] for p in positions(a))
        weight = 0.0
        for p in positions(a):
            below = 2 * row[p] ** 2 + row[p] ** 3 * total
            alpha = row[p] ** 2 / below if below != 0 else 0.0
            weight += alpha * max(row[p], 0)
        weights.append(weight)
    return weighted(a, weights)


def xgrad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    weights = []
    for channel, row in zip(a, g, strict=True):
        total = sum(channel[p] for p in positions(a))
        product = sum(row[p] * channel[p] for p in positions(a))
        weights.append(product / total if total else 0.0)
    return weighted(a, weights)


def elementwise(term: Callable[[float, float], float]) -> Oracle:
    def oracle(a: np.ndarray, g: np.ndarray) -> np.ndarray:
        total = np.zeros(a.shape[1:])
        for channel, row in zip(a, g, strict=True):
            for p in positions(a):
                total[p] += term(channel[p], row[p])
        return total

    return oracle


hires_cam = elementwise(lambda value, slope: value * slope)
grad_cam_elementwise = elementwise(lambda value, slope: max(value * slope, 0))
layer_cam = elementwise(lambda value, slope: value * max(slope, 0))


def component(rows: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the scores of the first component of centred rows `(positions, C)`, by its SVD."""
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    found = left[:, 0] * values[0]
    return -found if found @ along < 0 else found


def centred(a: np.ndarray) -> np.ndarray:
    rows = np.array([[channel[p] for channel in a] for p in positions(a)])
    return rows - rows.mean(0)


def eigen_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return component(centred(a), np.abs(a).sum(0).ravel()).reshape(a.shape[1:])


def eigen_grad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return component(centred(a * g), (a * g).sum(0).ravel()).reshape(a.shape[1:])


def kpca_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    rows, along = centred(a), np.abs(a).sum(0).ravel()
    count = len(rows)
    kernel = np.empty((count, count))
    for p in range(count):
        for q in range(count):
            kernel[p, q] = np.tanh(rows[p] @ rows[q] / a.shape[0] + 1)
    centre = np.eye(count) - np.full((count, count), 1 / count)
    values, vectors = np.linalg.eigh(centre @ kernel @ centre)
    found = vectors[:, -1] * np.sqrt(max(values[-1], 0))
    return (-found if found @ along < 0 else found).reshape(a.shape[1:])


def fem(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    weights = []
    for channel in a:
        level = channel.mean() + 2 * np.sqrt(((channel - channel.mean()) ** 2).mean())
        weights.append(sum(channel[p] > level for p in positions(a)) / channel.size)
    return weighted(a, weights)


ORACLES: dict[str, Oracle] = {
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "xgrad_cam": xgrad_cam,
    "hires_cam": hires_cam,
    "grad_cam_elementwise": grad_cam_elementwise,
    "layer_cam": layer_cam,
    "eigen_cam": eigen_cam,
    "eigen_grad_cam": eigen_grad_cam,
    "kpca_cam": kpca_cam,
    "fem": fem,
}
