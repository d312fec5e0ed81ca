"""The names that Captum has and this package has not, each with the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NoReturn

from torchattr.core.registry import closest
from torchattr.errors import PackageError

_TEXT = "it is for text and language models, and torchattr is for vision"
_INFLUENCE = "it is about the influence of training examples, not of inputs"
_GATES = "it is a layer that selects features during training, not an explanation"

ELSEWHERE: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "LLMAttribution",
            "LLMAttributionResult",
            "LLMGradientAttribution",
            "RemoteLLMAttribution",
            "RemoteLLMProvider",
            "VLLMProvider",
            "InterpretableEmbeddingBase",
            "TextTemplateInput",
            "TextTokenInput",
            "TokenReferenceBase",
            "configure_interpretable_embedding_layer",
            "remove_interpretable_embedding_layer",
        ),
        ("captum.attr", _TEXT),
    ),
    **dict.fromkeys(
        (
            "DataInfluence",
            "SimilarityInfluence",
            "TracInCPBase",
            "TracInCP",
            "TracInCPFast",
            "TracInCPFastRandProj",
            "ArnoldiInfluenceFunction",
            "NaiveInfluenceFunction",
        ),
        ("captum.influence", _INFLUENCE),
    ),
    **dict.fromkeys(
        ("BinaryConcreteStochasticGates", "GaussianStochasticGates"), ("captum.module", _GATES)
    ),
    "influence": ("captum", _INFLUENCE),
    "module": ("captum", _GATES),
}
"""For each name the module of Captum that has it, and why it is not here."""


def refuse(name: str, known: Iterable[str]) -> NoReturn:
    """Raise for a name that is not here; one that begins with `__` is always unknown.

    Args:
        name: the name.
        known: the names that are here.

    Raises:
        PackageError: an import of it.
        AttributeError: any other access.
    """
    message = f"module 'torchattr.captum' has no attribute {name!r}"
    if not name.startswith("_"):
        message = _sentence(name, known)
        if _is_import():
            raise PackageError(message)
    raise AttributeError(message)


def _sentence(name: str, known: Iterable[str]) -> str:
    if name in ELSEWHERE:
        module, why = ELSEWHERE[name]
        way_out = f"take it from Captum: from {module} import {name}"
        return f"{name} is not in torchattr.captum: {why}; {way_out}"
    public = [one for one in known if not one.startswith("_")]
    near = closest(name, [*public, *ELSEWHERE], cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else "dir(torchattr.captum) lists its names"
    return f"torchattr.captum has no {name!r}; {hint}"


def _is_import() -> bool:
    """Whether the module's `__getattr__` was called for `from torchattr.captum import ...`.

    Python replaces the text of an AttributeError then, and what asks only whether there is such an
    attribute needs one.
    """
    return sys._getframe(3).f_code.co_filename == "<frozen importlib._bootstrap>"
