"""Targets that are functions of one score per class, of a single score, or of an embedding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.checked_numbers import checked_number
from torchattr.core.gradient_mode import gradients
from torchattr.core.output_target import (
    Entries,
    OutputTarget,
    as_classes,
    check_classes,
    class_rows,
    listed,
    need_scores,
    picked,
)
from torchattr.core.outputs import activate, activated_by
from torchattr.core.types import Activation
from torchattr.errors import InputError, InputTypeError, TargetError

_PREDICTED = -1
"""Stands for the predicted class until the output of the unchanged inputs decides which it is."""


class _OfClass(OutputTarget):
    """A function of the scores and of one class for each example; `None` is the predicted one."""

    category: Any

    def entries(self, output: Tensor, count: int) -> Entries:
        need_scores(output, type(self).__name__)
        if self.category is None:
            return (torch.full((count,), _PREDICTED, device=output.device),)
        return (class_rows(self.category, output, count, "category"),)

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        best = output.argmax(1) if len(output) else entries[0]
        return (torch.where(entries[0] == _PREDICTED, best, entries[0]),)


@dataclass(frozen=True, eq=False, repr=False)
class Difference(_OfClass):
    """What speaks for a class rather than for others: `s_c − α · mean of s_d over the others d`.

    With similar classes as the others it shows what tells them apart, as in Finer-CAM (Zhang et
    al. 2025, arXiv:2501.11309). It is *not* evidence for the class as such: what all of them share
    cancels.

    Args:
        category: the class, or one for each example; `None` is the predicted one.
        others: the classes that it is compared with, the same for all examples; `None` is all
            others.
        alpha: weight of the others.

    Raises:
        InputTypeError: a weight that is no number.
        InputError: one that is not finite.
        TargetError: (from a call) a class that is compared with itself, or out of range.

    >>> import torch, torchattr as ta
    >>> ta.Difference(0, [1, 2])(torch.tensor([[4.0, 1.0, 2.0]]))
    tensor([2.5000])
    """

    category: Any = None
    others: int | Sequence[int] | Tensor | None = None
    alpha: float = 1.0

    def __post_init__(self) -> None:
        checked_number(self.alpha, "alpha")

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        """Return the weight of each class, `(N, K)`."""
        (classes,) = super().decide(output, *entries)
        rivals = self._rivals(output, classes)
        share = rivals / rivals.sum(1, keepdim=True)
        return (F.one_hot(classes, output.shape[1]) - self.alpha * share,)

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        return (output * entries[0].to(output.dtype)).sum(1)

    def _rivals(self, output: Tensor, classes: Tensor) -> Tensor:
        """Return which classes each example's is compared with, `(N, K)`."""
        own = F.one_hot(classes, output.shape[1]).bool()
        if self.others is None:
            self._refuse(output.shape[1] < 2, "the only class of the output has no others")
            return (~own).double()
        others = as_classes(self.others, "others").reshape(-1).to(output.device)
        check_classes(others, output, "others")
        self._refuse(not len(others), "others is empty; pass None for all other classes")
        itself = (classes[:, None] == others).any(1)
        if bool(itself.any()):
            both = int(classes[itself][0])
            self._refuse(True, f"class {both} of {listed(itself)} is among its others")
        rivals = torch.zeros_like(own, dtype=torch.float64)
        rivals[:, others] = 1.0
        return rivals

    def _refuse(self, wrong: bool, why: str) -> None:
        if wrong:
            raise TargetError(f"{self!r} compares nothing: {why}")


