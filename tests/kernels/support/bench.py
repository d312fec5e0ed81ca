"""A backend as the contract tests see it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from torchattr.kernels import Backend, PatchOperations, Request
from torchattr.kernels.reference.patches import TorchPatches


@dataclass(frozen=True)
class Bench:
    """A backend, and the device of its tensors."""

    backend: Backend
    device: torch.device

    @property
    def patches(self) -> PatchOperations:
        """Its operations on patches, or else those of the reference."""
        return self.backend.patches or TorchPatches()

    @property
    def dtypes(self) -> list[torch.dtype]:
        """The dtypes that it serves; for the reference float64, too."""
        every = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
        return [dtype for dtype in every if not self.backend.refusals(Request(self.device, dtype))]
