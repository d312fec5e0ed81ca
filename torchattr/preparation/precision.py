"""Lower precision by choice, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.pytree import tree_map_only
from torchattr.core.targets import select_scores
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo
from torchattr.errors import FUNCTION, Hint, InputError, OutputError, WayOut
from torchattr.layers import Trace, autocast, gradients, rule_table
from torchattr.methods import GuidedBackprop, Saliency

Precision = Literal["float32", "bfloat16", "float16"]


def check_precision(precision: Any) -> Precision:
    """Give it back if it names one.

    Raises:
        InputError: it does not.
    """
    if precision not in get_args(Precision):
        names = ", ".join(map(repr, get_args(Precision)))
        raise InputError(
            f"precision must be one of {names}, got {precision!r}; 'float32' means the model's own"
        )
    return precision


def cast(undo: Undo, precision: Precision, device: torch.device) -> None:
    """Let PyTorch cast to a lower precision until that is undone."""
    if precision != "float32":
        autocast(undo, device.type, getattr(torch, precision))


def as_before(output: Any, dtype: torch.dtype) -> Any:
    """Give what an autocast forward returned in the dtype of its input."""

    def widened(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return tree_map_only(Tensor, widened, output)


_COARSE = {"tf32": 2.0**-10, "bf16": torch.finfo(torch.bfloat16).eps}
"""The rounding of arithmetic that PyTorch may use for float32, by its name there."""


def rounding(dtypes: Iterable[torch.dtype], device: torch.device) -> float:
    """Give the coarsest rounding of a forward with these dtypes on a device.

    Float32 is multiplied in TF32 or bfloat16 where PyTorch is set so, as it is for the
    convolutions of cuDNN unless told otherwise; and autocast casts to less.

    >>> rounding([torch.float64], torch.device("cpu")) < 1e-15
    True
    """
    units = {dtype: torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point}
    if torch.float32 in units:
        units[torch.float32] = max(units[torch.float32], *_coarse(device))
    return max(units.values(), default=0.0)


def _coarse(device: torch.device) -> list[float]:
    """Give how coarse float32 may be multiplied on a device."""
    backends: Any = torch.backends
    cuda = device.type == "cuda"
    multiplying = backends.cuda.matmul if cuda else backends.mkldnn.matmul
    convolving = backends.cudnn.conv if cuda else backends.mkldnn.conv
    units = [_COARSE.get(one.fp32_precision, 0.0) for one in (multiplying, convolving)]
    if torch.is_autocast_enabled(device.type):
        units.append(torch.finfo(torch.get_autocast_dtype(device.type)).eps)
    return units


@dataclass(frozen=True)
class Deviation:
    """How far the maps of one method are from those of the original model.

    Attributes:
        relative: the Euclidean norm of the difference, over that of the original.
        largest: the largest difference, over the largest magnitude of the original.
        correlation: Pearson's, over all elements.
    """

    relative: float
    largest: float
    correlation: float

    def __str__(self) -> str:
        return (
            f"relative error {self.relative:.2g}, largest {self.largest:.2g},"
            f" correlation {self.correlation:.6f}"
        )


def deviation(actual: Tensor, expected: Tensor) -> Deviation:
    """Compare two maps; a difference from maps of zeros counts as infinite.

    Infinities and NaN in the same places of both differ by nothing.

    >>> print(deviation(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])))
    relative error 0, largest 0, correlation 1.000000
    """
    one, two = actual.detach().double().flatten(), expected.detach().double().flatten()
    alike = (one == two) | (one.isnan() & two.isnan())
    one, two = (values.where(values.isfinite() | ~alike, 0) for values in (one, two))
    difference = (one - two).where(~alike, 0)
    return Deviation(
        _share(difference.norm(), two.norm()),
        _share(difference.abs().amax(), two.abs().amax()),
        _correlation(one - one.mean(), two - two.mean()),
    )


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part / whole) if part else 0.0


def _correlation(one: Tensor, two: Tensor) -> float:
    if not one.any() or not two.any():
        return float(torch.equal(one, two))
    return float(one @ two / (one.norm() * two.norm()))


TABLES: Mapping[str, Mapping[str, str]] = {
    "saliency": dict(Saliency.rules),
    "guided_backprop": dict(GuidedBackprop.rules),
}


def maps_of(
    model: Forward, inputs: Sequence[Tensor], arguments: Sequence[Any], key: OutputKey, target: Any
) -> tuple[dict[str, list[Tensor]], Any]:
    """Give the signed maps of each method for a target, all from one forward, and the target.

    A target of `None` is the place of the largest score of each example.
    """
    tables = [rule_table(rules) for rules in TABLES.values()]
    trace = Trace(model, inputs, arguments, tables=tables, key=key)
    check_scores(trace.output)
    # The caller may be in no_grad or inference mode, where picking would cut the graph off.
    with gradients():
        target = places_of(trace.output) if target is None else target
        scores = scores_at(trace.output, target)
    maps = {}
    for number, name in enumerate(TABLES):
        found = trace.gradients(scores, trace.input_edges, table=number, of_output=True)
        maps[name] = [one for one in found if one is not None]
    if not all(maps.values()):
        raise OutputError(
            "the model's output does not depend on example_inputs by autograd's graph, so nothing"
            " can be attributed: something cut it, such as torch.no_grad() around a part,"
            " detach(), or quantised operations",
            hint=Hint(ways_out=[WayOut("choose another entry with {setting}", "output")]),
        )
    return maps, target


def check_scores(output: Tensor) -> None:
    """Refuse an output that holds no scores which a gradient could be taken of.

    Raises:
        OutputError: no value, or values that have no gradient.
    """
    dense = output.layout == torch.strided and not output.is_nested
    if not dense or not output.is_floating_point() or not output.numel():
        shape = f" of shape {tuple(output.shape)}" if dense else ""
        kind = f"{'' if dense else 'nested or sparse '}{output.dtype}{shape}"
        raise OutputError(
            f"the model's output is {kind}, which holds no scores that a gradient could be taken"
            " of",
            hint=Hint(
                ways_out=[
                    WayOut("choose another entry with {setting}", "output"),
                    WayOut("compute some with {setting}", "output", FUNCTION),
                ]
            ),
        )


def places_of(output: Tensor) -> Tensor:
    """Give where the largest score of each example stands in its flattened row."""
    return _rows(output).detach().argmax(1)


def scores_at(output: Tensor, target: Any) -> Tensor:
    """Give one value per example: the one at these places of its row, or what a target names."""
    if isinstance(target, Tensor):
        return _rows(output).gather(1, target[:, None])[:, 0]
    return select_scores(output, target)


def _rows(output: Tensor) -> Tensor:
    """Give the scores of each example as a row; one value alone is that of one example."""
    return output.reshape(len(output) if output.dim() else 1, -1)