@dataclass(frozen=True, eq=False, repr=False)
class Probability(_OfClass):
    """The probability of a class, `softmax(s)_c`, instead of its score.

    It depends on the scores of all classes, and where it is close to 1 its gradient vanishes. It is
    *not* what most papers explain, which is the score.

    Args:
        category: the class, or one for each example; `None` is the predicted one.
        activation: `"softmax"` for exclusive classes, `"sigmoid"` for independent ones.

    Raises:
        InputError: another activation.
        OutputError: (from a call) a softmax of what are probabilities already.

    >>> import torch, torchattr as ta
    >>> ta.Probability(0)(torch.zeros(1, 4))
    tensor([0.2500])
    """

    category: Any = None
    activation: Activation = "softmax"

    def __post_init__(self) -> None:
        if self.activation not in ("softmax", "sigmoid"):
            raise InputError(
                f"activation must be 'softmax' or 'sigmoid', got {self.activation!r}; the score"
                " itself is explained by the class as target"
            )

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        activated_by(self.activation)(output)
        return super().decide(output, *entries)

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        return picked(activate(output, self.activation), entries[0])


@dataclass(frozen=True, eq=False, repr=False)
class Binary(OutputTarget):
    """The evidence of a single score for one of two classes: `s`, or `−s` for the negative class.

    Args:
        positive: which class: `True` or 1 for the positive one, or one such value for each example;
            `None` is the model's own decision.
        threshold: the score above which that decision is positive; pass 0.5 for a model that
            returns probabilities.

    Raises:
        InputTypeError: a threshold that is no number.
        InputError: one that is not finite.
        TargetError: (from a call) the output does not hold a single score for each example.

    >>> import torch, torchattr as ta
    >>> ta.Binary()(torch.tensor([2.0, -3.0]))
    tensor([2., 3.])
    """

    positive: Any = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        checked_number(self.threshold, "threshold")

    def entries(self, output: Tensor, count: int) -> Entries:
        if output.dim() == 0 or output.shape[1:].numel() != 1:
            raise TargetError(
                "Binary needs a single score for each example, but the output has shape"
                f" {tuple(output.shape)}; for two classes pass Difference(1, 0), or one of them"
            )
        if self.positive is None:
            return (torch.zeros(count, device=output.device),)
        classes = as_classes(_as_integers(self.positive), "positive")
        if classes.dim() and len(classes) != count:
            raise TargetError(
                f"positive has {len(classes)} entries for a batch of {count}; pass one for each"
                " example, or a single one for all of them"
            )
        if bool(((classes != 0) & (classes != 1)).any()):
            raise TargetError(f"positive must hold True or False, 1 or 0, got {self.positive!r}")
        return ((2.0 * classes - 1.0).to(output.device).expand(count),)

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        own = torch.where(output.reshape(len(output)) > self.threshold, 1.0, -1.0)
        return (torch.where(entries[0] == 0, own, entries[0]),)

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        return output.reshape(len(output)) * entries[0].to(output.dtype)


def _as_integers(flags: Any) -> Any:
    """Return flags as integers."""
    if isinstance(flags, (list, tuple)):
        return [_as_integers(flag) for flag in flags]
    if isinstance(flags, bool):
        return int(flags)
    is_bool = getattr(flags, "dtype", None) in (torch.bool, bool)
    return torch.as_tensor(flags).long() if is_bool else flags


