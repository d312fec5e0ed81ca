"""The names that Quantus has and this package has not, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from torchattr.core.registry import closest

ELSEWHERE: dict[str, str] = {
    "BatchSufficiency": "it is Sufficiency under another name",
    "ModelParameterRandomisation": "it is called MPRT",
    "NonSensitivityTF": "torchattr is for PyTorch",
    "evaluate": "call the metrics in a loop, or torchattr.evaluate.robustness for several at once",
    "LeNet": "bring a model of your own, or torchattr.models.load_model()",
}
"""For each name why it is not here."""


def refuse(name: str, known: Iterable[str]) -> NoReturn:
    """Raise for a name that is not here; one that begins with `_` is always unknown.

    Raises:
        AttributeError: always.
    """
    if name.startswith("_"):
        raise AttributeError(f"module 'torchattr.quantus' has no attribute {name!r}")
    raise AttributeError(sentence(name, known))


def sentence(name: str, known: Iterable[str]) -> str:
    """Return what to tell who asks for a name that is not here."""
    if name in ELSEWHERE:
        return f"{name} is not in torchattr.quantus: {ELSEWHERE[name]}"
    near = closest(name, list(known), cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else "dir(torchattr.quantus) lists its names"
    return f"torchattr.quantus has no {name!r}; {hint}"
