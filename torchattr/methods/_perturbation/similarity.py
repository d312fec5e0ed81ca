"""How similar perturbed inputs are to the originals, for LIME."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.arguments import check_choice, plain_numbers
from torchattr.core.inputs import as_tensors
from torchattr.errors import InputError, InputTypeError

DistanceMode = Literal["cosine", "euclidean"]


class ExponentialKernel:
    """`exp(−d² / 2w²)`, where `d` is the distance of a perturbed input from the original.

    Args:
        distance_mode: `"cosine"` for one minus the cosine, or `"euclidean"`.
        kernel_width: the width `w`, above 0.

    Raises:
        InputError: an unknown distance, or a width that is not positive.
        InputTypeError: a width that is no number.

    >>> import torch
    >>> round(ExponentialKernel("euclidean", 2.0)(torch.zeros(1, 2), torch.ones(1, 2)), 4)
    0.7788
    """

    def __init__(self, distance_mode: DistanceMode = "cosine", kernel_width: float = 1.0) -> None:
        check_choice("distance_mode", distance_mode, get_args(DistanceMode))
        kernel_width = plain_numbers(kernel_width)
        if not isinstance(kernel_width, (int, float)) or isinstance(kernel_width, bool):
            raise InputTypeError(f"kernel_width must be a number, got {kernel_width!r}")
        if not 0 < kernel_width < float("inf"):
            raise InputError(f"kernel_width must be positive and finite, got {kernel_width}")
        self._distance_mode, self._kernel_width = distance_mode, kernel_width

    def __call__(
        self, original: Any, perturbed: Any, interpretable: Any = None, **kwargs: Any
    ) -> float:
        """Return the similarity of one perturbed input, or tuple of inputs."""
        one, other = (
            _rows(as_tensors(values, "inputs"), 1, aggregated=True)
            for values in (original, perturbed)
        )
        return float(self._similarity(one, other))

    def of_copies(self, tensors: Sequence[Tensor], copies: Sequence[Tensor], rows: int) -> Tensor:
        """Return the similarity of perturbed copies of a batch, `(copies, rows)`.

        Args:
            tensors: the inputs.
            copies: their copies, one after another.
            rows: the size of the batch, or 1 to compare batches as wholes.
        """
        count = len(copies[0]) // len(tensors[0])
        aggregated = rows == 1
        original = _rows(tensors, 1, aggregated=aggregated)
        return self._similarity(original, _rows(copies, count, aggregated=aggregated))

    def _similarity(self, original: Tensor, perturbed: Tensor) -> Tensor:
        if self._distance_mode == "cosine":
            distance = 1 - F.cosine_similarity(original, perturbed, dim=-1)
        else:
            distance = (original - perturbed).norm(dim=-1)
        return (-distance.square() / (2 * self._kernel_width**2)).exp()


def _rows(tensors: Sequence[Tensor], copies: int, *, aggregated: bool) -> Tensor:
    """Return copies of inputs as vectors, `(copies, N or 1, elements)`."""
    kind = torch.promote_types(tensors[0].dtype, torch.float32)
    shaped = [
        tensor.detach()
        .to(tensors[0].device, kind)
        .reshape(copies, 1 if aggregated else len(tensor) // copies, -1)
        for tensor in tensors
    ]
    return torch.cat(shaped, 2)
