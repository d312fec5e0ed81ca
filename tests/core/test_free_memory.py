"""The free memory of a device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from torchattr.core import free_memory
from torchattr.core.free_memory import free_bytes

CPU = torch.device("cpu")


def test_free_memory_is_known_or_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes(CPU) > 2**20
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert free_bytes(CPU) > 2**20
    monkeypatch.setattr(free_memory.os, "sysconf_names", {})
    assert free_bytes(CPU) == free_memory.UNKNOWN_FREE_BYTES
    assert free_bytes(torch.device("meta")) == free_memory.UNKNOWN_FREE_BYTES
