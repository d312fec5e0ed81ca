"""Checks that a run of many rows is compared with the copies of a run of few.

Where all examples have the same references, these need to run only once: each value of a run of
their copies is that of the short run, repeated along the dimension of the examples. The walk over
both graphs follows this dimension through views and permutations (a dimension that was merged with
others has the copies outermost), and allows what treats each example by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import zip_longest
from math import prod
from typing import Any, TypeAlias

from torch import Tensor

from torchattr.errors import ModelError
from torchattr.layers.autograd import is_entrance, runs_rules
from torchattr.layers.graph import nodes_of, oldest_first
from torchattr.layers.linearity import PASSING, demand_same_map, kind_of, named
from torchattr.layers.operations.operation import OPERATIONS
from torchattr.layers.reference import copied_dim


def demand_row_by_row(
    outputs: Sequence[Tensor], others: Sequence[Tensor], served: Container[str], copies: int
) -> None:
    """Check that the results of one run are compared with copies of those of a shorter one.

    Args:
        outputs: the results of the run of many rows.
        others: the results of the short run.
        served: the operations that have rules.
        copies: how many copies of the short run's rows there are.

    Raises:
        ModelError: examples are not treated one by one, or it is not known whether they are; or
            what has no rule is not the same linear map.
    """
    walk = _Walk(copies, served)
    for node, other in zip_longest(*map(_steps, (outputs, others))):
        if node is None or other is None or _kind(node) != _kind(other):
            raise _unlike(node or other)
        if not _is_view(node):
            demand_same_map(node, other, served, copies)
        walk.step(node, other)
    for pair in zip(outputs, others, strict=True):
        walk.demand_leading(*pair)


def treats_rows_alone(outputs: Sequence[Tensor]) -> bool:
    """Whether a run consists of operations that may treat each example by itself."""
    return all(
        isinstance(node, PASSING) or _kind(node) in _MOVES or _kind(node) == "AccumulateGrad"
        for node in _steps(outputs)
    )


class _Walk:
    """Where the copies are in what each node returned.

    Args:
        copies: how many there are.
        served: the operations that have rules, which take all copies to be outermost.
    """

    def __init__(self, copies: int, served: Container[str]) -> None:
        self._copies, self._served = copies, served
        self._dims: dict[tuple[Any, int], int | None] = {}
        self._outer: dict[tuple[Any, int], int] = {}

    def step(self, node: Any, other: Any) -> None:
        """Check a node, which all below it precede."""
        pairs = list(zip(node._input_metadata, other._input_metadata, strict=True))
        for number, (mine, yours) in enumerate(pairs):
            dim = copied_dim(yours.shape, mine.shape, self._copies)
            if not self._is_right(node, other, dim, tuple(yours.shape)):
                raise _unlike(node)
            self._dims[node, number] = dim
            self._outer[node, number] = self._outer_of(node, other, dim, tuple(yours.shape))

    def demand_leading(self, output: Tensor, other: Tensor) -> None:
        """Check that a result has the copies in its first dimension."""
        source = _before_copies((output.grad_fn, output.output_nr))
        if self._dims.get(source) != 0 or self._outer[source] != 1 or other.dim() == 0:
            raise _unlike(output.grad_fn)

    def _outer_of(self, node: Any, other: Any, dim: int | None, shape: Shape) -> int:
        """Return how many rows are outside of the copies in the dimension that holds these."""
        sources = [one for one in _sources(node) if one in self._outer]
        if not sources or dim is None:
            return 1
        outer = {self._outer[one] for one in sources}
        if _kind(node) == "View":
            (place,) = _sources(other)
            given = tuple(place[0]._input_metadata[place[1]].shape)
            before = prod(given[: self._dims[sources[0]]]) * outer.pop()
            rows, rest = divmod(before, prod(shape[:dim]))
            outer = {rows}
            if rest or not rows or shape[dim] % rows:
                raise _unlike(node)
        elif outer != {1} and (_kind(node) != "linear" or "linear" in self._served):
            raise _unlike(node)
        return outer.pop()

    def _is_right(self, node: Any, other: Any, dim: int | None, shape: Shape) -> bool:
        kind = _kind(node)
        if is_entrance(node):
            return dim == 0
        if kind == "AccumulateGrad":
            return dim is None
        below = [
            (self._dims[source], tuple(place[0]._input_metadata[place[1]].shape))
            for source, place in zip(*map(_sources, (node, other)), strict=True)
        ]
        copied = [(taken, given) for taken, given in below if taken is not None]
        if dim is None or not copied:
            return dim is None and not copied
        if isinstance(node, PASSING):
            return all(taken == dim for taken, _ in copied)
        settings = _Settings(node)
        return all(_MOVES[kind](settings, taken, dim, given, shape) for taken, given in copied)


Shape: TypeAlias = tuple[int, ...]
Move: TypeAlias = Callable[["_Settings", int, int, Shape, Shape], bool]
"""Whether copies in one dimension of the input are in another of the output, alone; then shapes."""


class _Settings:
    """What an operation was called with, by name, whichever way it runs."""

    def __init__(self, node: Any) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        if runs_rules(self._node):
            return self._node.state.call.arguments.get(name)
        return getattr(self._node, f"_saved_{name}", None)

    def places(self, count: int, name: str = "dim") -> tuple[int, ...] | None:
        """Return dimensions, counted from the first; `None` if they are not named."""
        value = getattr(self, name)
        if value is None or value == ():
            return None
        values = value if isinstance(value, (tuple, list)) else (value,)
        # PyTorch shows a negative one without its sign.
        return tuple((one - 2**64 if one >= 2**63 else one) % count for one in values)


def _aligned(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return taken - len(given) == dim - len(shape)


def _leading(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return taken == dim == 0 and len(given) == len(shape)


def _convolved(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return _leading(s, taken, dim, given, shape) and len(given) == s.weight.dim()


def _besides_last(last: int) -> Move:
    def move(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
        return _aligned(s, taken, dim, given, shape) and taken < len(given) - last

    return move


def _normalised(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return _besides_last(len(s.normalized_shape))(s, taken, dim, given, shape)


def _by_channel(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return taken == dim != 1


def _besides(name: str) -> Move:
    def move(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
        dims = s.places(len(given), name)
        return dims is not None and taken not in dims and taken == dim

    return move


def _padded(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return taken == dim < len(given) - len(s.pad) // 2


def _reduced(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    dims = s.places(len(given))
    if dims is None or taken in dims:
        return False
    lost = 0 if len(given) == len(shape) else sum(one < taken for one in set(dims))
    return dim == taken - lost


def _squeezed(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    dims = s.places(len(given))
    if dims is None or taken in dims:
        return False
    return dim == taken - sum(one < taken and given[one] == 1 for one in dims)


def _unsqueezed(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    dims = s.places(len(shape))
    return dims is not None and dim == taken + (dims[0] <= taken)


def _permuted(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    dims = s.places(len(given), "dims")
    return dims is not None and dims[dim] == taken


def _swapped(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    (one,), (other,) = (s.places(len(given), name) or (-1,) for name in ("dim0", "dim1"))
    return dim == {one: other, other: one}.get(taken, taken)


def _viewed(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return True  # The walk counts what is outside of the copies.


def _turned(s: _Settings, taken: int, dim: int, given: Shape, shape: Shape) -> bool:
    return dim == len(given) - 1 - taken


_MOVES: Mapping[str, Move] = {
    **dict.fromkeys(("Add", "Sub", "Rsub", "Mul", "Div", "Neg", "ToCopy", "Expand"), _aligned),
    **dict.fromkeys(("Slice", "Split", "SplitWithSizes", "Cat"), _besides("dim")),
    **dict.fromkeys(("Flip", "Roll"), _besides("dims")),
    **dict.fromkeys(("Select", "Unbind", "Mean", "Sum"), _reduced),
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "ConstantPadNd": _padded,
    "View": _viewed,
    "Permute": _permuted,
    "Transpose": _swapped,
    "T": _turned,
    **{
        name: _aligned
        for name, operation in OPERATIONS.items()
        if operation.kind in ("rectifier", "activation", "elementwise", "dropout")
    },
    **dict.fromkeys(("mul", "div", "add", "reciprocal"), _aligned),
    **dict.fromkeys(("avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool"), _leading),
    **dict.fromkeys(("interpolate", "group_norm", "instance_norm"), _leading),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalised),
    **dict.fromkeys(("matmul", "attention"), _besides_last(2)),
    **dict.fromkeys(("softmax", "normalize", "cat"), _besides("dim")),
    **dict.fromkeys(("mean", "sum", "amax", "logsumexp", "vector_norm"), _reduced),
    "conv": _convolved,
    "linear": _besides_last(1),
    "batch_norm": _by_channel,
}
"""Where the copies go, by operation or the name of its node; whatever else is run for each row."""

_VIEWS = ("View", "UnsafeView", "ReshapeAlias")
_COPIES = ("Clone", "Alias")
"""Not of interest, and not the same for all numbers of rows: one row is often contiguous."""


def _kind(node: Any) -> str:
    if runs_rules(node):
        return str(node.state.call.operation.name)
    kind = kind_of(type(node).__name__)
    return "View" if kind in _VIEWS else kind


def _is_view(node: Any) -> bool:
    return _kind(node) == "View"


def _steps(outputs: Sequence[Tensor]) -> Iterator[Any]:
    nodes = oldest_first(nodes_of(*outputs))
    return (node for node in nodes if _kind(node) not in _COPIES)


def _sources(node: Any) -> list[tuple[Any, int]]:
    return [_before_copies(edge) for edge in node.next_functions if edge[0] is not None]


def _before_copies(edge: tuple[Any, int]) -> tuple[Any, int]:
    while _kind(edge[0]) in _COPIES:
        edge = edge[0].next_functions[0]
    return edge


def _unlike(node: Any) -> ModelError:
    return ModelError(f"{named(node)} may treat several examples unlike one of them")