@dataclass(frozen=True, eq=False, repr=False)
class Loss(OutputTarget):
    """The loss of each example: positive attributions are what makes it larger.

    Args:
        function: the loss from an output `(1, ...)` and a label `(1, ...)`, such as
            `F.cross_entropy`. It is called for each example, so that a mean over the batch changes
            nothing.
        labels: one for each example, in a tensor, array or list; or a number for all of them.

    Raises:
        InputTypeError: no function.
        TargetError: (from a call) a wrong number of labels, or several values for an example.

    >>> import torch, torchattr as ta
    >>> ta.Loss(torch.nn.functional.cross_entropy, [0, 1])(torch.zeros(2, 4))
    tensor([1.3863, 1.3863])
    """

    function: Callable[..., Tensor]
    labels: Any

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputTypeError(
                "Loss needs a function of the output and the labels, such as F.cross_entropy, got"
                f" {type(self.function).__name__}"
            )

    def entries(self, output: Tensor, count: int) -> Entries:
        try:
            labels = torch.as_tensor(self.labels, device=output.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputTypeError(
                "labels must be a number, or a tensor, array or list with one for each example, got"
                f" {self.labels!r}"
            ) from error
        if labels.dim() == 0:
            return (labels.expand(count),)
        if len(labels) != count:
            raise TargetError(
                f"labels has {len(labels)} entries for a batch of {count}; pass one for each"
                " example, or a single number for all of them"
            )
        return (labels,)

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        pairs = zip(output.split(1), entries[0].split(1), strict=True)
        losses = [self._of_example(row, label) for row, label in pairs] if len(output) else []
        return torch.cat(losses) if losses else output.reshape(0)

    def _of_example(self, row: Tensor, label: Tensor) -> Tensor:
        loss = self.function(row, label)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise TargetError(
                f"the function of Loss must return one value for an example, got {got}; pass one"
                " that takes the mean"
            )
        return loss.reshape(1)


@dataclass(frozen=True, eq=False, repr=False)
class Similarity(OutputTarget):
    """The cosine similarity of the output with an embedding: `⟨e, f⟩ / (‖e‖ ‖f‖)`.

    For a model that returns embeddings: of another image, of a concept (the mean over some images),
    or of a text by the text encoder of an image–text model. It is *not* a probability, and says
    nothing about other texts; for that, return the similarities with all of them as scores.

    Args:
        embedding: `(D,)` or `(1, D)` for all examples, `(N, D)` with one for each; or a text, or a
            list of them, for the encoder.
        encoder: returns the embeddings `(T, D)` of a list of texts.

    Raises:
        InputTypeError: a text without an encoder, or no embedding.
        InputError: an embedding that is zero, or holds NaN or infinite values.
        TargetError: (from a call) the output has another shape.

    >>> import torch, torchattr as ta
    >>> ta.Similarity([1.0, 0.0])(torch.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """

    embedding: Any
    encoder: Callable[[list[str]], Any] | None = None

    def __post_init__(self) -> None:
        texts = [self.embedding] if isinstance(self.embedding, str) else self.embedding
        if isinstance(texts, (list, tuple)) and any(isinstance(one, str) for one in texts):
            object.__setattr__(self, "embedding", self._encoded(list(texts)))
        object.__setattr__(self, "embedding", _checked_embedding(self.embedding))

    def _encoded(self, texts: list[str]) -> Any:
        if self.encoder is None:
            raise InputTypeError(
                f"Similarity got a text, {texts[0]!r}, but no encoder; pass encoder=..., a function"
                " from a list of texts to embeddings (T, D), or the embedding itself"
            )
        with gradients(False):
            return self.encoder(texts)

    def entries(self, output: Tensor, count: int) -> Entries:
        rows = self.embedding.reshape(-1, self.embedding.shape[-1])
        if output.dim() != 2 or output.shape[1] != rows.shape[1]:
            raise TargetError(
                f"the embedding has {rows.shape[1]} entries, but the output has shape"
                f" {tuple(output.shape)}; needed is (N, {rows.shape[1]}), an embedding of each"
                " example: choose it with output=..."
            )
        if len(rows) not in (1, count):
            raise TargetError(
                f"Similarity has {len(rows)} embeddings for a batch of {count}; pass one for each"
                " example, or a single one for all of them"
            )
        return (rows.to(output.device).expand(count, -1),)

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        return F.cosine_similarity(output, entries[0].to(output.dtype), dim=1)


def _checked_embedding(embedding: Any) -> Tensor:
    try:
        rows = torch.as_tensor(embedding).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(
            "embedding must be a tensor or array (D,) or (N, D), or a text with an encoder, got"
            f" {type(embedding).__name__}"
        ) from error
    rows = rows if rows.is_floating_point() else rows.float()
    if rows.dim() not in (1, 2) or not rows.numel():
        raise InputError(f"embedding must have shape (D,) or (N, D), got {tuple(rows.shape)}")
    if not bool(rows.isfinite().all()) or not bool(rows.any(-1).all()):
        raise InputError(
            "embedding must be finite and not zero, since a zero vector has no direction;"
            " check what it was made from"
        )
    return rows
