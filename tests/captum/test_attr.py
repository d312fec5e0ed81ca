"""A script in which `captum` became `torchattr.captum` everywhere finds every name that is here."""

from __future__ import annotations

import importlib

import captum.attr
import captum.concept
import captum.metrics
import captum.robust
import pytest

import torchattr.captum
from torchattr.captum.elsewhere import ELSEWHERE

MODULES = (captum.attr, captum.concept, captum.metrics, captum.robust)
HERE = [(m.__name__, name) for m in MODULES for name in m.__all__ if name not in ELSEWHERE]


@pytest.mark.parametrize(("module", "name"), HERE)
def test_names_can_be_imported_where_captum_has_them(module: str, name: str) -> None:
    found: dict[str, object] = {}
    exec(f"from torchattr.{module} import {name}", found)
    assert found[name] is getattr(torchattr.captum, name)


def test_modules_are_attributes_of_the_package() -> None:
    for module in MODULES:
        name = f"torchattr.{module.__name__}"
        assert getattr(torchattr.captum, name.rpartition(".")[2]) is importlib.import_module(name)
    assert torchattr.captum.attr.visualization is torchattr.captum.visualization
