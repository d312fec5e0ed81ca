"""Linear classifiers of activations, whose weights are the directions of concepts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.arguments import is_iterable
from torchattr.core.checked_numbers import as_number, checked_count, checked_number
from torchattr.core.gradient_mode import gradients
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.methods import checked_seed

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches of activations `(examples, features)` with labels `(examples,)`."""


class Classifier(ABC):
    """A linear classifier that is trained on activations."""

    @abstractmethod
    def train_and_eval(self, dataloader: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Train on batches of activations and labels; return statistics such as the accuracy.

        Args:
            dataloader: yields activations `(examples, features)` and labels `(examples,)`.
            **kwargs: further options.
        """

    @abstractmethod
    def weights(self) -> Tensor:
        """Return the weights of each class, `(classes, features)`."""

    @abstractmethod
    def classes(self) -> Sequence[Any]:
        """Return the labels, in the order of the weights."""


class LinearClassifier(Classifier):
    """Logistic regression of each class against the others, with a penalty on its weights.

    It minimises `mean log(1 + exp(−y z)) + α/2 ‖w‖²` with `z = wᵀ x / σ + b`, where `σ` is the
    standard deviation of all centred features together, so that `α` does not depend on the scale
    of a layer. The problem is convex, and solved by L-BFGS in float64: the same examples give the
    same weights. It keeps all activations in memory.

    Args:
        alpha: the penalty.
        max_iter: maximum number of iterations.
        seed: seed of the split into training and test examples.

    >>> x = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 1.0], [3.0, 2.0]]).repeat(4, 1)
    >>> classifier = LinearClassifier()
    >>> classifier.train_and_eval([(x, torch.tensor([5, 5, 8, 8]).repeat(4))])
    {'accs': tensor(1.)}
    >>> classifier.classes(), [float(w[0].sign()) for w in classifier.weights()]
    ([5, 8], [-1.0, 1.0])
    """

    def __init__(self, alpha: float = 0.01, max_iter: int = 1000, seed: int = 0) -> None:
        self._alpha = checked_number(alpha, "alpha", least=0)
        self._max_iter = checked_count(max_iter, "max_iter")
        self._seed = checked_seed(seed)
        self._weights: Tensor | None = None
        self._classes: list[Any] = []

    def train_and_eval(
        self, dataloader: Batches, test_split_ratio: float = 0.33, **kwargs: Any
    ) -> dict[str, Any]:
        """Train, and return the share of right test examples as `accs`.

        Args:
            dataloader: batches of activations and labels.
            test_split_ratio: the share of each class that is kept for the test; with 0, the
                training examples are the test.
            **kwargs: not used.

        Raises:
            InputTypeError: something else than pairs of tensors, or a ratio that is no number.
            InputError: no batch, fewer than two classes, or a ratio outside of [0, 1).
            ShapeError: activations that are not `(N, features)` with a label for each.
        """
        test_split_ratio = as_number(test_split_ratio, "test_split_ratio")
        if not 0 <= test_split_ratio < 1:
            raise InputError(f"test_split_ratio must be in [0, 1), got {test_split_ratio}")
        batches = _read(dataloader)
        features = torch.cat([values for values, _ in batches]).detach()
        labels = torch.cat([of_batch for _, of_batch in batches]).to(features.device)
        classes, numbers = labels.unique(return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"a classifier needs two classes, got {classes.tolist()}")
        tested = self._test_rows(numbers, test_split_ratio)
        weights, bias = self._fitted(features[~tested].double(), numbers[~tested], len(classes))
        shown = tested if tested.any() else torch.ones_like(tested)
        found = (features[shown].double() @ weights.T + bias).argmax(1)
        self._weights, self._classes = weights.to(features.dtype), classes.tolist()
        return {"accs": (found == numbers[shown]).float().mean()}

    def weights(self) -> Tensor:
        if self._weights is None:
            raise InputError("the classifier has no weights yet; call train_and_eval first")
        return self._weights

    def classes(self) -> list[Any]:
        return self._classes

    def _test_rows(self, numbers: Tensor, ratio: float) -> Tensor:
        """Return which rows are for the test: the same share of each class, rounded down."""
        generator = torch.Generator().manual_seed(self._seed)
        tested = torch.zeros(len(numbers), dtype=torch.bool)
        for number in numbers.unique():
            own = (numbers == number).nonzero().flatten().cpu()
            order = torch.randperm(len(own), generator=generator)
            tested[own[order[: int(ratio * len(own))]]] = True
        return tested.to(numbers.device)

    def _fitted(self, x: Tensor, numbers: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return weights `(classes, features)` and biases; of two classes, opposite ones."""
        center = x.mean(0)
        centred = x - center
        scale = centred.square().mean().sqrt()
        scaled = centred / scale.where(scale != 0, 1)
        of_class = F.one_hot(numbers, count).to(x.dtype)
        signs = 2 * (of_class if count > 2 else of_class[:, 1:]) - 1
        weights, bias = self._minimised(scaled, signs)
        weights = weights / scale.where(scale != 0, 1)
        bias = bias - weights @ center
        if count == 2:
            return torch.cat([-weights, weights]), torch.cat([-bias, bias])
        return weights, bias

    def _minimised(self, x: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        # The caller may be in no_grad or inference mode.
        with gradients():
            x, signs = x.clone(), signs.clone()
            weights = x.new_zeros(signs.shape[1], x.shape[1], requires_grad=True)
            bias = x.new_zeros(signs.shape[1], requires_grad=True)
            optimizer = torch.optim.LBFGS(
                [weights, bias],
                max_iter=self._max_iter,
                tolerance_grad=1e-9,
                tolerance_change=1e-12,
                line_search_fn="strong_wolfe",
            )

            def loss() -> Tensor:
                optimizer.zero_grad()
                margins = signs * (x @ weights.T + bias)
                value = F.softplus(-margins).mean(0).sum()
                value = value + self._alpha / 2 * weights.square().sum()
                value.backward()
                return value

            optimizer.step(loss)
        return weights.detach(), bias.detach()


def _read(dataloader: Any) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of activations and labels."""
    batches: list[Any] = list(dataloader) if is_iterable(dataloader) else [None]
    for batch in batches:
        is_pair = isinstance(batch, (tuple, list)) and len(batch) == 2
        if not is_pair or not all(isinstance(one, Tensor) for one in batch):
            raise InputTypeError(
                "dataloader must yield pairs of tensors, activations (N, features) and labels (N,),"
                f" got {type(dataloader if batch is None else batch).__name__}"
            )
        values, labels = batch
        if values.dim() != 2 or labels.shape != values.shape[:1]:
            raise ShapeError(
                "dataloader must yield activations (N, features) and labels (N,), got"
                f" {tuple(values.shape)} and {tuple(labels.shape)}"
            )
    if not batches:
        raise InputError("dataloader yields no batch, so there is nothing to train on")
    return batches
