"""DeepLIFT's rescale rule (Shrikumar et al. 2017) with dense multipliers, forwards.

A `Pair` is a value of one example and of its reference, with the matrix of multipliers of each of
its entries for each input. Each operation extends the matrix by the chain rule for multipliers, so
that `multipliers @ (x - x0)` is the difference from the reference at every step, and nothing is
propagated backwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relevance_oracles.dense import dense_of

RELATIVE, ABSOLUTE = 1e-7, 1e-30
"""Differences below `RELATIVE * max(|x|, |x0|) + ABSOLUTE` get a derivative for their quotient."""


@dataclass(frozen=True)
class Pair:
    """A value, its reference, both of one example, and the multipliers `(entries, inputs)`."""

    value: Tensor
    reference: Tensor
    multipliers: Tensor

    @property
    def difference(self) -> Tensor:
        return self.value - self.reference

    @property
    def mean(self) -> Tensor:
        return (self.value + self.reference) / 2


Program = Callable[[Pair], Pair]


def start(x: Tensor, reference: Tensor) -> Pair:
    """Return the pair of an input, each of whose entries has a multiplier of one for itself."""
    return Pair(x.double(), reference.double(), torch.eye(x.numel(), dtype=torch.float64))


def deep_lift(program: Program, x: Tensor, reference: Tensor, target: int) -> Tensor:
    """Return the contributions `multiplier * (x - x0)` of one example to the target."""
    row = program(start(x, reference)).multipliers[target].reshape(x.shape)
    return row * (x.double() - reference.double())


def _extended(pair: Pair, value: Tensor, reference: Tensor, matrix: Tensor) -> Pair:
    return Pair(value, reference, matrix @ pair.multipliers)


def _derivative(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return slope


def _is_small(difference: Tensor, x: Tensor, reference: Tensor) -> Tensor:
    return difference.abs() < RELATIVE * torch.maximum(x.abs(), reference.abs()) + ABSOLUTE


# Operations.


def linear(pair: Pair, layer: nn.Module) -> Pair:
    """A linear layer, a convolution, an average pool; also a batch-norm in evaluation mode."""
    shape = tuple(pair.value.shape)
    matrix, bias = _affine(layer, shape) if _is_norm(layer) else dense_of(layer, shape)
    out = _shape_of(layer, pair.value)
    value, reference = (
        (matrix @ one.flatten() + bias).reshape(out) for one in (pair.value, pair.reference)
    )
    return _extended(pair, value, reference, matrix)


def _is_norm(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))


def _affine(norm: Any, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    per_channel = (-1, *[1] * (len(shape) - 1))
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    scale, shift = (
        one.detach().reshape(per_channel).expand(shape).flatten() for one in (scale, shift)
    )
    return torch.diag(scale), shift


def _shape_of(layer: nn.Module, x: Tensor) -> torch.Size:
    with torch.no_grad():
        shape: torch.Size = layer(x[None]).shape[1:]
    return shape


def elementwise(pair: Pair, function: Callable[[Tensor], Tensor]) -> Pair:
    """Rescale: `(f(x) - f(x0)) / (x - x0)`; where that is nearly 0 / 0, the slope between them."""
    value, reference = function(pair.value), function(pair.reference)
    small = _is_small(pair.difference, pair.value, pair.reference)
    quotient = (value - reference) / torch.where(small, 1.0, pair.difference)
    slope = torch.where(small, _derivative(function, pair.mean), quotient)
    return _extended(pair, value, reference, torch.diag(slope.flatten()))


def reshaped(pair: Pair, *shape: int) -> Pair:
    value, reference = pair.value.reshape(shape), pair.reference.reshape(shape)
    return Pair(value, reference, pair.multipliers)


def transposed(pair: Pair) -> Pair:
    """Return the transpose of a matrix."""
    at = torch.arange(pair.value.numel()).reshape(pair.value.shape).T
    return reshaped(indexed(pair, at.flatten()), *at.shape)


def indexed(pair: Pair, index: Tensor) -> Pair:
    """Return some entries of the flattened value, also several times."""
    value, reference = pair.value.flatten()[index], pair.reference.flatten()[index]
    return Pair(value, reference, pair.multipliers[index])


def added(a: Pair, b: Pair) -> Pair:
    multipliers = a.multipliers + b.multipliers
    return Pair(a.value + b.value, a.reference + b.reference, multipliers)


def multiplied(a: Pair, b: Pair) -> Pair:
    """`d(ab) = mean(b) da + mean(a) db`, exactly."""
    multipliers = (
        torch.diag(b.mean.flatten()) @ a.multipliers + torch.diag(a.mean.flatten()) @ b.multipliers
    )
    return Pair(a.value * b.value, a.reference * b.reference, multipliers)


def matrix_product(a: Pair, b: Pair) -> Pair:
    """`a @ b` of two matrices: sums of products, entry by entry."""
    rows, inner, columns = (*a.value.shape, b.value.shape[1])
    n, m, p = torch.meshgrid(*(torch.arange(k) for k in (rows, inner, columns)), indexing="ij")
    left = indexed(a, (n * inner + m).flatten())
    right = indexed(b, (m * columns + p).flatten())
    return summed(reshaped(multiplied(left, right), rows, inner, columns), dim=1)


def summed(pair: Pair, dim: int = -1, keepdim: bool = False) -> Pair:
    """The sum over one dimension."""
    value, reference = (one.sum(dim, keepdim=keepdim) for one in (pair.value, pair.reference))
    inputs = pair.multipliers.shape[1]
    by_entry = pair.multipliers.reshape(*pair.value.shape, inputs)
    multipliers = by_entry.sum(dim % pair.value.dim()).reshape(-1, inputs)
    return Pair(value, reference, multipliers)


def scaled(pair: Pair, factor: Tensor) -> Pair:
    """A product with a constant, which may be broadcast."""
    value, reference = pair.value * factor, pair.reference * factor
    matrix = torch.diag((torch.ones_like(pair.value) * factor).flatten())
    return _extended(pair, value, reference, matrix)


def shifted(pair: Pair, constant: Tensor) -> Pair:
    return Pair(pair.value + constant, pair.reference + constant, pair.multipliers)


def spread(pair: Pair, shape: tuple[int, ...]) -> Pair:
    """Broadcast to a shape."""
    at = torch.arange(pair.value.numel()).reshape(pair.value.shape).expand(shape)
    return reshaped(indexed(pair, at.flatten()), *shape)


def softmax(pair: Pair) -> Pair:
    """Over the last dimension: `exp` by rescale, times the rescaled reciprocal of its sum.

    The same maximum is subtracted from the value and its reference, which changes neither.
    """
    highest = torch.maximum(pair.value, pair.reference).amax(-1, keepdim=True)
    exponentials = elementwise(shifted(pair, -highest), torch.exp)
    total = elementwise(summed(exponentials, keepdim=True), torch.reciprocal)
    return multiplied(exponentials, spread(total, tuple(pair.value.shape)))


def layer_norm(pair: Pair, norm: nn.LayerNorm) -> Pair:
    """Over the last dimension: centre, times the rescaled `(mean of squares + eps)^-1/2`."""
    size, shape = pair.value.shape[-1], tuple(pair.value.shape)
    constant = torch.tensor(-1 / size, dtype=torch.float64)
    centred = added(pair, spread(scaled(summed(pair, keepdim=True), constant), shape))
    variance = scaled(summed(elementwise(centred, torch.square), keepdim=True), -constant)
    inverse = elementwise(variance, lambda v: (v + norm.eps).rsqrt())
    normal = multiplied(centred, spread(inverse, shape))
    return shifted(scaled(normal, norm.weight.detach()), norm.bias.detach())


def max_pool(pair: Pair, size: int, stride: int) -> Pair:
    """Of `(C, H, W)`, without padding: the difference of the maxima goes to one place.

    That is the winner of the value if its maximum is not below that of the reference, else the
    reference's winner. Its multiplier is one if it does not differ and wins in both.
    """
    windows = list(_windows(tuple(pair.value.shape), size, stride))
    matrix = torch.zeros(len(windows), pair.value.numel(), dtype=torch.float64)
    x, x0 = pair.value.flatten(), pair.reference.flatten()
    for j, window in enumerate(windows):
        i, i0 = window[x[window].argmax()], window[x0[window].argmax()]
        at = i if x[i] >= x0[i0] else i0
        gain, difference = x[i] - x0[i0], x[at] - x0[at]
        matrix[j, at] = float(i == i0) if difference == 0 else gain / difference
    value, reference = (
        F.max_pool2d(one[None], size, stride)[0] for one in (pair.value, pair.reference)
    )
    return _extended(pair, value, reference, matrix)


def _windows(shape: tuple[int, ...], size: int, stride: int) -> Iterator[Tensor]:
    """Yield the flat positions of each window, in the order of the pool's output."""
    channels, height, width = shape
    at = torch.arange(channels * height * width).reshape(shape)
    for channel in range(channels):
        for top in range(0, height - size + 1, stride):
            for left in range(0, width - size + 1, stride):
                yield at[channel, top : top + size, left : left + size].flatten()


def captum_maps(model: nn.Module, x: Tensor, reference: Tensor, target: int) -> Tensor:
    """Return what Captum's DeepLift gives for each example alone.

    In a batch, its max-pool takes the gradient of the first example wherever nothing differs.
    It is right for networks of modules of which none is used twice, with nothing but affine layers,
    elementwise activations and max-pools, of which no two follow each other directly: of two such
    modules that share a tensor, the first sees the plain gradient of the second. It is wrong for
    products of two branches, softmax in a network, and norms that depend on their input.
    """
    from captum.attr import DeepLift

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = DeepLift(model)
        pairs = zip(x.split(1), reference.split(1), strict=True)
        found = [method.attribute(*pair, target=target).detach() for pair in pairs]
    return torch.cat(found)
