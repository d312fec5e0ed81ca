"""Checks that two runs of a model differ only where operations with rules tell how.

All other operations must be the same linear map in both runs. An operation's name tells that it is
linear, and what it saved for its backward that the map is the same: an index that depends on the
data, for example, is saved, and differs. So values in another order are linear where that is the
same.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

from torch import Tensor

from torchattr.core.torch_private import BackwardHookFunction
from torchattr.errors import Hint, ModelError, WayOut
from torchattr.layers.autograd import Enter, Restated, runs_rules
from torchattr.layers.graph import nodes_of, oldest_first
from torchattr.layers.operations.operation import Call
from torchattr.layers.reference import is_same, with_copies


def demand_same_maps(
    outputs: Sequence[Tensor], others: Sequence[Tensor], served: Container[str]
) -> None:
    """Check that what has no rule is the same linear map in the graphs of two runs.

    Args:
        outputs: the results of one run.
        others: the results of the other.
        served: the operations that have rules.

    Raises:
        ModelError: names the operation that is not linear, or not the same.
    """
    graphs = [oldest_first(nodes_of(*ends)) for ends in (outputs, others)]
    for node, other in zip_longest(*graphs):
        if type(node) is not type(other):
            found = [named(one) if one is not None else "nothing" for one in (node, other)]
            raise _refusal(
                f"the model ran {found[0]} for the inputs, but {found[1]} for the baselines in its"
                " place: what runs depends on the values"
            )
        demand_same_map(node, other, served)


def demand_same_map(node: Any, other: Any, served: Container[str], copies: int = 1) -> None:
    """Check a node of one run and that in its place in the other.

    Args:
        node: of one run.
        other: of the other.
        served: the operations that have rules.
        copies: how many copies of the rows of the other this run is compared with.

    Raises:
        ModelError: as for :func:`demand_same_maps`.
    """
    if isinstance(node, PASSING) or type(node).__name__ == "AccumulateGrad":
        return
    if runs_rules(node):
        call = node.state.call
        if call.operation.name not in served and call.operation.name not in _LINEAR_OPERATIONS:
            raise _refusal(_unknown(call.spelling), call.operation.name)
        if not _same_arguments(call, other.state.call):
            raise _refusal(_unlike(call.spelling))
        return
    kind = kind_of(type(node).__name__)
    if kind not in _LINEAR or not _is_linear(kind, node):
        raise _refusal(_unknown(named(node)))
    for name in _saved_by(type(node)):
        if name in _LINEAR[kind] or (copies > 1 and "_sym_" in name):
            continue
        mine = _read(node, name)
        if not _same(mine, _copied(_read(other, name), mine, copies)):
            raise _refusal(_unlike(named(node)))


def _unknown(name: str) -> str:
    return (
        f"{name} is neither linear nor has a rule for differences, so the score's difference from"
        " the baseline's cannot be told apart below it"
    )


def _unlike(name: str) -> str:
    return (
        f"{name} is told by the data what to do (by an index, a mask or a factor that is computed"
        " from the inputs without a gradient): it differs between inputs and baselines"
    )


def _refusal(text: str, operation: str = "") -> ModelError:
    ways = [WayOut("explain a value before it"), WayOut("use IntegratedGradients")]
    if operation:
        ways.append(WayOut(f"register a rule 'rescale' for {operation!r}"))
    return ModelError(text, hint=Hint(ways_out=ways))


def _is_linear(kind: str, node: Any) -> bool:
    """Whether an operation with several inputs is linear in those that depend on the data."""
    if getattr(node, "_saved_rounding_mode", None) is not None:
        return False
    dependent = [below is not None for below, _ in node.next_functions]
    positions = _FACTORS.get(kind)
    if positions is None:
        return True
    if kind in _FIRST_ONLY:
        return not any(dependent[1:])
    return sum(dependent[position] for position in positions if position < len(dependent)) <= 1


def _same_arguments(call: Call, other: Call) -> bool:
    mine, yours = call.arguments, other.arguments
    if mine.keys() != yours.keys():
        return False
    return all(_same(value, yours[name]) for name, value in mine.items())


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor):
        return value is other or (isinstance(other, Tensor) and is_same(value, other))
    if isinstance(value, (tuple, list)):
        if not isinstance(other, (tuple, list)) or len(value) != len(other):
            return False
        return all(map(_same, value, other))
    return bool(value == other)


def _copied(value: Any, like: Any, copies: int) -> Any:
    """Return a saved value of a run for the run that is compared with copies of its rows."""
    if not isinstance(value, Tensor) or not isinstance(like, Tensor):
        return value
    return with_copies(value, like.shape, copies)


def _read(node: Any, name: str) -> Any:
    """Return what a node saved.

    Raises:
        ModelError: it is in a checkpointed part, which would run again to tell.
    """
    try:
        return getattr(node, name)
    except RuntimeError as error:
        raise ModelError(
            f"what {named(node)} saved in a checkpointed part of the model cannot be compared"
            " between inputs and baselines; switch checkpointing off while explaining (timm:"
            " model.set_grad_checkpointing(False))"
        ) from error


def _saved_by(kind: type) -> tuple[str, ...]:
    """Return the names under which nodes of a type show what they saved."""
    return tuple(name for name in dir(kind) if name.startswith("_saved_"))


@cache
def kind_of(name: str) -> str:
    return name.rstrip("0123456789").removesuffix("Backward")


def named(node: Any) -> str:
    """Return a readable name of the operation that a node is the backward of."""
    if runs_rules(node):
        return str(node.state.call.spelling)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind_of(type(node).__name__)).lower()


# Ours, where the graph begins and where a function was taken apart, and the identity that carries a
# module's backward hooks.
PASSING = tuple(function._backward_cls for function in (Enter, Restated, BackwardHookFunction))

_LINEAR_OPERATIONS = frozenset(
    (
        *("conv", "linear", "avg_pool", "adaptive_avg_pool", "batch_norm", "add", "cat"),
        *("dropout", "mean", "sum", "interpolate"),
    )
)

_NOTHING: frozenset[str] = frozenset()
_ONLY_SHAPE = frozenset(("_saved_self",))


def _saving(names: str, of_data: frozenset[str]) -> dict[str, frozenset[str]]:
    return dict.fromkeys(names.split(), of_data)


_LINEAR: Mapping[str, frozenset[str]] = {
    **_saving(
        "Add Addcmul Addmm Alias AsStrided Baddbmm Bmm Cat Clone Col2Im ConstantPadNd Copy"
        " CopyBackwards CopySlices Cumsum Diagonal Div Dot Expand FftC2C FftC2R Fill Flip Im2Col"
        " Imag Index IndexAdd IndexFill IndexPut IndexSelect Kron Linear MaskedFill"
        " MaskedScatter MaskedSelect Mean Mm Mul Mv Neg Permute PixelShuffle PixelUnshuffle Real"
        " Repeat ReshapeAlias Roll Rot90 Rsub Scatter ScatterAdd Select SelectScatter Slice"
        " SliceScatter Split SplitWithSizes Squeeze Stack Sub Sum T ToCopy Trace Transpose Tril"
        " Triu Unbind Unfold UnsafeSplit UnsafeSplitWithSizes UnsafeView Unsqueeze"
        " Kthvalue MaxUnpool2D MaxUnpool3D Median Mode Nanmedian Sort Topk"
        " UpsampleBicubic2D UpsampleBicubic2DAa UpsampleBilinear2D UpsampleBilinear2DAa"
        " UpsampleLinear1D UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D"
        " UpsampleNearestExact1D UpsampleNearestExact2D UpsampleNearestExact3D UpsampleTrilinear3D"
        " View ViewAsComplex ViewAsReal Where Zero",
        _NOTHING,
    ),
    **_saving(
        "AdaptiveAvgPool2D AdaptiveAvgPool3D AvgPool2D AvgPool3D Cummax Cummin FftR2C Gather"
        " ReflectionPad1D ReflectionPad2D ReflectionPad3D ReplicationPad1D ReplicationPad2D"
        " ReplicationPad3D Take",
        _ONLY_SHAPE,
    ),
    **_saving("GridSampler2D GridSampler3D", frozenset(("_saved_input",))),
}
"""Linear functions by the name of their node, and what of the data each saves nevertheless."""

_FACTORS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Bmm", "Mm", "Mul", "Mv", "Dot", "Kron", "Linear"), (0, 1)),
    **dict.fromkeys(("Addcmul", "Addmm", "Baddbmm"), (1, 2)),
    **dict.fromkeys(("Div", "GridSampler2D", "GridSampler3D"), ()),
}
"""The inputs of products: at most one of them may depend on the data."""

_FIRST_ONLY = ("Div", "GridSampler2D", "GridSampler3D")
