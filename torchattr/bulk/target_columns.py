"""What is explained of each picture of a data set: the same number of targets for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from torchattr.core.output_target import OutputTarget
from torchattr.core.targets import Classes, TopK, bundle
from torchattr.errors import TargetError
from torchattr.runs import Index, Top, parse_targets

LABEL = "label"
"""The target that is the picture's own label."""

Labels: TypeAlias = Sequence["int | None"]


class _Columns(ABC):
    """One requested target, which is one column or several."""

    needs_scores = False
    needs_labels = False

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """A name for each column."""

    @abstractmethod
    def of(self, labels: Labels, scores: Tensor | None) -> list[Any]:
        """Return a target for each column, given the labels and scores `(N, K)` of a batch."""

    def check(self, probabilities: Tensor) -> None:
        """Raise `TargetError` if a model that answers with these, `(K,)`, has no such class."""
        return


@dataclass(frozen=True)
class _Fixed(_Columns):
    """The same class, or function of the output, for every picture."""

    name: str
    target: Any

    @property
    def names(self) -> list[str]:
        return [self.name]

    def of(self, labels: Labels, scores: Tensor | None) -> list[Any]:
        return [self.target]

    def check(self, probabilities: Tensor) -> None:
        if isinstance(self.target, int):
            Index(self.target).classes(probabilities)


@dataclass(frozen=True)
class _OwnLabel(_Columns):
    needs_labels = True

    @property
    def names(self) -> list[str]:
        return [LABEL]

    def of(self, labels: Labels, scores: Tensor | None) -> list[Any]:
        return [list(labels)]


@dataclass(frozen=True)
class _BestClasses(_Columns):
    k: int
    needs_scores = True

    @property
    def names(self) -> list[str]:
        return [f"top {place + 1}" for place in range(self.k)]

    def of(self, labels: Labels, scores: Tensor | None) -> list[Any]:
        best = [] if scores is None else scores.detach().topk(self.k, dim=1).indices.cpu().unbind(1)
        return list(best)

    def check(self, probabilities: Tensor) -> None:
        Top(self.k).classes(probabilities)


@dataclass(frozen=True)
class TargetColumns:
    """The targets of a run, as columns of its arrays.

    >>> columns = TargetColumns.of(["top2", "tabby", "label"], ["tiger cat", "tabby"])
    >>> columns.names
    ['top 1', 'top 2', 'tabby', 'label']
    """

    columns: tuple[_Columns, ...]

    @classmethod
    def of(
        cls, wanted: Sequence[str | int | OutputTarget], class_names: Sequence[str] | None
    ) -> TargetColumns:
        """Parse targets: an index or name of a class, `top3`, `label`, or a function of the output.

        Raises:
            TargetError: none, an unknown one, or `present`, of which pictures have different
                numbers.
        """
        if not wanted:
            raise TargetError("targets is empty; name at least one, such as top1 or label")
        return cls(tuple(_columns(one, class_names) for one in wanted))

    @property
    def names(self) -> list[str]:
        """A name for each column."""
        return [name for one in self.columns for name in one.names]

    @property
    def needs_labels(self) -> bool:
        return any(one.needs_labels for one in self.columns)

    @property
    def has_functions(self) -> bool:
        """Whether some are functions of the output, which may read more of it than its scores."""
        return any(isinstance(one, _Fixed) and callable(one.target) for one in self.columns)

    def check(self, probabilities: Tensor) -> None:
        """Check that the model, which answers a picture with these, `(K,)`, has the classes.

        Raises:
            TargetError: it has too few.
        """
        for one in self.columns:
            one.check(probabilities)

    def target(self, labels: Labels, scores: Callable[[], Tensor]) -> TopK | Classes:
        """Return what to explain of a batch.

        Args:
            labels: those of its pictures.
            scores: returns its scores `(N, K)`; called only if they must be known beforehand.
        """
        if len(self.columns) == 1 and isinstance(self.columns[0], _BestClasses):
            return TopK(self.columns[0].k)
        needed = any(one.needs_scores for one in self.columns)
        return self.fixed(labels, scores() if needed else None)

    def fixed(self, labels: Labels, scores: Tensor | None) -> Classes:
        """Return what to explain of a batch, where the best classes are those of given scores."""
        return bundle(target for one in self.columns for target in one.of(labels, scores))


def _columns(wanted: Any, class_names: Sequence[str] | None) -> _Columns:
    if isinstance(wanted, OutputTarget):
        return _Fixed(repr(wanted), wanted)
    if str(wanted).strip().casefold() == LABEL:
        return _OwnLabel()
    allowed = "a name, an index, top3, or label"
    (selector,) = parse_targets([str(wanted)], class_names, allowed)
    if isinstance(selector, Index):
        return _Fixed(_name(selector.index, class_names), selector.index)
    if isinstance(selector, Top) and selector.k > 0:
        return _BestClasses(selector.k)
    raise TargetError(
        f"target {wanted!r} has another number of classes for each picture, but the arrays of a run"
        " have the same for all; name classes, or ask for top1, top3, ... or label"
    )


def _name(index: int, class_names: Sequence[str] | None) -> str:
    known = class_names is not None and 0 <= index < len(class_names)
    return class_names[index] if class_names is not None and known else f"class {index}"
