"""Which operation each node of PyTorch's own graph is the backward of.

A forward that ran without a mode leaves nothing but its graph. Rules may hang on that graph only if
each node is known here: one that could be a rectifier in another spelling (a product with a mask, a
`where`, an assignment by index) is not. Names are those of torch 2.9 and later; the number at the
end tells the overloads of a function apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from torchattr.layers.stride_guard import is_ambiguous, strides_of_new

NodeReader: TypeAlias = Callable[[Any], str | None]
"""Returns the operation of a node, or `None` for one that no rule can serve.

Raises :class:`UnknownNode` where the node does not tell."""

_OTHER = ""
"""Stands for a function that is no operation, so that no rule can serve it."""


class UnknownNode(Exception):
    """The graph has a node that does not tell which operation it is."""


def operations_of(kind: type, nodes: list[Any]) -> Mapping[str, list[Any]]:
    """Return the operations that nodes of one type are the backward of, without other functions.

    Raises:
        UnknownNode: a node could belong to an operation in another spelling, or to a function
            that is not PyTorch's own.

    >>> import torch
    >>> node = torch.ones(2, requires_grad=True).relu().grad_fn
    >>> list(operations_of(type(node), [node]))
    ['relu']
    """
    known = _OPERATIONS.get(kind.__name__)
    if known is None:
        raise UnknownNode(f"{kind.__name__} may hide an operation")
    if isinstance(known, str):
        return {known: nodes} if known else {}
    found: dict[str, list[Any]] = {}
    for node in nodes:
        operation = known(node)
        if operation is not None:
            found.setdefault(operation, []).append(node)
    return found


def _product(node: Any) -> str | None:
    """A product of two results, or with a number: any other factor could be a mask."""
    for (below, _), factor in zip(
        node.next_functions, ("_saved_self", "_saved_other"), strict=True
    ):
        if below is None and getattr(node, factor).dim() > 0:
            raise UnknownNode("a product with a constant tensor may be a rectifier's mask")
    return None


def _hardtanh(node: Any) -> str | None:
    return "relu" if node._saved_min_val == 0 else None


def _clamp(node: Any) -> str | None:
    return "relu" if node._saved_min == 0 else None


def _batch_norm(node: Any) -> str | None:
    if node._saved_training:
        raise UnknownNode("a batch-norm ran in training mode")
    shape = tuple(node._input_metadata[0].shape)
    if is_ambiguous(shape) and node._saved_input.stride() not in strides_of_new(shape):
        raise UnknownNode("PyTorch may mistake the memory order of a batch-norm's input")
    return "batch_norm"


def _max_pool(node: Any) -> str | None:
    if any(step != 1 for step in node._saved_dilation):
        raise UnknownNode("windows of a dilated max-pool may lie in the padding")
    return "max_pool"


def _attention(node: Any) -> str | None:
    if node._saved_dropout_p:
        raise UnknownNode("an attention ran with dropout")
    return None


def _mean(node: Any) -> str | None:
    """An adaptive pool to one value is a mean over the last dimensions, counted from the back."""
    counted_back = [2**64 - 1 - position for position in range(len(node._saved_dim))]
    is_pool = node._saved_keepdim and list(node._saved_dim) == counted_back
    return "adaptive_avg_pool" if is_pool else None


def _elu(node: Any) -> str | None:
    return "elu" if node._saved_scale == 1 else "selu"


def _matrix_product(node: Any) -> str | None:
    """`F.linear` without a bias is a product with a transposed matrix."""
    factor = node.next_functions[1][0]
    return "linear" if factor is not None and factor.name() == "TBackward0" else None


_OTHERS = (
    # Views and copies.
    *("Alias0", "AsStrided0", "AsStrided1", "Clone0", "Diagonal0", "Expand0", "Permute0"),
    *("ReshapeAlias0", "Select0", "Slice0", "Split0", "SplitWithSizes0", "Squeeze0", "Squeeze1"),
    *("Squeeze2", "Squeeze3", "Squeeze4", "Squeeze5", "T0", "Transpose0", "Unbind0", "Unfold0"),
    *("UnsafeSplit0", "UnsafeView0", "Unsqueeze0", "View0", "ToCopy0"),
    # Elements in another order, or more of them.
    *("ConstantPadNd0", "Flip0", "Gather0", "Index0", "IndexSelect0", "PixelShuffle0"),
    *("PixelUnshuffle0", "ReflectionPad1D0", "ReflectionPad2D0", "ReflectionPad3D0", "Repeat0"),
    *("ReplicationPad1D0", "ReplicationPad2D0", "ReplicationPad3D0", "Roll0", "Stack0", "Im2Col0"),
    *("UpsampleBicubic2D0", "UpsampleBilinear2D0", "UpsampleLinear1D0", "UpsampleNearest1D0"),
    *(
        "UpsampleNearest2D0",
        "UpsampleNearest3D0",
        "UpsampleNearestExact2D0",
        "UpsampleTrilinear3D0",
    ),
    # Arithmetic, products and functions that no rule can serve.
    *("Baddbmm0", "Bmm0", "Div0", "Div1", "Exp0", "Expm10", "Log0", "LogSoftmax0", "Neg0", "Mv0"),
    *("Dot0", "Pow0", "Rsqrt0", "Rsub1", "Sqrt0", "Sub0", "Sub1", "Sum0", "Sum1", "Softmax0"),
    *("Sigmoid0", "Tanh0", "Erf0", "Var0", "VarMean0", "Hardsigmoid0", "LogSigmoid0"),
    *("LinalgVectorNorm0", "Norm0", "Norm1", "AvgPool3D0"),
)

_OPERATIONS: Mapping[str, str | NodeReader] = MappingProxyType(
    {
        **{f"{name[:-1]}Backward{name[-1]}": _OTHER for name in _OTHERS},
        "ReluBackward0": "relu",
        "HardtanhBackward0": _hardtanh,
        "ClampBackward1": _clamp,
        "ClampMinBackward0": _clamp,
        "ClampMaxBackward0": _OTHER,
        "LeakyReluBackward0": "leaky_relu",
        "PreluKernelBackward0": "prelu",
        "EluBackward0": _elu,
        "EluBackward1": _elu,
        "CeluBackward0": "celu",
        "CeluBackward1": "celu",
        "GeluBackward0": "gelu",
        "SiluBackward0": "silu",
        "MishBackward0": "mish",
        "HardswishBackward0": "hardswish",
        "SoftplusBackward0": "softplus",
        "ConvolutionBackward0": "conv",
        "AddmmBackward0": "linear",
        "MmBackward0": _matrix_product,
        "MaxPool2DWithIndicesBackward0": _max_pool,
        "MaxPool3DWithIndicesBackward0": _max_pool,
        "AvgPool2DBackward0": "avg_pool",
        "AdaptiveAvgPool2DBackward0": "adaptive_avg_pool",
        "AdaptiveAvgPool3DBackward0": "adaptive_avg_pool",
        "AdaptiveMaxPool2DBackward0": "adaptive_max_pool",
        "AdaptiveMaxPool3DBackward0": "adaptive_max_pool",
        "MeanBackward0": _OTHER,
        "MeanBackward1": _mean,
        "NativeBatchNormBackward0": _batch_norm,
        "CudnnBatchNormBackward0": _batch_norm,
        "NativeLayerNormBackward0": "layer_norm",
        "NativeGroupNormBackward0": "group_norm",
        "AddBackward0": "add",
        "CatBackward0": "cat",
        "MulBackward0": _product,
        "ScaledDotProductFlashAttentionForCpuBackward0": _attention,
        "ScaledDotProductFlashAttentionBackward0": _attention,
        "ScaledDotProductEfficientAttentionBackward0": _attention,
        "ScaledDotProductCudnnAttentionBackward0": _attention,
    }
)
"""By the name of the node's type, which for a user's function never ends in a number."""
