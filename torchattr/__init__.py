"""Attribution for PyTorch vision models: right for every spelling, in the memory of inference.

The public names are imported, and PyTorch with them, when the first of them is used: PyTorch takes
seconds to import, which `torchattr --help` need not wait for.
"""

from __future__ import annotations

import importlib
import typing

if typing.TYPE_CHECKING:
    from torchattr._public import *  # noqa: F403 - all the names of that module are public


def __getattr__(name: str) -> object:
    public = {} if name.startswith("__") and name != "__all__" else _public_names()
    globals().update(public)
    if name == "__all__":
        return list(public)
    if name not in public:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return public[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_public_names()})


def _public_names() -> dict[str, object]:
    found = vars(importlib.import_module("torchattr._public"))
    return {name: value for name, value in found.items() if not name.startswith("_")}
