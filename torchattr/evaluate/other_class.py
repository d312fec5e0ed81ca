"""The random logit test: does a map change when another class is explained?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.targets import plain
from torchattr.core.types import Layers, OutputKey
from torchattr.errors import TargetError
from torchattr.evaluate.map_similarity import ReferenceMaps, Similarity
from torchattr.evaluate.shared_maps import (
    Maps,
    Methods,
    Question,
    asked,
    joined,
    undefined_for,
)
from torchattr.explanation import METHODS
from torchattr.methods import checked_seed


@checked_flags
def random_logit(
    model: Any,
    inputs: Tensor,
    methods: Methods = METHODS,
    target: Any = None,
    *,
    similarity: Similarity = "ssim",
    absolute: bool = False,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    skip_refused: bool = False,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Return how alike the maps of a class and of a random other one are, `(N,)`: lower is better.

    `ρ(Φ(f, x, y), Φ(f, x, y'))` in -1..1 for a class `y' ≠ y` drawn for each example. Sixt, Granz
    and Landgraf 2020, arXiv:1912.09818, who compare by SSIM. All methods and both classes share one
    forward.

    It is *not* evidence that a map is right, and 1 need not be wrong: two classes may rest on the
    same pixels, as the only two of a binary decision do.

    Unlike in Quantus, maps keep their sign, and those of class activation maps their resolution; a
    constant map is NaN.

    Args:
        target: the class `y`, one for all or one for each example; `None` is the predicted one.
        similarity: how maps are compared, see :func:`map_similarity`.
        seed: seed of the other classes.
        layer: see :func:`mprt`, as all other arguments.

    Raises:
        TargetError: targets that are not classes, or a model with a single one.
        InputTypeError: several inputs.

    Warns `UndefinedMetricWarning` where a map is constant, NaN or infinite.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)).eval()
    >>> random_logit(model, torch.rand(2, 3, 4, 4), "saliency")["saliency"].shape
    torch.Size([2])
    """
    question = asked(
        model,
        inputs,
        methods,
        target,
        layer=layer,
        rules=rules,
        additional_forward_args=additional_forward_args,
        output=output,
        skip_refused=skip_refused,
        reading="magnitude" if absolute else "signed",
    )
    own = classes_of(question)
    both = question.aimed_at(own, other_classes(question, own, seed))
    found = joined(_between(part.planes(model), similarity) for part in both.parts())
    return undefined_for(found, "the similarity")


def _between(maps: Maps, similarity: Similarity) -> Maps:
    """Return the similarity of the maps of two targets, `(N, 2, h, w)` by method."""
    return {
        name: ReferenceMaps(both[:, 0], similarity).similarity_or_nan(both[:, 1])
        for name, both in maps.items()
    }


def classes_of(question: Question) -> Tensor:
    """Return the class that is explained for each example, `(N,)`.

    Raises:
        TargetError: the target is none.
    """
    target, count = plain(question.target), len(question.inputs)
    if isinstance(target, (list, tuple)) and all(isinstance(one, int) for one in target):
        target = torch.tensor(target)
    found = torch.as_tensor(target) if isinstance(target, (int, Tensor)) else None
    if found is None or found.numel() not in (1, count):
        raise TargetError(
            "target must be a class, or one for each picture, so that there are others to compare"
            f" with, got {question.target!r}"
        )
    return found.reshape(-1).expand(count).to(question.inputs.device)


def other_classes(question: Question, own: Tensor, seed: int) -> Tensor:
    """Return a random class other than its own for each example.

    Raises:
        TargetError: there is no other.
    """
    scores = question.scores
    count = 0 if scores is None or scores.dim() != 2 else scores.shape[1]
    if count < 2:
        raise TargetError(
            "the model must return scores of at least two classes, (N, classes), to compare their"
            f" maps; it returns {'none' if scores is None else tuple(scores.shape)}"
        )
    generator = torch.Generator().manual_seed(checked_seed(seed))
    shift = torch.randint(1, count, (len(own),), generator=generator).to(own.device)
    return (own + shift) % count
