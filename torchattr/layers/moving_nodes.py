"""Which nodes of a graph only put elements elsewhere, or keep them from being negative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchattr.layers.autograd import Restated, is_entrance, runs_rules
from torchattr.layers.ledger import Probe


def keeps_sign(node: Any) -> bool:
    """Whether a node's output has no negative element if its inputs have none."""
    if runs_rules(node):
        return node.state.call.operation.name in _SIGN_KEEPING and _adds(node.state.call.arguments)
    name = type(node).__name__
    return name in _SIGN_KEEPING_NODES and getattr(node, "_saved_alpha", 1) > 0


def _adds(arguments: Mapping[str, Any]) -> bool:
    alpha = arguments.get("alpha", 1)
    return isinstance(alpha, (int, float)) and alpha > 0


def only_moves(node: Any) -> bool:
    """Whether a node only puts elements elsewhere, or is where the graph begins."""
    if is_entrance(node):
        return True
    if runs_rules(node):
        return node.state.call.operation.name in ("dropout", "cat")
    return type(node).__name__ in _MOVING_NODES


_SIGN_KEEPING = frozenset(
    [
        "max_pool",
        "avg_pool",
        "adaptive_avg_pool",
        "adaptive_max_pool",
        "add",
        "cat",
        "dropout",
        "mean",
        "sum",
    ]
)


def _node_names(names: str) -> frozenset[str]:
    return frozenset(f"{name}Backward{number}" for name in names.split() for number in range(6))


_MOVING_NODES = _node_names(
    "Alias AsStrided Clone Expand Permute ReshapeAlias Select Slice Split SplitWithSizes Squeeze T"
    " Transpose Unbind UnsafeSplit UnsafeView Unsqueeze View ToCopy Flip Index IndexSelect"
    " PixelShuffle PixelUnshuffle Roll Stack Cat ConstantPadNd Unfold Im2Col Copy ReflectionPad1D"
    " ReflectionPad2D ReflectionPad3D ReplicationPad1D ReplicationPad2D ReplicationPad3D"
) | {function._backward_cls.__name__ for function in (Probe, Restated)}

_SIGN_KEEPING_NODES = _MOVING_NODES - _node_names("ConstantPadNd") | _node_names(
    "Add Mean Sum MaxPool2DWithIndices MaxPool3DWithIndices AvgPool2D AvgPool3D"
    " AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool2D AdaptiveMaxPool3D"
)
