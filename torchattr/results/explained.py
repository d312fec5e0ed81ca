"""The interface that results are made from: the fields of an explanation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from typing import Any, ClassVar, Protocol

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.errors import Message
from torchattr.layers import Coverage
from torchattr.results.appearance import Appearance


class Explained(Protocol):
    """A dataclass with the fields of :class:`torchattr.explanation.Explanation`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def attributions(self) -> Mapping[str, Any]: ...

    @property
    def targets(self) -> Tensor | None: ...

    @property
    def scores(self) -> Tensor: ...

    @property
    def output(self) -> Tensor: ...

    @property
    def inputs(self) -> Inputs: ...

    @property
    def coverage(self) -> Coverage: ...

    @property
    def notes(self) -> Mapping[str, str]: ...

    @property
    def refused(self) -> Mapping[str, Message]: ...

    @property
    def class_names(self) -> Sequence[str] | None: ...

    @property
    def appearance(self) -> Appearance | None: ...

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...
