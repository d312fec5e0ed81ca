"""How the inputs and scores of a model are shown, without the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchattr.core.types import Activation
from torchattr.models import RANDOM, LoadedModel, Meaning, Transform, read_scores
from torchattr.results.display import Display


@dataclass(frozen=True, eq=False)
class Appearance:
    """What an explanation keeps of a :class:`torchattr.models.LoadedModel`, to show its results.

    name, transform: of the model.
    meaning: how its scores become probabilities (`LoadedModel.activation`).
    has_names: whether its classes have names.
    weights: what it was loaded with (`LoadedModel.weights`).

    >>> import torch
    >>> from torchattr.models import load_model
    >>> found = Appearance.of(load_model("demo", weights="random"))
    >>> found.caption
    'model: demo (random weights)'
    >>> found.probabilities(torch.tensor([[0.0, 2.0]]))
    (tensor([[0.5000, 0.8808]]), 'sigmoid')
    """

    name: str
    transform: Transform
    meaning: Meaning = "auto"
    has_names: bool = False
    weights: str | None = None

    @classmethod
    def of(cls, loaded: LoadedModel) -> Appearance:
        """Take it from a loaded model."""
        names = loaded.class_names is not None
        return cls(loaded.name, loaded.transform, loaded.activation, names, loaded.weights)

    @property
    def caption(self) -> str:
        """The model, and whether its weights are random."""
        return f"model: {model_title(self.name, self.weights)}"

    @property
    def record(self) -> dict[str, Any]:
        """The fields of a manifest record that say which model it was."""
        return {"model": self.name, **({} if self.weights is None else {"weights": self.weights})}

    @property
    def display(self) -> Display:
        """The inverse of the model's normalisation."""
        return Display.of(self.transform)

    def probabilities(self, output: Tensor) -> tuple[Tensor, Activation] | None:
        """Return the probabilities of scores `(N, K)` and what made them; `None` if not known.

        Scores that all lie in 0..1 may be probabilities already, so nothing is applied to them.
        """
        if output.dim() != 2:
            return None
        reading = read_scores(output, self.meaning, named=self.has_names)
        may_be_done = bool(((output >= 0) & (output <= 1)).all())
        if not reading.bounded or (reading.applied != "none" and may_be_done):
            return None
        return reading.shown(output), reading.kind


def model_title(name: str, weights: str | None) -> str:
    """Return the name of a model for a figure; random weights are not passed over."""
    return name + (" (random weights)" if weights == RANDOM else "")
