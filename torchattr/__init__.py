"""Attribution for PyTorch vision models: right for every spelling, in the memory of inference."""

from __future__ import annotations

import importlib
import sys
import types
import typing

if typing.TYPE_CHECKING:
    from torchattr._public import *  # noqa: F403 - all the names of that module are public


class _Package(types.ModuleType):
    """A package that imports its public names, and PyTorch with them, when one is first used.

    PyTorch takes seconds to import, which `torchattr --help` need not wait for.
    """

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        public = _public_names()
        vars(self).update(public)
        if name == "__all__":
            return list(public)
        if name not in vars(self):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return vars(self)[name]

    def __setattr__(self, name: str, value: object) -> None:
        # Importing the module `explain` would put it where the function of that name belongs.
        namesake = getattr(value, name, None) if isinstance(value, types.ModuleType) else None
        is_function = isinstance(namesake, types.FunctionType)
        super().__setattr__(name, namesake if is_function else value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *_public_names()})


def _public_names() -> dict[str, object]:
    found = vars(importlib.import_module("torchattr._public"))
    return {name: value for name, value in found.items() if not name.startswith("_")}


sys.modules[__name__].__class__ = _Package
