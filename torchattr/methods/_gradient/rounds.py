"""Several targets in one backward: their gradients of the output, how many fit, what they yield."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.targets import select_scores
from torchattr.methods._gradient.backward_pass import PassResult

_ELEMENTS = {"cpu": 2**20, "cuda": 2**26}
"""Up to so many elements the gradients of several targets may have together at any place of the
graph: on a CPU what its cache holds, since it gains nothing beyond."""


def targets_at_once(largest: int, device: torch.device) -> int:
    """Return how many targets one backward serves, if its largest gradient has so many elements."""
    return _ELEMENTS.get(device.type, _ELEMENTS["cuda"]) // max(largest, 1)


def seeds_of(output: Tensor, targets: Sequence[Any]) -> Tensor | None:
    """Return the gradient of each target's scores with respect to the output, `(T, *shape)`.

    `None` where a target is no entry of the output but a function of it.
    """
    if any(callable(target) for target in targets):
        return None
    places = torch.arange(output.numel()).view(output.shape)
    chosen = torch.stack([select_scores(places, target) for target in targets])
    seeds = output.new_zeros(len(targets), output.numel())
    seeds.scatter_(1, chosen.to(output.device), 1)
    return seeds.view(-1, *output.shape)


@dataclass(frozen=True)
class Round:
    """The passes' results for the targets of one backward.

    Attributes:
        results: the result of each pass; with a `count`, its gradients have the targets first.
        count: the number of targets; `None` for a single one without that dimension.
    """

    results: Mapping[Any, PassResult]
    count: int | None = None

    def _single(self, position: int) -> Mapping[Any, PassResult]:
        """Return the results for one of its targets."""
        return {key: _at(result, position) for key, result in self.results.items()}

    def combined(
        self,
        combine: Callable[[Sequence[PassResult]], Any],
        passes: Sequence[Any],
        *,
        at_once: bool,
    ) -> list[Any]:
        """Return what a method makes of its passes, as parts with the targets after the batch.

        Without a `count`, the only part has no such dimension.

        Args:
            combine: combines the results for one target.
            passes: the passes that it is given.
            at_once: whether it may be mapped over the targets.
        """
        if self.count is None:
            return [combine([self.results[key] for key in passes])]
        if at_once:
            try:
                return [_mapped(combine, [self.results[key] for key in passes])]
            except RuntimeError as error:
                raise_if_lost(error)
        singles = map(self._single, range(self.count))
        each = [combine([single[key] for key in passes]) for single in singles]
        return [with_tensors(one, lambda tensor: tensor.unsqueeze(1)) for one in each]


def _at(result: PassResult, position: int) -> PassResult:
    gradients = tuple(tuple(one[position] for one in call) for call in result.gradients)
    return replace(result, gradients=gradients, scores=result.scores[position])


def _mapped(combine: Callable[[Sequence[PassResult]], Any], results: Sequence[PassResult]) -> Any:
    """Combine for all targets at once."""
    forms: list[Any] = []

    def one(gradients: Any) -> tuple[Tensor, ...]:
        pairs = zip(results, gradients, strict=True)
        forms.append(combine([replace(result, gradients=own) for result, own in pairs]))
        return tuple(tensors_of(forms[0]))

    flat = iter(torch.func.vmap(one, out_dims=1)([result.gradients for result in results]))
    return with_tensors(forms[0], lambda _: next(flat))
