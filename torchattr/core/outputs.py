"""The one place that knows what a model may return: a tensor, or a container that holds it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice, plain_numbers
from torchattr.core.detections import as_detections, stacked
from torchattr.core.types import Activation, OutputKey
from torchattr.errors import FUNCTION, Hint, OutputError, WayOut


def select_output(output: Any, key: OutputKey = None) -> Tensor:
    """Return the tensor of scores from a model's output.

    Args:
        output: a tensor, mapping, sequence or dataclass; or the detections of each image, as
            torchvision's detectors return them, which become a tensor `(N, D, 6)`.
        key: the name or position of the entry, or a callable that returns it. `None` is enough for
            a tensor, or for a container that holds exactly one.

    Raises:
        OutputError: no such entry, several tensors and no `key`, or an entry that is no tensor.
    """
    if callable(key):
        chosen = key(output)
    elif key is not None:
        chosen = _entry(output, key)
    else:
        chosen = _only_entry(output)
    found = as_detections(chosen)
    if found is not None:
        return stacked(found)
    if not isinstance(chosen, Tensor):
        entry = "" if key is None or callable(key) else f" entry {key!r}"
        raise OutputError(
            f"the model's output{entry} is {_described(chosen)}, not a tensor of scores",
            hint=Hint(ways_out=_ways_out(output)),
        )
    return chosen


def any_output(output: Any) -> Tensor:
    """Accept any output of a model, for a forward that is run for its layers, not its scores."""
    return torch.empty(0)


def activate(scores: Tensor, activation: Activation) -> Tensor:
    """Turn scores `(N, classes, ...)` into probabilities, or leave them as they are.

    >>> import torch
    >>> activate(torch.zeros(1, 4), "softmax")
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    if activation == "softmax":
        return scores.softmax(1)
    return scores.sigmoid() if activation == "sigmoid" else scores


def activated_by(activation: Activation) -> Callable[[Tensor], Tensor]:
    """Return a function from scores `(N, classes, ...)` to probabilities, or the identity.

    Raises:
        InputError: an unknown activation.
        OutputError: (from the function) a softmax of a single score, or of probabilities.
    """
    check_choice("activation", activation, get_args(Activation))

    def probabilities(scores: Tensor) -> Tensor:
        if activation == "softmax":
            _check_logits(scores)
        return activate(scores, activation)

    return probabilities


def _check_logits(scores: Tensor) -> None:
    if scores.dim() < 2 or scores.shape[1] < 2:
        raise OutputError(
            "{setting} needs several scores for each example, but the model returns the shape"
            f" {tuple(scores.shape)}",
            hint=Hint(
                "activation",
                "softmax",
                ways_out=[
                    WayOut("pass {setting} for the logit of one class", "activation", "sigmoid"),
                    WayOut("{setting} leaves the score as it is", "activation", "none"),
                ],
            ),
        )
    if len(scores) and bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-3).all()):
        raise OutputError(
            "{setting} would be applied to probabilities: the model's scores are not negative and"
            " sum to 1 already",
            hint=Hint(
                "activation", "softmax", ways_out=[WayOut("pass {setting}", "activation", "none")]
            ),
        )


def _entries(output: Any) -> dict[Any, Any]:
    if isinstance(output, Mapping):
        return dict(output)
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    if isinstance(output, (list, tuple)):
        # A named tuple has names for its entries.
        keys = getattr(output, "_fields", range(len(output)))
        return dict(zip(keys, output, strict=True))
    return {}


def _entry(output: Any, key: str | int) -> Any:
    entries, key = _entries(output), plain_numbers(key)
    if isinstance(key, int) and key not in entries and -len(entries) <= key < len(entries):
        return list(entries.values())[key]
    if not isinstance(key, Hashable) or key not in entries:
        raise OutputError(
            f"{{setting}} names no entry of what the model returned ({_described(output)})",
            hint=Hint("output", key, tuple(entries), _otherwise(output)),
        )
    return entries[key]


def _only_entry(output: Any) -> Any:
    if isinstance(output, Tensor) or as_detections(output) is not None or not _entries(output):
        return output
    tensors = [value for value in _entries(output).values() if isinstance(value, Tensor)]
    if len(tensors) != 1:
        raise OutputError(
            f"the model returned {_described(output)}", hint=Hint(ways_out=_ways_out(output))
        )
    return tensors[0]


_USUAL = ("logits", "scores", "out", "output", "pred", "predictions")


def _ways_out(output: Any) -> list[WayOut]:
    """Return how to choose the scores, with an entry that may hold them as the example."""
    tensors = {key: entry for key, entry in _entries(output).items() if _may_be_scores(entry)}
    if not tensors:
        return [
            WayOut("no entry of it is a tensor of scores: wrap the model in one that returns them"),
            WayOut("or compute them with {setting}", "output", FUNCTION),
        ]
    usual = next((key for key in _USUAL if key in tensors), next(iter(tensors)))
    return [WayOut("choose the entry that holds the scores, such as {setting}", "output", usual)]


def _may_be_scores(entry: Any) -> bool:
    return isinstance(entry, Tensor) and entry.is_floating_point() and entry.dim() > 0


def _otherwise(output: Any) -> list[WayOut]:
    return [WayOut("leave it out")] if isinstance(output, Tensor) else _ways_out(output)


def _described(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    entries = _entries(output)
    if not entries:
        return type(output).__name__
    return f"{type(output).__name__} with entries {', '.join(map(repr, entries))}"
