"""Triton's environment, for its tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Triton as users run it: it compiles."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    return monkeypatch
