"""What a model answers to a picture, as one score for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr._types import Activation, OutputKey
from torchattr.errors import OutputError
from torchattr.models import LoadedModel
from torchattr.outputs import select_output

SEGMENTATION = (
    "this model segments: the score of a class is the sum of its logits over the pixels that it"
    " wins, its percentage their share of the picture"
)


@dataclass(frozen=True, eq=False)
class Answer:
    """The probabilities `(K,)` of one picture's classes, as the model means them."""

    probabilities: Tensor
    is_share: bool = False

    @property
    def bounded(self) -> bool:
        """Whether these are probabilities, in 0..1."""
        return bool(((self.probabilities >= 0) & (self.probabilities <= 1)).all())


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads scores `(N, K)` from whatever a model returns.

    A segmentation, `(N, K, H, W)`, gives for each class the sum of its logits over the pixels that
    it wins.

    Args:
        loaded: the model.
        key: the entry of its output; `None` for the only one, or the one called `out`.
    """

    loaded: LoadedModel
    key: OutputKey = None

    def scores(self, output: Any) -> Tensor:
        """Give the scores `(N, K)` in an output of the model; differentiable."""
        raw = self._raw(output)
        return (raw * _wins(raw)).sum((2, 3)) if raw.dim() == 4 else raw

    def answer(self, inputs: Tensor) -> Answer:
        """Run the model for one picture `(1, C, H, W)`.

        Raises:
            OutputError: scores of another shape, or none that are finite.
        """
        with torch.no_grad():
            raw = self._raw(self.loaded.model(inputs))
            if not raw.isfinite().all():
                raise OutputError(
                    f"the scores of {self.loaded.name} hold NaN or infinite values, so nothing can"
                    " be explained; look at its weights and its transform"
                )
            if raw.dim() == 4:
                return Answer(_wins(raw).mean((2, 3))[0].cpu(), is_share=True)
            return Answer(self.loaded.probabilities(raw)[0].float().cpu())

    def activation(self, answer: Answer) -> Activation:
        """Say what makes probabilities of the scores; nothing does of a segmentation's sums."""
        return "none" if answer.is_share else self.loaded.activation

    def _raw(self, output: Any) -> Tensor:
        key = self.key
        if key is None and isinstance(output, Mapping) and "out" in output:
            key = "out"
        raw = select_output(output, key)
        if raw.dim() not in (2, 4):
            raise OutputError(
                f"{self.loaded.name} gives scores of the shape {tuple(raw.shape)}; needed are (N,"
                " classes) or, of a segmentation, (N, classes, height, width). Choose another"
                " entry with --output, or wrap the model in path/to/file.py:FUNCTION"
            )
        return raw


def _wins(raw: Tensor) -> Tensor:
    """Where each class has the highest score, as ones and zeros."""
    winners = raw.detach().argmax(1, keepdim=True)
    return torch.zeros_like(raw.detach()).scatter_(1, winners, 1.0)
