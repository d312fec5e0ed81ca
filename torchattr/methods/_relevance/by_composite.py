"""What the methods share whose composite the user chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.types import Forward, OutputKey
from torchattr.errors import InputError
from torchattr.methods._relevance.composites import CompositeChoice, RuleSettings
from torchattr.methods._relevance.relevance import RelevancePropagation, Start


class RelevanceByComposite(RelevancePropagation):
    """A method that passes a score down by a composite of the user's choice.

    Args, and what is raised, as for :class:`LRP`.
    """

    def __init__(
        self,
        model: Forward,
        composite: CompositeChoice = "epsilon_plus",
        *,
        zero_params: str | Sequence[str] | None = None,
        epsilon: float = 1e-6,
        gamma: float = 0.25,
        low: Tensor | float | None = None,
        high: Tensor | float | None = None,
        start: Start = "score",
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        settings = RuleSettings(epsilon, gamma, _leaves_out_bias(zero_params), low, high)
        super().__init__(
            model, composite, settings, start=start, rules=rules, output=output, strict=strict
        )
        self._chosen = {
            "composite": composite,
            "zero_params": zero_params,
            "epsilon": None if epsilon == 1e-6 else epsilon,
            "gamma": None if gamma == 0.25 else gamma,
            "low": low,
            "high": high,
            "start": start,
        }

    def _settings(self) -> dict[str, Any]:
        return {**self._chosen, **super()._settings()}


def _leaves_out_bias(zero_params: str | Sequence[str] | None) -> bool:
    """Whether biases are left out of denominators.

    Raises:
        InputError: other parameters than the bias are named.
    """
    if zero_params is None or zero_params == []:
        return False
    if zero_params in ("bias", ["bias"], ("bias",)):
        return True
    raise InputError(f"zero_params must be 'bias', ['bias'] or None, got {zero_params!r}")
