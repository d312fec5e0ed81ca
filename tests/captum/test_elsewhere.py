"""Every spelling of an import of what Captum has and this package has not says what to do."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

import torchattr.captum as ours
from torchattr.captum.elsewhere import ELSEWHERE
from torchattr.errors import PackageError


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("module", ["torchattr.captum", "torchattr.captum.attr"])
def test_names_that_are_elsewhere_say_where(module: str, name: str) -> None:
    with pytest.raises(ImportError, match=rf"{name} is not in .*from captum[.\w]* import {name}$"):
        exec(f"from {module} import {name}")
    assert not hasattr(importlib.import_module(module), name)


SPELLINGS = {
    "from torchattr.captum.influence import TracInCP": "influence",
    "from torchattr.captum.influence._core.tracincp import TracInCP": "influence",
    "import torchattr.captum.influence": "influence",
    "import torchattr.captum.module": "module",
    "from torchattr.captum.module import BinaryConcreteStochasticGates": "module",
    "from torchattr.captum.insights import AttributionVisualizer, Batch": "insights",
    "from torchattr.captum.insights.attr_vis.features import ImageFeature": "insights",
    "from torchattr.captum.log import log_usage": "log",
    "from torchattr.captum.testing.helpers.basic_models import BasicModel": "testing",
    "from torchattr.captum.attr import LLMAttribution": "LLMAttribution",
    "from torchattr.captum.attr import Saliency, TextTokenInput": "TextTokenInput",
    "from torchattr.captum.robust import TracInCP": "TracInCP",
}


@pytest.mark.parametrize("statement", SPELLINGS)
def test_imports_of_what_is_elsewhere_say_the_same_sentence(statement: str) -> None:
    name = SPELLINGS[statement]
    place, why = ELSEWHERE[name]
    with pytest.raises(PackageError) as caught:
        exec(statement)
    said = str(caught.value)
    assert said.startswith(f"{name} is not in torchattr.captum")
    assert said.endswith(f": {why}; take it from Captum: from {place} import {name}")


@pytest.mark.parametrize(
    ("statement", "module"),
    [
        ("from torchattr.captum._utils.models.linear_model import SkLearnLasso", "_utils"),
        ("from torchattr.captum import _utils", "_utils"),
        ("from torchattr.captum.attr._core.lime import Lime", "attr._core"),
        ("import torchattr.captum.attr._models.base", "attr._models"),
        ("from torchattr.captum.attr import _utils", "attr._utils"),
        ("from torchattr.captum.attr._utils import visualization", "attr._utils"),
        ("from torchattr.captum.robust._core.fgsm import FGSM", "robust._core"),
        ("from torchattr.captum.metrics._core.infidelity import infidelity", "metrics._core"),
        ("from torchattr.captum.concept._utils.common import concepts_to_str", "concept._utils"),
    ],
)
def test_internal_modules_say_where_the_public_names_are(statement: str, module: str) -> None:
    with pytest.raises(PackageError, match=rf"^{module} is not .* from Captum: captum.{module}$"):
        exec(statement)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from torchattr.captum import Saliencey", "did you mean Saliency"),
        ("from torchattr.captum.attr import Saliencey", "did you mean Saliency"),
        ("from torchattr.captum import qqqqqq", "lists its names"),
        ("from torchattr.captum.robust import Foo", "torchattr.captum.robust has no 'Foo'"),
        ("from torchattr.captum.metrics import Infidelity", "did you mean infidelity"),
        ("from torchattr.captum.concept import Saliency", "take it from torchattr.captum, which"),
    ],
)
def test_unknown_names_say_what_is_close(statement: str, said: str) -> None:
    with pytest.raises(PackageError, match=said):
        exec(statement)


def test_looks_for_a_name_that_are_no_imports_find_none() -> None:
    with pytest.raises(AttributeError, match="did you mean GuidedGradCam"):
        _ = ours.GuidedGradCAM
    with pytest.raises(AttributeError, match=r"from captum\.attr import LLMAttr"):
        _ = ours.attr.LLMAttribution
    for module in (ours, ours.attr, ours.robust, ours.metrics, ours.concept):
        assert not hasattr(module, "LLMAttribution")
        assert not hasattr(module, "__path_of_nothing__")


@pytest.mark.parametrize("name", ["qqqqqq", "attr.Saliency", "attr.qqqqqq", "__main__"])
def test_modules_that_captum_has_not_either_are_left_to_python(name: str) -> None:
    assert importlib.util.find_spec(f"torchattr.captum.{name}") is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"torchattr.captum.{name}")
