"""The scores of a whole batch, with which those of its examples by themselves are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.targets import bundle, each
from torchattr.core.types import Forward, OutputKey
from torchattr.core.warn import warn
from torchattr.errors import TorchattrWarning
from torchattr.layers import Trace
from torchattr.methods._gradient.rows import require_rows
from torchattr.methods._gradient.target_reader import TargetReader


@dataclass(frozen=True)
class BatchScores:
    """The scores of a batch of several examples.

    Attributes:
        target: what is explained, with all choices made.
        scores: the score of each example, or the only one, for each target.
        largest: the largest magnitude of the model's output, by which rounding is judged.
        count: number of examples.
    """

    target: Any
    scores: Sequence[Tensor]
    largest: float
    count: int

    @classmethod
    def of(
        cls,
        model: Forward,
        inputs: Inputs,
        target: Any,
        arguments: Sequence[Any],
        key: OutputKey,
    ) -> BatchScores:
        """Run a batch without a graph.

        Args:
            model: the model.
            inputs: its inputs.
            target: what is explained, of any kind.
            arguments: its further arguments.
            key: which entry of its output holds the scores.

        Raises:
            TargetError: the target does not fit the output, or the output does not have one row for
                each example.
        """
        reader = TargetReader(model, target)
        trace = Trace(
            model, inputs.tensors, arguments, taps=reader.taps, key=key, differentiable=False
        )
        targets, several = each(target, trace.output)
        scores = [reader.read(trace, trace.output, one).detach() for one in targets]
        require_rows(scores, inputs)
        finite = trace.output.detach().double().nan_to_num(0.0, 0.0, 0.0)
        largest = float(finite.abs().max()) if finite.numel() else 0.0
        made = bundle(targets) if several else targets[0]
        return cls(made, scores, largest, inputs.batch_size)

    @property
    def aggregates(self) -> bool:
        """Whether there is one score for all examples."""
        return any(len(values) != self.count for values in self.scores)

    def compare(self, alone: Sequence[Sequence[Tensor]]) -> None:
        """Warn where the scores of examples by themselves are not those of the batch.

        Args:
            alone: the score of each target, for each example.
        """
        ours = torch.stack(list(self.scores), 1).double()
        theirs = torch.stack([torch.cat(list(scores)) for scores in alone]).double()
        apart, target = (ours - theirs).abs().max(1)
        rounding = _ROUNDING * max(self.largest, float(ours.abs().max()))
        unlike = (apart > rounding).nonzero().flatten().tolist()
        if unlike:
            first = unlike[0]
            place = first, int(target[first])
            scores = f"{float(theirs[place]):.4g}, not {float(ours[place]):.4g}"
            warn(
                f"the score of {len(unlike)} of {self.count} examples depends on the others of its"
                f" batch, or on random numbers: by itself, example {first} has {scores}. A ledger"
                " accounts for an example by itself, and the map beside it is of that, too",
                TorchattrWarning,
            )


_ROUNDING = 0.02
"""How far the scores of an example may be apart in batches of different sizes, as a share of the
largest magnitude: matrix products in few bits (bfloat16, TF32) differ by up to so much."""
