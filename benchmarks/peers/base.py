"""The interface of a compared library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor

from benchmarks.tasks import Run, Task, quiet

EXACT = 1e-9
"""Largest allowed difference from the float64 reference, relative to its largest magnitude."""


class Library(ABC):
    """One library, used as its documentation says. Final classes only.

    Whatever a user does only once is not timed: copying the model, making the
    method's object, registering hooks.
    """

    name: ClassVar[str]
    """Its distribution on PyPI."""

    one_image_methods: ClassVar[frozenset[str]] = frozenset()
    """Methods that explain only the first image of a batch."""

    @property
    @abstractmethod
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        """For each method that it has, a function that makes the run of a task."""

    def run(self, task: Task) -> Run:
        """Return a run of the task; it may modify the task's model."""
        return quiet(self.makers[task.method](task))

    def refusal(self, method: str, batch: int) -> str | None:
        """Return why a batch cannot be explained, or `None`."""
        return "one image at a time" if batch > 1 and method in self.one_image_methods else None

    def in_own_form(self, task: Task, right: Tensor) -> Tensor:
        """Convert the correct result to the form in which this library returns it."""
        return right

    def allowed(self, method: str) -> float:
        """Return the largest allowed difference."""
        return EXACT
