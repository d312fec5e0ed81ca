"""The names that Captum has and this package has not, each with the reason."""

from __future__ import annotations

import sys
from typing import NoReturn

from torchattr.core.registry import closest
from torchattr.errors import PackageError

_TEXT = "it is for text and language models, and torchattr is for vision"
_INFLUENCE = "it is about the influence of training examples, not of inputs"
_GATES = "it is a layer that selects features during training, not an explanation"
_INSIGHTS = (
    "it is a viewer that Captum had up to 0.8, and torchattr has its own (the command torchattr"
    " view)"
)
_LOG = "it records how Captum's own functions are used"
_TESTING = "it is what Captum's own tests are made of"

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
        ("BinaryConcreteStochasticGates", "GaussianStochasticGates", "StochasticGatesBase"),
        ("captum.module", _GATES),
    ),
    "AttributionVisualizer": ("captum.insights", _INSIGHTS),
    "influence": ("captum", _INFLUENCE),
    "insights": ("captum", _INSIGHTS),
    "log": ("captum", _LOG),
    "module": ("captum", _GATES),
    "testing": ("captum", _TESTING),
}
"""For each name the module of Captum that has it, and why it is not here."""


_PACKAGE = __name__.rpartition(".")[0]


def refuse(name: str, module: str = _PACKAGE) -> NoReturn:
    """Raise for a name that a module has not; one that begins with `_` is always unknown.

    It is called by the `__getattr__` of the module, and that by what looks for the name. A module
    without submodules needs an empty `__path__` for imports of a name to be told from other looks.

    Args:
        name: the name.
        module: the module, which is the package under Captum's names or one inside it.

    Raises:
        PackageError: an import of it.
        AttributeError: any other access.
    """
    message = f"module {module!r} has no attribute {name!r}"
    if not name.startswith("_"):
        message = _sentence(name, module)
        if _is_import():
            raise PackageError(message)
    raise AttributeError(message)


class AbsentModules:
    """Finds no module, but says of those that Captum has and this package has not why.

    Python asks it last, for what is nowhere else.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Return nothing, which is Python's word for "not here".

        Raises:
            PackageError: Captum has a module of this name.
        """
        inside = fullname.removeprefix(f"{_PACKAGE}.")
        if inside == fullname:
            return
        if inside in ELSEWHERE:
            raise PackageError(_sentence(inside, _PACKAGE))
        last = inside.rpartition(".")[2]
        if last.startswith("_") and not last.startswith("__"):
            raise PackageError(
                f"{inside} is not in {_PACKAGE}: it is internal to Captum; import what is public"
                f" from {_PACKAGE}, which has all of it, and take what is not from Captum:"
                f" captum.{inside}"
            )


def _sentence(name: str, module: str) -> str:
    if name in ELSEWHERE:
        place, why = ELSEWHERE[name]
        way_out = f"take it from Captum: from {place} import {name}"
        return f"{name} is not in {module}: {why}; {way_out}"
    public = [one for one in vars(sys.modules[_PACKAGE]) if not one.startswith("_")]
    if name in public:
        return f"{module} has no {name!r}; take it from {_PACKAGE}, which has all of Captum's names"
    near = closest(name, [*public, *ELSEWHERE], cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else f"dir({_PACKAGE}) lists its names"
    return f"{module} has no {name!r}; {hint}"


def _is_import() -> bool:
    """Whether the module's `__getattr__` was called for `from torchattr.captum... import`.

    Python replaces the text of an AttributeError then, and what asks only whether there is such an
    attribute needs one.
    """
    return sys._getframe(3).f_code.co_filename == "<frozen importlib._bootstrap>"
