"""Values attached to tensors."""

import gc

import torch

from torchattr.layers.layouts.notes import TensorNotes


def test_tensors_are_told_apart_by_identity() -> None:
    notes: TensorNotes[int] = TensorNotes()
    one, other = torch.ones(2), torch.ones(2)
    notes[one], notes[other] = 1, 2
    assert (notes.get(one), notes.get(other), notes.get(torch.ones(2))) == (1, 2, None)


def test_tensors_are_not_kept_and_their_numbers_not_confused() -> None:
    notes: TensorNotes[int] = TensorNotes()
    for number in range(200):
        tensor = torch.ones(2)
        assert notes.get(tensor) is None
        notes[tensor] = number
        del tensor
    gc.collect()
    assert not any(entry[0]() is not None for entry in notes._entries.values())


def test_a_tensor_in_a_graph_keeps_its_note() -> None:
    notes: TensorNotes[str] = TensorNotes()
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    notes[y] = "kept"
    z = y * 2
    assert notes.get(y) == "kept"
    assert z.grad_fn is not None
