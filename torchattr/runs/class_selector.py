"""Which classes of each picture are explained: indices, names, `top3`, `present`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from torchattr.errors import Hint, TargetError, WayOut
from torchattr.models import find_class, unknown_class

PRESENT = "present"
THRESHOLD = 0.5
_TOP = re.compile(r"top(\d+)", re.IGNORECASE)
_INDEX = re.compile(r"[+-]?\d+")


class ClassSelector(ABC):
    """One requested target."""

    @abstractmethod
    def classes(self, probabilities: Tensor) -> list[int]:
        """Return the class indices for the probabilities `(K,)` of one picture, best first."""


@dataclass(frozen=True)
class Index(ClassSelector):
    """A class by its index."""

    index: int

    def classes(self, probabilities: Tensor) -> list[int]:
        return self.classes_of(len(probabilities))

    def classes_of(self, count: int) -> list[int]:
        """Return the class of a model with this number of classes.

        Raises:
            TargetError: it is out of range.
        """
        if not 0 <= self.index < count:
            allowed = f"allowed are 0 to {count - 1}" if count else "allowed are 0 and more"
            raise TargetError(
                f"target {self.index} is out of range for a model with {count or 'some'} classes;"
                f" {allowed}"
            )
        return [self.index]


@dataclass(frozen=True)
class Top(ClassSelector):
    """The best `k` classes; with `clip`, fewer if the others have probability zero."""

    k: int
    clip: bool = False

    def classes(self, probabilities: Tensor) -> list[int]:
        count = min(self.k, max(1, int((probabilities != 0).sum()))) if self.clip else self.k
        if not 1 <= count <= len(probabilities):
            raise TargetError(
                f"target 'top{self.k}' asks for {self.k} of {len(probabilities)} classes;"
                f" allowed are top1 to top{len(probabilities)}"
            )
        best: list[int] = probabilities.topk(count).indices.tolist()
        return best


@dataclass(frozen=True)
class Present(ClassSelector):
    """The classes above one half, for independent (sigmoid) scores; at least the best one."""

    def classes(self, probabilities: Tensor) -> list[int]:
        count = max(1, int((probabilities > THRESHOLD).sum()))
        best: list[int] = probabilities.topk(count).indices.tolist()
        return best


def parse_targets(
    texts: Sequence[str],
    class_names: Sequence[str] | None,
    allowed: str = "a name, an index, top3, or present",
) -> list[ClassSelector]:
    """Parse targets: an index, a case-insensitive class name, `top3`, or `present`.

    Args:
        texts: the targets.
        class_names: one name for each output, or `None`.
        allowed: which forms the caller takes, for messages.

    Raises:
        TargetError: an unknown name, with the closest ones, or an ambiguous one.

    >>> parse_targets(["7", "Top2", "TABBY"], ["tiger cat", "tabby"])
    [Index(index=7), Top(k=2, clip=False), Index(index=1)]
    """
    return [_parse(text.strip(), class_names, allowed) for text in texts]


def chosen(
    wanted: Sequence[ClassSelector], probabilities: Tensor, bounded: bool = True
) -> list[int]:
    """Return the class indices of one picture in the requested order, without duplicates.

    bounded: whether these are probabilities; `present` is undefined for other values.

    Raises:
        TargetError: an index out of range, or `present` of values that are not probabilities.
    """
    if not bounded and any(isinstance(one, Present) for one in wanted):
        raise TargetError(
            "target 'present' needs probabilities, but the scores of this model are raw values",
            hint=Hint(
                "target",
                "present",
                ways_out=[
                    WayOut("declare the meaning of the scores with {setting}", "activation"),
                    WayOut("or name classes"),
                ],
            ),
        )
    listed = [index for one in wanted for index in one.classes(probabilities)]
    return list(dict.fromkeys(listed))


def _parse(text: str, names: Sequence[str] | None, allowed: str) -> ClassSelector:
    if _INDEX.fullmatch(text):
        return Index(int(text))
    named = find_class(text, names)
    if named is not None:
        return Index(named)
    if top := _TOP.fullmatch(text):
        return Top(int(top[1]))
    if text.casefold() == PRESENT:
        return Present()
    raise unknown_class(text, names, allowed)


def default_targets(activation: str) -> list[ClassSelector]:
    """Return the default targets: the classes that are present, or the best three."""
    return [Present()] if activation == "sigmoid" else [Top(3, clip=True)]
