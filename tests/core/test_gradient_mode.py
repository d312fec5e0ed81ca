"""Gradients are enabled and disabled for a block, whatever mode it is in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchattr.core.gradient_mode import gradients, set_gradients
from torchattr.core.undoing import undone

MODES = {
    "plain": torch.enable_grad,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


def state() -> tuple[bool, bool]:
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_the_block_has_the_mode_asked_for_and_the_caller_keeps_its_own(
    mode: Any, enabled: bool
) -> None:
    with MODES[mode]():
        before = state()
        with gradients(enabled):
            assert state() == (enabled, False)
            assert not torch.ones(1).is_inference()
        assert state() == before
    assert state() == (True, False)


def test_blocks_nest() -> None:
    with torch.inference_mode(), gradients(), gradients(False), gradients():
        x = torch.ones(1, requires_grad=True)
        assert (x * 2).requires_grad


def test_the_mode_returns_after_an_error() -> None:
    with torch.inference_mode():
        with pytest.raises(KeyError), gradients():
            raise KeyError
        assert state() == (False, True)


def test_one_undo_restores_what_several_changes_found() -> None:
    with torch.no_grad():
        with undone() as undo:
            set_gradients(undo, True)
            set_gradients(undo, False)
            set_gradients(undo, True)
            assert state() == (True, False)
        assert state() == (False, False)
