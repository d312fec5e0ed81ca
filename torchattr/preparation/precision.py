"""Lower precision for the forward, and its cost in accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.pytree import tree_map_only
from torchattr.core.targets import select_scores
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo
from torchattr.errors import Hint, InputError, OutputError, WayOut
from torchattr.layers import Trace, autocast, rule_table
from torchattr.methods import GuidedBackprop, Saliency

Precision = Literal["float32", "bfloat16", "float16"]


_OTHER_OUTPUT = Hint(
    ways_out=[WayOut("choose another entry of the output with {setting}", "output")]
)


def check_precision(precision: Any) -> Precision:
    """Return the precision if it is known.

    Raises:
        InputError: an unknown precision.
    """
    if precision not in get_args(Precision):
        names = ", ".join(map(repr, get_args(Precision)))
        raise InputError(
            f"precision must be one of {names}, got {precision!r}; 'float32' means the model's own"
        )
    return precision


def cast(undo: Undo, precision: Precision, device: torch.device) -> None:
    """Turn on autocast to a lower precision, until undone."""
    if precision != "float32":
        autocast(undo, device.type, getattr(torch, precision))


def restore_dtype(output: Any, dtype: torch.dtype) -> Any:
    """Return the output of an autocast forward in the dtype of its input."""

    def widened(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return tree_map_only(Tensor, widened, output)


_COARSE = {"tf32": 2.0**-10, "bf16": torch.finfo(torch.bfloat16).eps}
"""The unit roundoff of arithmetic that PyTorch may use for float32, by its name there."""


def rounding(dtypes: Iterable[torch.dtype], device: torch.device) -> float:
    """Return the coarsest rounding of a forward with these dtypes on a device.

    Float32 is multiplied in TF32 or bfloat16 where PyTorch is configured to, as it is by default
    for cuDNN's convolutions; and autocast casts to fewer bits.

    >>> rounding([torch.float64], torch.device("cpu")) < 1e-15
    True
    """
    units = {dtype: torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point}
    if torch.float32 in units:
        units[torch.float32] = max(units[torch.float32], *_coarse(device))
    return max(units.values(), default=0.0)


def _coarse(device: torch.device) -> list[float]:
    """Return the roundings that float32 products may have on a device."""
    backends: Any = torch.backends
    cuda = device.type == "cuda"
    library = backends.cudnn if cuda else backends.mkldnn
    multiplying = backends.cuda.matmul if cuda else backends.mkldnn.matmul
    settings = (multiplying, library.conv, library.rnn)
    units = [_COARSE.get(one.fp32_precision, 0.0) for one in settings]
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

    Infinities and NaN at the same positions of both count as equal.

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
    """Return the signed maps of each method for a target, all from one forward, and the target.

    A target of `None` is the position of the largest score of each example.
    """
    tables = [rule_table(rules) for rules in TABLES.values()]
    trace = Trace(model, inputs, arguments, tables=tables, key=key)
    check_scores(trace.output)
    # The caller may be in no_grad or inference mode, which would cut the graph here.
    with gradients():
        target = positions_of(trace.output) if target is None else target
        scores = scores_at(trace.output, target)
    maps = {}
    for number, name in enumerate(TABLES):
        gradient = trace.gradients(scores, trace.input_edges, table=number, of_output=True)
        maps[name] = [one for one in gradient if one is not None]
    if not all(maps.values()):
        raise OutputError(
            "autograd finds no path from the model's output to example_inputs, so nothing can be"
            " attributed: something cut the graph, such as torch.no_grad(), detach() or quantised"
            " operations",
            hint=_OTHER_OUTPUT,
        )
    return maps, target


def check_scores(output: Tensor) -> None:
    """Check that an output holds scores that have a gradient.

    Raises:
        OutputError: it holds no value, or values without gradient.
    """
    dense = output.layout == torch.strided and not output.is_nested
    if not dense or not output.is_floating_point() or not output.numel():
        shape = f" of shape {tuple(output.shape)}" if dense else ""
        kind = f"{'' if dense else 'nested or sparse '}{output.dtype}{shape}"
        raise OutputError(
            f"the model's output is {kind}, which has no gradient",
            hint=_OTHER_OUTPUT,
        )


def positions_of(output: Tensor) -> Tensor:
    """Return the position of the largest score in each example's flattened row."""
    return _rows(output).detach().argmax(1)


def scores_at(output: Tensor, target: Any) -> Tensor:
    """Return one value per example: that at these positions of its row, or of a target."""
    if isinstance(target, Tensor):
        return _rows(output).gather(1, target[:, None])[:, 0]
    return select_scores(output, target)


def _rows(output: Tensor) -> Tensor:
    """Return the scores of each example as a row; a single value is that of one example."""
    return output.reshape(len(output) if output.dim() else 1, -1)
