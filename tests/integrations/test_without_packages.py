"""What the adapters say where the packages that they adapt to are not installed."""

import importlib
import sys

import pytest
import torch

from torchattr.errors import PackageError
from torchattr.integrations import FixedPanels

ADAPTER = "torchattr.integrations.lightning"


def test_a_missing_lightning_is_named_when_a_callback_is_made(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, ADAPTER, raising=False)
    adapter = importlib.import_module(ADAPTER)
    # The next one imports it anew.
    del sys.modules[ADAPTER]
    with pytest.raises(PackageError, match="pip install lightning"):
        adapter.PanelCallback(FixedPanels(torch.rand(1, 3, 4, 4)))
