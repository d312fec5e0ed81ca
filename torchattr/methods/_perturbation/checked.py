"""Checks of the numbers that several methods take: counts, seeds, deviations, scores to fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.checked_numbers import checked_count as checked_count
from torchattr.core.checked_numbers import checked_number as checked_number
from torchattr.core.inputs import Inputs
from torchattr.errors import InputError, InputTypeError, OutputError, ShapeError


def checked_seed(value: Any, expected: str = "an int") -> int:
    """Return a seed of :mod:`random_numbers`: an int from 0 to 2**64 - 1.

    Raises:
        InputTypeError: not an int.
        InputError: out of this range.
    """
    if checked_count(value, "seed", 0, expected) >= 2**64:
        raise InputError(f"seed must be below 2**64, got {value}")
    return int(value)


def checked_seeds(seed: Any, inputs: Inputs) -> list[int]:
    """Return one seed for all examples, or one for each.

    Raises:
        InputTypeError: not an int, nor a sequence of ints.
        ShapeError: a sequence of another length than the batch.
        InputError: a seed out of range.
    """
    expected = "an int, or one for each example"
    if isinstance(seed, (np.ndarray, Tensor)) and seed.ndim == 1:
        seed = seed.tolist()
    if not isinstance(seed, Sequence) or isinstance(seed, str):
        return [checked_seed(seed, expected)]
    if len(seed) != inputs.batch_size:
        raise ShapeError(
            f"seed has {len(seed)} entries for a batch of {inputs.batch_size}; pass {expected}"
        )
    return [checked_seed(one, expected) for one in seed]


def checked_stdevs(stdevs: Any, inputs: Inputs) -> list[float]:
    """Return the standard deviation of the noise on each input.

    Raises:
        ShapeError: a wrong number of them.
        InputTypeError: no numbers.
        InputError: negative or infinite ones.
    """
    stdevs = plain_numbers(stdevs)
    spreads = list(stdevs) if isinstance(stdevs, (tuple, list)) else [stdevs] * len(inputs.tensors)
    if len(spreads) != len(inputs.tensors):
        raise ShapeError(
            f"stdevs has {len(spreads)} entries for {len(inputs.tensors)} inputs; pass a number,"
            " or one for each input"
        )
    for spread in spreads:
        if not isinstance(spread, (int, float)) or isinstance(spread, bool):
            raise InputTypeError(f"stdevs must hold numbers, got {type(spread).__name__}")
        if not 0 <= spread < float("inf"):
            raise InputError(
                f"stdevs must be finite and not negative, got {spread}; pass 0 for no noise"
            )
    return spreads


def check_fitted(scores: Tensor) -> None:
    """Check that scores can be fitted by a linear model.

    Raises:
        OutputError: NaN or infinite ones.
    """
    wrong = int((~torch.isfinite(scores)).sum())
    if wrong:
        raise OutputError(
            f"{wrong} of {scores.numel()} scores of coalitions are NaN or infinite, which no linear"
            " model fits; see what the model returns for the baselines"
        )
