"""Checks around every test of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattr.core.outputs import select_output
from torchattr.core.undoing import undone
from torchattr.layers import Trace
from torchattr.layers.guards import run_eagerly


@pytest.fixture
def outputs_are_the_models_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that each intercepted forward returns what the model returns by itself."""
    init = Trace.__init__

    def comparing(
        self: Trace,
        model: Any,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any] = (),
        **options: Any,
    ) -> None:
        before = [one.detach().clone() for one in inputs]
        state = torch.get_rng_state()
        init(self, model, inputs, arguments, **options)
        torch.set_rng_state(state)
        with torch.inference_mode(False), torch.no_grad(), undone() as undo:
            # A compiled model runs as it is written: PyTorch's compilers are not what is compared.
            # Not by `torch.compiler.set_stance`: of two threads, the one that leaves last would
            # restore the stance of the other.
            run_eagerly(undo)
            expected = select_output(model(*before, *arguments), options.get("key"))
        found = self.output.detach()
        assert found.dtype == expected.dtype
        # PyTorch itself takes other paths, which round differently, where no graph is made.
        rounding = 64 * torch.finfo(found.dtype).eps if found.is_floating_point() else 0
        torch.testing.assert_close(found, expected, rtol=rounding, atol=rounding, equal_nan=True)

    monkeypatch.setattr(Trace, "__init__", comparing)
