"""What the benchmarks need to know of a library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor

from benchmarks.tasks import Run, Task, quiet

EXACT = 1e-9
"""The largest difference from the reference in float64, of the largest magnitude."""


class Library(ABC):
    """One library, used as its documentation says. Final classes only.

    Everything that a user does once is done outside of the clock: copying the model, making the
    method's object, registering hooks.
    """

    name: ClassVar[str]
    """Its distribution on PyPI."""

    one_image_methods: ClassVar[frozenset[str]] = frozenset()
    """Methods that explain the first image of a batch only."""

    @property
    @abstractmethod
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        """For each method that it has, what makes a run of a task."""

    def run(self, task: Task) -> Run:
        """Return a run of the task, whose model it may change."""
        return quiet(self.makers[task.method](task))

    def refusal(self, method: str, batch: int) -> str | None:
        """Return why a batch cannot be explained, if so."""
        return "one image at a time" if batch > 1 and method in self.one_image_methods else None

    def in_own_form(self, task: Task, right: Tensor) -> Tensor:
        """Bring the right result into the form in which this library gives it."""
        return right

    def allowed(self, method: str) -> float:
        """Return the largest difference at which the result is right."""
        return EXACT
