"""What is remembered of models, for as long as they live."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class ByModel(Generic[T]):
    """One value for each model, a module or a function; of others, nothing is remembered.

    A bound method is a new object each time, so what it is bound to stands for it. Objects that
    cannot be referred to weakly have no value.

    >>> from torch import nn
    >>> sizes, model = ByModel[int](), nn.Linear(2, 3)
    >>> sizes[model.forward] = 3
    >>> sizes.get(model), sizes.get(nn.Linear(2, 3))
    (3, None)
    """

    def __init__(self) -> None:
        self._values: WeakKeyDictionary[Any, T] = WeakKeyDictionary()

    def get(self, model: Any) -> T | None:
        """Return the value of a model, if it has one."""
        with suppress(TypeError):
            return self._values.get(_owner(model))
        return None

    def setdefault(self, model: Any, value: T) -> T:
        """Return the value of a model, which is `value` if it had none."""
        with suppress(TypeError):
            return self._values.setdefault(_owner(model), value)
        return value

    def values(self) -> list[T]:
        """Return the values of all models."""
        return list(self._values.values())

    def __getitem__(self, model: Any) -> T:
        return self._values[_owner(model)]

    def __setitem__(self, model: Any, value: T) -> None:
        with suppress(TypeError):
            self._values[_owner(model)] = value

    def __contains__(self, model: object) -> bool:
        return self.get(model) is not None

    def __len__(self) -> int:
        return len(self._values)


def _owner(model: Any) -> Any:
    return getattr(model, "__self__", model)
