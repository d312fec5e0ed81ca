"""Concepts and the activations of their examples."""

from __future__ import annotations

import torch
from helpers import noise, refused
from torch import nn

from torchattr.concepts import Concept, activations, key_of
from torchattr.concepts.concept import checked_concepts
from torchattr.errors import InputError, LayerError

NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
BATCHES = [noise(2, 1, 4, 4, dtype=torch.float32), noise(3, 1, 4, 4, seed=2, dtype=torch.float32)]


def test_all_layers_come_from_one_forward_of_each_batch() -> None:
    calls: list[int] = []
    handle = NET[0].register_forward_hook(lambda *_: calls.append(1))
    try:
        found = list(activations(NET, ["0", "3"], Concept(0, "any", BATCHES)))
    finally:
        handle.remove()
    assert len(calls) == len(BATCHES)
    for batch, of_batch in zip(BATCHES, found, strict=True):
        assert torch.equal(of_batch["0"], NET[0](batch).flatten(1))
        assert torch.equal(of_batch["3"], NET(batch))
        assert not of_batch["3"].requires_grad


def test_inputs_of_layers_can_be_taken() -> None:
    (found,) = activations(NET, ["1"], Concept(0, "any", BATCHES[:1]), of_input=True)
    assert torch.equal(found["1"], NET[0](BATCHES[0]).flatten(1))


def test_bad_concepts_are_refused() -> None:
    with refused(InputError, "data_iter", "Concept(0, 'any')"):
        list(activations(NET, ["0"], Concept(0, "any", None)))
    with refused(InputError, "yields nothing"):
        list(activations(NET, ["0"], Concept(0, "any", iter(()))))
    with refused(LayerError, "conv"):
        list(activations(NET, ["conv"], Concept(0, "any", BATCHES)))
    one, two = Concept(0, "any", BATCHES), Concept(0, "other", BATCHES)
    with refused(InputError, "the id 0"):
        checked_concepts([[one, two]])
    with refused(InputError, "at least two"):
        checked_concepts([[one]])
    assert key_of([one, Concept(4, "x", None)]) == "0-4"
