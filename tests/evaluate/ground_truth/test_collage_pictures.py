"""Fresh scenes and grids of the bundled network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate.ground_truth.collage_pictures import CELL, collage_grids, collage_pictures
from torchattr.models.collage import CLASSES, preprocess
from torchattr.models.collage.making.scenes import scenes

SEED = 5


def test_scenes_are_those_of_the_series_with_true_masks() -> None:
    pictures = collage_pictures(4, SEED)
    series = list(scenes(20, SEED))
    inputs = preprocess.normalised(np.stack([one.image for one in series]))
    found = (pictures.inputs[:, None] == inputs).flatten(2).all(2).nonzero()[:, 1].tolist()
    assert len(found) == 4
    assert found == sorted(found)
    for row, index in enumerate(found):
        made = series[index]
        assert len(made.labels) > 1
        k = made.labels.index(CLASSES[int(pictures.targets[row])])
        assert np.array_equal(pictures.masks[row], made.masks[k])
        assert pictures.boxes[row] == made.boxes[k]


@torch.no_grad()
def test_the_network_finds_what_is_explained() -> None:
    pictures = collage_pictures(6, SEED)
    logits = pictures.model(pictures.inputs)
    assert bool((logits.gather(1, pictures.targets[:, None]) > 0).all())


def test_a_seed_gives_the_same_and_another_one_others() -> None:
    first, again, other = (collage_pictures(2, seed) for seed in (SEED, SEED, SEED + 1))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.inputs, other.inputs)


@torch.no_grad()
def test_a_grid_has_four_classes_in_as_many_cells() -> None:
    grids = collage_grids(5, SEED)
    assert grids.inputs.shape == (8, 3, 2 * CELL, 2 * CELL)
    assert grids.asked.inputs.shape == (2, 3, 2 * CELL, 2 * CELL)
    assert torch.equal(grids.asked.targets.flatten(), grids.targets)
    for row, mask in enumerate(grids.masks):
        top, left = (side * CELL for side in divmod(row % 4, 2))
        expected = torch.zeros_like(mask)
        expected[top : top + CELL, left : left + CELL] = True
        assert torch.equal(mask, expected)
        cells = grids.inputs[row].unflatten(2, (2, CELL)).unflatten(1, (2, CELL))
        cells = cells.permute(1, 3, 0, 2, 4).flatten(0, 1)
        seen = grids.model(cells.contiguous())
        assert seen.argmax(1).unique().numel() == 4
        assert int(seen[row % 4].argmax()) == int(grids.targets[row])


@pytest.mark.parametrize("make", [collage_pictures, collage_grids])
def test_wrong_numbers_and_the_seed_of_training_are_refused(make) -> None:
    with pytest.raises(InputError, match="n must be at least 1"):
        make(0, 1)
    with pytest.raises(InputError, match="seed 0 is that of the scenes that the network was"):
        make(1, 0)
    with pytest.raises(InputTypeError, match="seed"):
        make(1, "a")
