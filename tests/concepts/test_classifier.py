"""The linear classifier: its optimum, and what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused
from torch import Tensor

from torchattr.concepts import LinearClassifier
from torchattr.errors import InputError, InputTypeError, ShapeError


def blobs(count: int, size: int = 30) -> tuple[Tensor, Tensor]:
    centers = 3 * noise(count, 5, seed=7)
    x = torch.cat([center + noise(size, 5, seed=n) for n, center in enumerate(centers)])
    return x, torch.arange(count).repeat_interleave(size) + 10


@pytest.mark.parametrize("count", [2, 3])
def test_it_tells_classes_apart(count: int) -> None:
    x, labels = blobs(count)
    classifier = LinearClassifier()
    said = classifier.train_and_eval([(x[:40], labels[:40]), (x[40:], labels[40:])])
    assert said["accs"] > 0.9
    assert classifier.classes() == list(range(10, 10 + count))
    assert classifier.weights().shape == (count, 5)
    assert classifier.weights().dtype == x.dtype


def test_the_gradient_is_zero_at_its_weights() -> None:
    x, labels = blobs(3)
    classifier = LinearClassifier(alpha=0.1)
    classifier.train_and_eval([(x, labels)], test_split_ratio=0)
    scale = (x - x.mean(0)).square().mean().sqrt()
    weights = (classifier.weights() * scale).requires_grad_()
    signs = 2 * F.one_hot(labels - 10, 3).to(x.dtype) - 1
    scaled = (x - x.mean(0)) / scale

    def loss(bias: Tensor) -> Tensor:
        margins = signs * (scaled @ weights.T + bias)
        return F.softplus(-margins).mean(0).sum() + 0.05 * weights.square().sum()

    bias = torch.zeros(3, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(bias)
        value.backward(inputs=[bias])
        return value

    optimizer.step(closure)
    (grad,) = torch.autograd.grad(loss(bias.detach()), weights)
    assert float(grad.abs().max()) < 1e-5


def test_the_scale_of_a_layer_does_not_matter_and_repeats_are_equal() -> None:
    x, labels = blobs(2)
    found = []
    for factor in (1.0, 1.0, 1000.0):
        classifier = LinearClassifier()
        with torch.inference_mode():
            classifier.train_and_eval([(factor * x, labels)])
        found.append(factor * classifier.weights())
    assert torch.equal(found[0], found[1])
    assert_same(found[2], found[0].clone(), 1e-6)
    assert torch.equal(found[0][0], -found[0][1])


def test_bad_input_is_refused() -> None:
    x, labels = blobs(2)
    with refused(InputError, "train_and_eval first"):
        LinearClassifier().weights()
    with refused(InputError, "two classes", "[10]"):
        LinearClassifier().train_and_eval([(x[:30], labels[:30])])
    with refused(InputError, "test_split_ratio", "1.5"):
        LinearClassifier().train_and_eval([(x, labels)], test_split_ratio=1.5)


@pytest.mark.parametrize("wrong", [{"alpha": "a"}, {"max_iter": 1.5}, {"seed": None}])
def test_numbers_of_wrong_types_are_named(wrong: dict[str, Any]) -> None:
    with refused(InputTypeError, f"{next(iter(wrong))} must be"):
        LinearClassifier(**wrong)


def test_data_of_wrong_types_is_named() -> None:
    classifier = LinearClassifier()
    for data in (3, None, "ab", [3], [(1, 2)], [(torch.ones(2, 3),)]):
        with refused(InputTypeError, "dataloader must yield pairs of tensors"):
            classifier.train_and_eval(data)  # type: ignore[arg-type]
    with refused(ShapeError, "dataloader must yield activations (N, features)"):
        classifier.train_and_eval([(torch.ones(2, 3), torch.ones(3))])
    with refused(InputError, "yields no batch"):
        classifier.train_and_eval([])
    with refused(InputTypeError, "test_split_ratio must be a number"):
        classifier.train_and_eval([], "a")  # type: ignore[arg-type]


def test_batches_may_be_a_data_set() -> None:
    class Batches(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
            shift = range(3)[position]
            return torch.tensor([[0.0, shift], [3.0, shift]]), torch.tensor([5, 8])

    classifier = LinearClassifier()
    assert classifier.train_and_eval(Batches(), test_split_ratio=0) == {"accs": torch.tensor(1.0)}
