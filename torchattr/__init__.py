"""Attribution for PyTorch vision models: right for every spelling, in the memory of inference.

The public names, and PyTorch with them, are imported at the first access: PyTorch takes seconds
to import, which `torchattr --help` need not wait for. `__version__` imports neither.
"""

from __future__ import annotations

import importlib as _importlib
import sys as _sys
import typing as _typing

if _typing.TYPE_CHECKING:
    from torchattr._public import *  # noqa: F403 - all the names of that module are public

    __version__: str


def __getattr__(name: str) -> object:
    if name == "__version__":
        return str(_importlib.import_module("torchattr.core.versions").own_version())
    public = {} if name.startswith("__") and name != "__all__" else _public_names()
    globals().update(public)
    if name == "__all__":
        return list(public)
    if name not in public:
        said = f"module {__name__!r} has no attribute {name!r}{_elsewhere(name)}"
        raise AttributeError(said, name=name, obj=_sys.modules[__name__])
    return public[name]


def _elsewhere(name: str) -> str:
    """Return which package has a name, of those that are imported anyway."""
    for package in ("evaluate", "models", "show", "inspect", "methods", "layers", "bulk"):
        face = _sys.modules.get(f"{__name__}.{package}")
        is_module = isinstance(getattr(face, name, _sys), type(_sys))
        if not name.startswith("_") and not is_module:
            return f"; {__name__}.{package} has it"
    return ""


def __dir__() -> list[str]:
    dunders = [name for name in globals() if name.startswith("__") and name.endswith("__")]
    return sorted({*dunders, "__all__", "__version__", *_public_names()})


def _public_names() -> dict[str, object]:
    names = vars(_importlib.import_module("torchattr._public"))
    return {name: value for name, value in names.items() if not name.startswith("_")}
