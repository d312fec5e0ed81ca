"""The base of all attacks, and the loss that they increase."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import check_arguments
from torchattr.core.inputs import Inputs, as_tensors
from torchattr.core.targets import plain, select_scores
from torchattr.errors import InputTypeError, ShapeError, TargetError

Loss = Callable[[Tensor, Any], Tensor]
"""From the model's scores and the labels to the loss of each example, or of the batch."""


class Attack(ABC):
    """Changes inputs to change what a model says of them; calling it calls :meth:`perturb`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_arguments(cls, "__init__", "perturb")

    @abstractmethod
    def perturb(self, *args: Any, **kwargs: Any) -> Any:
        """Return the changed inputs, in the form of the inputs."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.perturb(*args, **kwargs)


AttackFunction = Attack | Callable[..., Any]


def cross_entropy(output: Tensor, target: Any) -> Tensor:
    """Return `−log softmax(s)` at the labels, `(N,)`, for scores `(N, classes, ...)`.

    Raises:
        InputTypeError: the output is no tensor.
        TargetError: fewer than two classes, or labels that do not fit the output.

    >>> cross_entropy(torch.zeros(2, 2), [0, 1])
    tensor([0.6931, 0.6931])
    """
    if not isinstance(output, Tensor):
        raise InputTypeError(f"output must be a tensor of scores, got {type(output).__name__}")
    if output.dim() < 2 or output.shape[1] < 2:
        raise TargetError(
            f"the model returns the shape {tuple(output.shape)}, and the cross-entropy needs scores"
            " of several classes; pass loss_func for another output"
        )
    return -select_scores(output.log_softmax(1), target)


def loss_target(loss: Loss, labels: Any, inputs: Inputs) -> Callable[[Tensor], Tensor]:
    """Return a target whose sum over the batch is the loss.

    Raises:
        InputTypeError: (from the target) the loss is not a tensor.
        TargetError: (from the target) it is neither one number nor one for each example.
    """
    count = inputs.batch_size

    def target(output: Tensor) -> Tensor:
        value = loss(output, plain(labels) if isinstance(labels, (list, tuple)) else labels)
        if not isinstance(value, Tensor):
            raise InputTypeError(f"loss_func must return a tensor, got {type(value).__name__}")
        if value.numel() not in (1, count):
            raise TargetError(
                f"loss_func returned the shape {tuple(value.shape)} for {count} examples; return"
                " one loss for each, or for the batch"
            )
        of_batch = value.numel() == 1 and count > 1
        return (value / count).expand(count) if of_batch else value.reshape(-1)

    return target


def as_masks(mask: Any, inputs: Inputs) -> Sequence[Tensor | None]:
    """Return the mask of each input, which broadcasts to it, or `None` for no mask.

    Raises:
        ShapeError: a mask that does not fit its input, or not one for each input.
    """
    if mask is None:
        return [None] * len(inputs.tensors)
    masks = as_tensors(mask, "mask")
    if len(masks) != len(inputs.tensors):
        raise ShapeError(f"mask has {len(masks)} tensors for {len(inputs.tensors)} inputs")
    for one, tensor in zip(masks, inputs.tensors, strict=True):
        try:
            fits = torch.broadcast_shapes(one.shape, tensor.shape) == tensor.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ShapeError(
                f"a mask of shape {tuple(one.shape)} does not broadcast to its input of shape"
                f" {tuple(tensor.shape)}"
            )
    return masks


def where_masked(mask: Tensor | None, changed: Tensor, otherwise: Tensor) -> Tensor:
    """Return `changed` where there is no mask or it is not 0."""
    if mask is None:
        return changed
    return torch.where(mask.to(changed.device) != 0, changed, otherwise)
