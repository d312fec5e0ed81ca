"""Explain batches: the maps of all methods as they are stored, with scores and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from torchattr.bulk.encoding import ENCODINGS, EncodedMaps
from torchattr.bulk.settings import BulkSettings
from torchattr.bulk.target_columns import Labels, TargetColumns
from torchattr.core.gradient_mode import gradients
from torchattr.core.targets import each, select_scores
from torchattr.core.types import Activation
from torchattr.core.undoing import undone
from torchattr.errors import ShapeError
from torchattr.results import flat
from torchattr.runs import ExplainPlan


@dataclass(frozen=True, eq=False)
class ExplainedBatch:
    """What is stored of a batch, on the device where it was computed.

    Attributes:
        maps: for each array its maps.
        finite: whether all values of a picture are finite, `(N,)`.
        scores: of the targets, `(N, T)`.
        targets: their classes, `(N, T)`; `None` if they are not classes.
        predicted: the class with the highest score, `(N,)`; `None` if there are no scores (N, K).
    """

    maps: Mapping[str, EncodedMaps]
    finite: Tensor
    scores: Tensor
    targets: Tensor | None
    predicted: Tensor | None

    def __len__(self) -> int:
        return len(self.finite)

    def on_cpu(self) -> ExplainedBatch:
        """Return the same on the CPU; wait until the device has computed it."""
        maps = {name: one.on_cpu() for name, one in self.maps.items()}
        rest = (getattr(self, of) for of in ("finite", *_COLUMNS))
        columns: list[Any] = [None if one is None else one.cpu() for one in rest]
        return ExplainedBatch(maps, *columns)

    @classmethod
    def joined(cls, parts: Sequence[ExplainedBatch]) -> ExplainedBatch:
        """Return one batch of several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        maps = {
            name: EncodedMaps.joined([one.maps[name] for one in parts]) for name in parts[0].maps
        }
        return cls(maps, *(_joined(parts, of) for of in ("finite", *_COLUMNS)))


_COLUMNS = ("scores", "targets", "predicted")


def _joined(parts: Sequence[ExplainedBatch], what: str) -> Any:
    found = [getattr(one, what) for one in parts]
    return None if found[0] is None else torch.cat(found)


