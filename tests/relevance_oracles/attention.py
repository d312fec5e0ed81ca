"""Explanations from attention matrices, in NumPy, from a model whose softmax is a module.

`matrices` are the attention matrices of each layer, first layer first, `gradients` those of the
target's score with respect to them: arrays `(N, heads, queries, keys)`. All maps are `(N, patches)`
or, with `full=True` where a method has one, the whole matrix `(N, tokens, tokens)`; the class token
comes first, and `prefix` counts it and other tokens that are no patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relevance_oracles.frozen import relevances

Array = NDArray[np.float64]
Scores = Callable[[Tensor], Tensor]
"""From a block's tokens `(N, tokens, width)` to class scores."""
Fusion = Literal["mean", "min", "max"]


def attention_of(
    model: nn.Module, x: Tensor, target: int, modules: Sequence[nn.Module] | None = None
) -> tuple[list[Array], list[Array]]:
    """Return the attention matrices and their gradients, each from `torch.autograd.grad`.

    They are the outputs of `modules`: each `nn.Softmax` where none are named. A module that only
    hands on the matrix will do, such as the dropout behind the softmax.
    """
    found: list[Tensor] = []
    handles = [one.register_forward_hook(_recorder(found)) for one in _modules(model, modules)]
    with torch.enable_grad():
        scores = model(x.detach().clone().requires_grad_())
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(scores[:, target].sum(), found)
    return _arrays(found), _arrays(gradients)


def _modules(model: nn.Module, modules: Sequence[nn.Module] | None) -> Sequence[nn.Module]:
    given = [one for one in model.modules() if isinstance(one, nn.Softmax)]
    return given if modules is None else modules


def _recorder(found: list[Tensor]) -> Callable[..., None]:
    def record(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append(output)

    return record


def _arrays(tensors: Sequence[Tensor]) -> list[Array]:
    return [one.detach().double().numpy() for one in tensors]


def _shown(matrix: Array, prefix: int, full: bool) -> Array:
    """Return what the class token attends to, without tokens that are no patches."""
    return matrix if full else matrix[:, 0, prefix:]


def _chained(matrices: Sequence[Array]) -> Array:
    """Return the product of the layers' matrices, the last layer on the left."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = np.stack([later @ before for later, before in zip(matrix, product, strict=True)])
    return product


# Methods.


def raw_attention(matrices: Sequence[Array], layer: int = -1, prefix: int = 1) -> Array:
    """Return the class token's attention in one layer, as a mean over heads."""
    return _shown(matrices[layer].mean(1), prefix, full=False)


def attention_gradient(
    matrices: Sequence[Array], gradients: Sequence[Array], layer: int = -1, prefix: int = 1
) -> Array:
    """Return the class token's `mean over heads of (A * dA)+` in one layer."""
    return _shown(_positive(matrices[layer] * gradients[layer]), prefix, full=False)


def rollout(
    matrices: Sequence[Array],
    fusion: Fusion = "mean",
    start_layer: int = 0,
    prefix: int = 1,
    full: bool = False,
) -> Array:
    """Abnar & Zuidema 2020: the product of `(A + I) / 2`, its rows normalised.

    A head is fused with the others by the mean, the minimum or the maximum; the rows of the last
    two do not sum to one before they are normalised.
    """
    layers = []
    for matrix in matrices[start_layer:]:
        fused = getattr(np, fusion)(matrix, axis=1)
        mixed = fused + np.eye(fused.shape[-1])
        layers.append(mixed / mixed.sum(-1, keepdims=True))
    return _shown(_chained(layers), prefix, full)


def chefer(
    matrices: Sequence[Array], gradients: Sequence[Array], prefix: int = 1, full: bool = False
) -> Array:
    """Chefer et al., ICCV 2021, self-attention: from `R = I`, `R <- R + mean (A * dA)+ R`."""
    found = []
    for index in range(len(matrices[0])):
        r = np.eye(matrices[0].shape[-1])
        for matrix, gradient in zip(matrices, gradients, strict=True):
            product = matrix[index] * gradient[index]
            r = r + np.where(product > 0, product, 0).mean(0) @ r
        found.append(r)
    return _shown(np.stack(found), prefix, full)


def chefer_lrp(
    relevances_of_matrices: Sequence[Array],
    gradients: Sequence[Array],
    start_layer: int = 0,
    prefix: int = 1,
    full: bool = False,
) -> Array:
    """Chefer et al., CVPR 2021: the product of `I + mean over heads of (R_A * dA)+`."""
    pairs = list(zip(relevances_of_matrices, gradients, strict=True))[start_layer:]
    layers = [_positive(r * g) + np.eye(r.shape[-1]) for r, g in pairs]
    return _shown(_chained(layers), prefix, full)


def relevances_of_matrices(model: Any, x: Tensor, target: int, **options: Any) -> list[Array]:
    """Return `R_A` of each block of the tiny transformer, for `chefer_lrp`.

    `method="chefer"` has the rules of its paper; `attn_lrp` gives those of AttnLRP.
    """
    each = [relevances(model, one, target, **options).at for one in x]
    names = [f"block{index}.attention.matrix" for index in range(len(model.blocks))]
    return [np.stack([at[name].detach().numpy() for at in each]) for name in names]


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, 0).mean(1)


def legrad(
    model: nn.Module,
    x: Tensor,
    target: int,
    blocks: Sequence[nn.Module],
    scores_of: Scores,
    softmaxes: Sequence[nn.Module] | None = None,
    start_layer: int = 0,
    prefix: int = 1,
    rescaled: bool = True,
) -> Array:
    """LeGrad (Bousselham et al. 2024): each block's own score, by its own attention matrix.

    The score of a block is that of its tokens' mean; `scores_of` says which, from the tokens:
    `lambda tokens: head(norm(tokens.mean(1)))`. The positive part of its gradient is averaged over
    heads and queries, then over the blocks, and rescaled to [0, 1] for each image.
    """
    found: list[Tensor] = []
    tokens: list[Tensor] = []
    handles = [
        *(one.register_forward_hook(_recorder(found)) for one in _modules(model, softmaxes)),
        *(one.register_forward_hook(_recorder(tokens)) for one in blocks),
    ]
    with torch.enable_grad():
        model(x.detach().clone().requires_grad_())
        each = [
            torch.autograd.grad(scores_of(after)[:, target].sum(), matrix, retain_graph=True)[0]
            for after, matrix in list(zip(tokens, found, strict=True))[start_layer:]
        ]
    for handle in handles:
        handle.remove()
    maps = [_positive(one).mean(1)[:, prefix:] for one in _arrays(each)]
    mean: Array = np.mean(maps, axis=0)
    return _rescaled(mean) if rescaled else mean


def _rescaled(maps: Array) -> Array:
    low, high = maps.min(1, keepdims=True), maps.max(1, keepdims=True)
    return (maps - low) / (high - low)
