"""Rules of layer-wise relevance propagation for dense matrices, one example at a time.

Each rule is a share: an input i gets `share_ij / (sum of shares of j + bias)` of the relevance of
an output j. Bach et al. 2015 (epsilon, alpha-beta), Montavon et al. 2017 (z+, zB, w^2), Montavon et
al. 2019 and Andeol et al. 2021 (gamma, also for negative outputs), Lapuschkin et al. 2019 (flat).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = 1e-6


def stabilised(z: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Return `z + epsilon * sign(z)`, where the sign of zero is one."""
    return z + epsilon * torch.where(z < 0, -1.0, 1.0).to(z)


def quotient(relevance: Tensor, z: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Return relevance per unit of `z`; nothing where there is neither a unit nor an epsilon."""
    below = stabilised(z, epsilon)
    return torch.where(below == 0, 0.0, relevance / torch.where(below == 0, 1.0, below))


# Layers as matrices.


def dense_of(
    layer: nn.Module, shape: tuple[int, ...], norm: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Return the matrix `(outputs, inputs)` and the bias of a linear layer for one example.

    `shape` is that of the example without its batch dimension. A batch-norm behind the layer is
    merged into both. Convolutions and their transposes (padded by zeros), linear layers, average
    pools: whatever is linear but for its parameter `bias`.
    """
    assert getattr(layer, "padding_mode", "zeros") == "zeros", "pad first: paddings share weights"
    columns = _without_bias(layer)(_unit_vectors(shape))
    matrix, bias = columns.flatten(1).T.contiguous(), _bias(layer, columns[0])
    return (matrix, bias) if norm is None else merged(matrix, bias, norm, columns[0].shape)


def connections_of(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """Return the layer's matrix with every weight set to one, also those that are zero."""
    ones = deepcopy(layer).double()
    for name, parameter in ones.named_parameters():
        parameter.data.fill_(0.0 if name == "bias" else 1.0)
    return dense_of(ones, shape)[0]


def merged(
    matrix: Tensor, bias: Tensor, norm: nn.Module, out_shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return a matrix and a bias with the batch-norm behind them, as it is in evaluation mode.

    `gamma / sqrt(v + eps)` may be negative, which changes what counts as a positive share.
    """
    n: Any = deepcopy(norm).double()
    one, zero = torch.ones_like(n.running_var), torch.zeros_like(n.running_mean)
    gamma, beta = (one, zero) if n.weight is None else (n.weight.detach(), n.bias.detach())
    scale = gamma / torch.sqrt(n.running_var + n.eps)
    shift = beta - n.running_mean * scale
    scale, shift = (_over_positions(value, out_shape) for value in (scale, shift))
    return scale[:, None] * matrix, scale * bias + shift


def _without_bias(layer: nn.Module) -> nn.Module:
    plain: Any = deepcopy(layer).double()
    if getattr(plain, "bias", None) is not None:
        plain.bias = None
    return plain.requires_grad_(False)


def _unit_vectors(shape: tuple[int, ...]) -> Tensor:
    size = torch.Size(shape).numel()
    return torch.eye(size, dtype=torch.float64).reshape(size, *shape)


def _bias(layer: nn.Module, output: Tensor) -> Tensor:
    """Return the bias of each output: of its channel, or of its last entry in a linear layer."""
    bias = getattr(layer, "bias", None)
    if bias is None:
        return torch.zeros_like(output).flatten()
    bias = bias.detach().double()
    if isinstance(layer, nn.Linear):
        return bias.expand(output.shape).flatten()
    return _over_positions(bias, output.shape)


def _over_positions(per_channel: Tensor, shape: tuple[int, ...]) -> Tensor:
    return per_channel.reshape(-1, *[1] * (len(shape) - 1)).expand(shape).flatten()


# Rules.


def relevance(
    rule: str,
    weight_matrix: Tensor,
    bias: Tensor,
    x: Tensor,
    z: Tensor,
    relevance_out: Tensor,
    **params: Any,
) -> Tensor:
    """Return the relevance of a layer's inputs, all flattened: one example.

    `rule` is one of RULES. `z` is the layer's own output, with its bias. All rules take `epsilon`
    (1e-6), and `zero_bias` (False), with which no denominator contains the bias (`zero_params=
    "bias"`). `alpha_beta` takes `alpha` (2) and `beta` (1), `gamma` takes `gamma` (0.25), `z_box`
    `low` and `high` (numbers or flat tensors), `flat` needs `connections` (`connections_of`).
    """
    epsilon, zero_bias = params.pop("epsilon", EPSILON), params.pop("zero_bias", False)
    b = torch.zeros_like(bias) if zero_bias else bias
    total = torch.zeros_like(x)
    for share, below, passed in RULES[rule](weight_matrix, b, x, z, relevance_out, **params):
        for j, row in enumerate(share):
            total = total + row * quotient(passed[j], below[j], epsilon)
    return total


Shares = list[tuple[Tensor, Tensor, Tensor]]
"""Of each part of a rule: the shares `(outputs, inputs)`, denominators, relevance to share out."""


def _epsilon(w: Tensor, b: Tensor, x: Tensor, z: Tensor, r: Tensor) -> Shares:
    share = w * x
    return [(share, share.sum(1) + b, r)]


def _z_plus(w: Tensor, b: Tensor, x: Tensor, z: Tensor, r: Tensor) -> Shares:
    share = (w * x).clamp(min=0)
    return [(share, share.sum(1) + b.clamp(min=0), r)]


def _alpha_beta(
    w: Tensor, b: Tensor, x: Tensor, z: Tensor, r: Tensor, alpha: float = 2, beta: float = 1
) -> Shares:
    assert alpha - beta == 1
    negative = (w * x).clamp(max=0)
    return [
        *_z_plus(w, b, x, z, alpha * r),
        (negative, negative.sum(1) + b.clamp(max=0), -beta * r),
    ]


def _gamma(w: Tensor, b: Tensor, x: Tensor, z: Tensor, r: Tensor, gamma: float = 0.25) -> Shares:
    """Positive outputs favour positive shares, negative ones negative shares; zeros pass nothing.

    What is positive is asked of the layer's output with its bias, also if that is left out below.
    """
    up = w * x + gamma * (w * x).clamp(min=0)
    down = w * x + gamma * (w * x).clamp(max=0)
    return [
        (up, up.sum(1) + b + gamma * b.clamp(min=0), r * (z > 0)),
        (down, down.sum(1) + b + gamma * b.clamp(max=0), r * (z < 0)),
    ]


def _z_box(w: Tensor, b: Tensor, x: Tensor, z: Tensor, r: Tensor, low: Any, high: Any) -> Shares:
    low, high = (torch.as_tensor(value, dtype=x.dtype).expand_as(x) for value in (low, high))
    share = w * x - w.clamp(min=0) * low - w.clamp(max=0) * high
    return [(share, share.sum(1), r)]


def _w_square(w: Tensor, b: Tensor, x: Tensor, z: Tensor, r: Tensor) -> Shares:
    return [(w**2, (w**2).sum(1) + b**2, r)]


def _flat(w: Tensor, b: Tensor, x: Tensor, z: Tensor, r: Tensor, connections: Tensor) -> Shares:
    assert connections.shape == w.shape
    return [(connections, connections.sum(1), r)]


RULES: Mapping[str, Callable[..., Shares]] = {
    "epsilon": _epsilon,
    "z_plus": _z_plus,
    "alpha_beta": _alpha_beta,
    "gamma": _gamma,
    "z_box": _z_box,
    "w_square": _w_square,
    "flat": _flat,
}


def bias_share(
    rule: str,
    weight_matrix: Tensor,
    bias: Tensor,
    x: Tensor,
    z: Tensor,
    relevance_out: Tensor,
    **params: Any,
) -> Tensor:
    """Return the relevance that each output's bias and epsilon keep to themselves.

    What an output has minus what it gives; the sum of `relevance` and this is the relevance given.
    """  # fmt: skip
    epsilon = params.pop("epsilon", EPSILON)
    b = torch.zeros_like(bias) if params.pop("zero_bias", False) else bias
    given = torch.zeros_like(relevance_out)
    for share, below, passed in RULES[rule](weight_matrix, b, x, z, relevance_out, **params):
        given = given + share.sum(1) * quotient(passed, below, epsilon)
    return relevance_out - given


def through_layer(
    rule: str,
    layer: nn.Module,
    x: Tensor,
    relevance_out: Tensor,
    norm: nn.Module | None = None,
    **params: Any,
) -> Tensor:
    """Return the relevance of a batch of inputs `x` of a layer (and a batch-norm behind it)."""
    shape = tuple(x.shape[1:])
    matrix, bias = dense_of(layer, shape, norm)
    if rule == "flat":
        params["connections"] = connections_of(layer, shape)
    rows = [
        relevance(rule, matrix, bias, one, matrix @ one + bias, r, **params)
        for one, r in zip(x.double().flatten(1), relevance_out.double().flatten(1), strict=True)
    ]
    return torch.stack(rows).reshape(x.shape)
