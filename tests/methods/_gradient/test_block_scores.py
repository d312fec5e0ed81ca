"""Blocks are found around their attention, and their scores are those of the rest of the model."""

from __future__ import annotations

import torch
from helpers import assert_same, refused
from methods.attending import IMAGES, WIDTH, Block, attending
from torch import nn

from torchattr.core.inputs import as_inputs
from torchattr.errors import LayerError
from torchattr.methods._gradient.block_scores import (
    BlockScores,
    attention_blocks,
    rows_of_blocks,
)

GIVEN = as_inputs(IMAGES)


def test_blocks_are_the_modules_that_no_other_attention_shares() -> None:
    model = attending("module")
    assert attention_blocks(model, GIVEN, ()) == list(model.blocks)
    nested = nn.Sequential(model).eval()
    assert attention_blocks(nested, GIVEN, ()) == list(model.blocks)


def test_chosen_blocks_are_the_outermost_chosen_modules() -> None:
    model = attending()
    chosen = (model.blocks[1].attention, model.blocks[1], model.blocks[2].mlp)
    assert attention_blocks(model, GIVEN, (), chosen=chosen) == [model.blocks[1]]


def test_a_block_that_runs_twice_is_not_known() -> None:
    model = attending()
    model.blocks[1] = model.blocks[0]
    with refused(LayerError, "which modules are the blocks"):
        attention_blocks(model, GIVEN, ())


def test_scores_are_those_of_the_mean_in_the_place_of_each_token() -> None:
    model = attending()
    scores = BlockScores(model, list(model.blocks))
    with torch.no_grad():
        own, others = rows_of_blocks(scores(IMAGES), 2, 3)
        assert_same(own, model(IMAGES), 1e-12)
        for mean, rows in zip(scores.means, others, strict=True):
            assert_same(rows, model.head(model.norm(mean)), 1e-12)
    assert scores.entered.shape == (3, 2, WIDTH)
    assert not any(block._forward_hooks for block in model.modules())


def test_blocks_of_different_widths_are_refused() -> None:
    class Widens(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x], -1)

    model = attending()
    model.blocks[0] = nn.Sequential(model.blocks[0], Widens())
    narrow = nn.Linear(2 * WIDTH, WIDTH).double()
    model.blocks[1] = nn.Sequential(narrow, Block(model.blocks[2].attention.options).double())
    with refused(LayerError, "differ in their number of channels"):
        BlockScores(model.eval(), list(model.blocks))(IMAGES)


def test_outputs_without_a_row_for_each_block_are_refused() -> None:
    with refused(LayerError, "(5, 4)", "2 examples", "3 blocks", "layers="):
        rows_of_blocks(torch.zeros(5, 4), 2, 3)
