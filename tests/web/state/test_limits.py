"""Every limit is documented, and can be changed independently."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from torchattr.web import Limits


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_limits_are_documented_and_independent(name: str) -> None:
    assert f"{name}: " in (Limits.__doc__ or "")
    changed = replace(Limits(), **{name: 7})
    others = [field.name for field in fields(Limits) if field.name != name]
    assert getattr(changed, name) == 7
    assert all(getattr(changed, other) == getattr(Limits(), other) for other in others)