@dataclass(frozen=True, eq=False)
class BatchExplainer:
    """Explains batches of pictures, each as if it were alone.

    Attributes:
        plan: the methods and the model.
        settings: what to compute.
        columns: the targets.
        activation: what turns the model's scores into probabilities.
    """

    plan: ExplainPlan
    settings: BulkSettings
    columns: TargetColumns
    activation: Activation

    def explained(self, inputs: Tensor, ids: Sequence[str], labels: Labels) -> ExplainedBatch:
        """Return what is stored of the pictures `(N, C, H, W)` with these ids and labels."""
        with drawing_from(self._seed(ids[0]), inputs.device):
            first = self._shared(inputs, labels)
        results = {**first.results, **self._drawn(inputs, ids, labels, first)}
        return self._encoded(self._in_order(results), first, inputs)

    def _shared(self, inputs: Tensor, labels: Labels) -> _First:
        """Run the methods that need no seed, and find out what is explained."""
        names, target = (
            self.settings.shared,
            self.columns.target(labels, lambda: self._scores(inputs)),
        )
        if not names:
            return _First.of_output(self._scores(inputs), target)
        found = self.plan.attribute(
            inputs, target, self._output, self.activation, names, self.settings.options
        )
        return _First(found.attributions, found.output, found.scores, found.targets)

    def _drawn(
        self, inputs: Tensor, ids: Sequence[str], labels: Labels, first: _First
    ) -> dict[str, Any]:
        """Run the methods that draw random numbers, picture by picture."""
        if not self.settings.drawing:
            return {}
        rows = []
        for row, one in enumerate(ids):
            own = slice(row, row + 1)
            target = self.columns.fixed(labels[own], first.output[own])
            rows.append(self._drawn_for(inputs[own], target, self._seed(one)))
        return {name: torch.cat([one[name] for one in rows]) for name in rows[0]}

    def _drawn_for(self, inputs: Tensor, target: Any, seed: int) -> dict[str, Tensor]:
        names, options = self.settings.drawing, self.settings.options
        with drawing_from(seed, inputs.device):
            found = self.plan.attribute(
                inputs, target, self._output, self.activation, names, options, seed
            )
        return dict(_flattened(found.attributions))

    def _in_order(self, results: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the results by array, in the order of the methods."""
        order = self.settings.explain.names
        found = sorted(_flattened(results), key=lambda one: order.index(one[0].partition("/")[0]))
        return dict(found)

    def _encoded(
        self, results: Mapping[str, Tensor], first: _First, inputs: Tensor
    ) -> ExplainedBatch:
        finite = torch.isfinite(first.scores).all(1)
        maps, encoding = {}, ENCODINGS[self.settings.dtype]
        for name, values in results.items():
            _check_rows(name, values, first.scores)
            whole = self.settings.form.of(values, name, inputs.shape[2:])
            finite = finite & torch.isfinite(whole).flatten(1).all(1)
            maps[name] = encoding.encode(whole)
        return ExplainedBatch(maps, finite, first.scores, first.targets, first.predicted)

    def _scores(self, inputs: Tensor) -> Tensor:
        with gradients(False):
            return self._output(self.plan.loaded.model(inputs))

    def _output(self, output: Any) -> Tensor:
        reader = self.plan.reader
        return reader.raw(output) if self.columns.has_functions else reader.scores(output)

    def _seed(self, one: str) -> int:
        return seed_of(self.settings.seed, one)


@dataclass(frozen=True, eq=False)
class _First:
    """What the first forward found."""

    results: Mapping[str, Any]
    output: Tensor
    scores: Tensor
    targets: Tensor | None

    @classmethod
    def of_output(cls, output: Tensor, target: Any) -> _First:
        """Return what is explained, where no method has run a forward that tells."""
        singles, _ = each(target, output)
        scores = torch.stack([select_scores(output, one) for one in singles], 1)
        return cls({}, output, scores, _classes(singles, len(output)))

    @property
    def predicted(self) -> Tensor | None:
        return self.output.detach().argmax(1) if self.output.dim() == 2 else None


def _classes(targets: Sequence[Any], count: int) -> Tensor | None:
    """Return the classes of single targets as columns `(N, T)`, if all of them are classes."""
    if any(map(callable, targets)):
        return None
    columns = [torch.as_tensor(one).cpu().reshape(-1).expand(count) for one in targets]
    return torch.stack(columns, 1)


def _flattened(results: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in results.items():
        yield from flat(name, value)


def _check_rows(name: str, values: Tensor, scores: Tensor) -> None:
    if values.shape[:2] != scores.shape:
        raise ShapeError(
            f"{name} returns the shape {tuple(values.shape)} for {len(scores)} pictures and"
            f" {scores.shape[1]} targets; a run needs methods with a map for each of them"
        )


def seed_of(seed: int, one: str) -> int:
    """Return the seed of a picture, which its id and the seed of the run determine.

    >>> seed_of(0, "cat/1.png") == seed_of(0, "cat/1.png") != seed_of(0, "cat/2.png")
    True
    """
    return int.from_bytes(blake2b(f"{seed}/{one}".encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Let PyTorch's own generators draw from a seed, and put them back afterwards."""
    with undone() as undo:
        for generator in _generators(device):
            undo.later(partial(generator.set_state, generator.get_state()))
            generator.manual_seed(seed)
        yield


def _generators(device: torch.device) -> list[torch.Generator]:
    # Not `torch.manual_seed`: it remembers each call for a GPU that is never used.
    own = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
    return [torch.default_generator, *own]
