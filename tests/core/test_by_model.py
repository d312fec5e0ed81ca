"""Values of models, which live no longer than these."""

from __future__ import annotations

import gc

from torch import nn

from torchattr.core.by_model import ByModel


class Unreferable:
    __slots__ = ()

    def __call__(self) -> None: ...


def test_a_value_lives_no_longer_than_its_model() -> None:
    values, model = ByModel[str](), nn.Linear(2, 3)
    assert values.get(model) is None
    assert model not in values
    values[model] = "first"
    assert values[model] == values.setdefault(model, "second") == "first"
    assert values.values() == ["first"]
    del model
    gc.collect()
    assert len(values) == 0


def test_methods_of_a_model_have_its_value() -> None:
    values, model = ByModel[str](), nn.Linear(2, 3)
    values[model.forward] = "its"
    assert values.get(model) == values.get(model.extra_repr) == "its"


def test_nothing_is_remembered_of_what_cannot_be_referred_to() -> None:
    values, model = ByModel[str](), Unreferable()
    values[model] = "lost"
    assert values.get(model) is None
    assert values.setdefault(model, "given") == "given"
    assert model not in values
