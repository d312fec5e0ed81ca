"""Maps from attention by hand, and the attention matrices that they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import noise
from numpy.testing import assert_allclose

from relevance_oracles import attention as oracle
from relevance_oracles.frozen import forward
from relevance_oracles.tiny_vit import tiny_vit

X = noise(3, 3, 8, 8)


def of(*rows: list[float]) -> Any:
    """One image and one head."""
    return np.array([[rows]], dtype=np.float64)


FIRST, SECOND = of([0.5, 0.5], [0.2, 0.8]), of([0.9, 0.1], [0.3, 0.7])
UP, DOWN = of([2.0, -1.0], [1.0, 1.0]), of([-1.0, 4.0], [2.0, 1.0])


def test_matrices_are_those_of_the_forward() -> None:
    model = tiny_vit()
    matrices, gradients = oracle.attention_of(model, X, 1)
    for index in range(2):
        name = f"block{index}.attention.matrix"
        by_hand = torch.stack([forward(model, one)[name] for one in X]).numpy()
        assert_allclose(matrices[index], by_hand, rtol=1e-13)
        assert gradients[index].shape == (3, 2, 5, 5)


def test_gradient_of_the_last_matrix_is_a_difference_quotient() -> None:
    """The softmax of the last block is replaced by matrices that are moved a little."""
    model: Any = tiny_vit()
    matrices, gradients = oracle.attention_of(model, X, 1)
    for key in range(5):
        moved = []
        for step in (1e-6, -1e-6):
            changed = torch.tensor(matrices[1])
            changed[:, 1, 0, key] += step
            hook = model.blocks[1].attention.softmax.register_forward_hook(
                lambda *_, changed=changed: changed
            )
            moved.append(model(X)[:, 1])
            hook.remove()
        slope = ((moved[0] - moved[1]) / 2e-6).numpy()
        assert_allclose(gradients[1][:, 1, 0, key], slope, rtol=1e-7)


def test_raw_attention_by_hand() -> None:
    assert_allclose(oracle.raw_attention([FIRST, SECOND]), [[0.1]])
    assert_allclose(oracle.raw_attention([FIRST, SECOND], layer=0), [[0.5]])


def test_attention_gradient_by_hand() -> None:
    assert_allclose(oracle.attention_gradient([FIRST, SECOND], [UP, DOWN]), [[0.4]])
    assert_allclose(oracle.attention_gradient([FIRST], [UP]), [[0.0]])


def test_rollout_by_hand() -> None:
    """[[.95, .05], [.15, .85]] times [[.75, .25], [.1, .9]]."""
    expected = [[[0.95 * 0.75 + 0.05 * 0.1, 0.95 * 0.25 + 0.05 * 0.9], [0.1975, 0.8025]]]
    assert_allclose(oracle.rollout([FIRST, SECOND], full=True), expected)
    assert_allclose(oracle.rollout([FIRST, SECOND], start_layer=1), [[0.05]])


@pytest.mark.parametrize(
    ("fusion", "expected"), [("mean", 0.3 / 2), ("min", 0.1 / 1.6), ("max", 0.5 / 2.4)]
)
def test_rollout_fuses_heads_by_hand(fusion: Any, expected: float) -> None:
    """Heads with the first rows (.5, .5) and (.9, .1), whose minimum sums to .6."""
    both = np.concatenate([FIRST, SECOND], axis=1)
    assert_allclose(oracle.rollout([both], fusion=fusion), [[expected]])


def test_rows_of_a_rollout_sum_to_one() -> None:
    matrices, _ = oracle.attention_of(tiny_vit(), X, 1)
    for fusion in ("mean", "min", "max"):
        assert_allclose(oracle.rollout(matrices, fusion, full=True).sum(-1), 1.0)


def test_chefer_by_hand() -> None:
    """(I + [[0, .4], [.6, .7]]) times (I + [[1, 0], [.2, .8]])."""
    expected = [[[2 + 0.4 * 0.2, 0.4 * 1.8], [0.6 * 2 + 1.7 * 0.2, 1.7 * 1.8]]]
    assert_allclose(oracle.chefer([FIRST, SECOND], [UP, DOWN], full=True), expected)
    assert_allclose(oracle.chefer([FIRST, SECOND], [UP, DOWN]), [[0.72]])


def test_both_forms_of_chefer_agree_where_the_matrix_is_its_relevance() -> None:
    matrices, gradients = oracle.attention_of(tiny_vit(), X, 1)
    one = oracle.chefer(matrices, gradients, full=True)
    assert_allclose(oracle.chefer_lrp(matrices, gradients, full=True), one, rtol=1e-13)


def test_relevances_of_matrices_have_half_of_what_the_mixed_values_have() -> None:
    model = tiny_vit()
    for method in ("chefer", "attn_lrp"):
        found = oracle.relevances_of_matrices(model, X, 1, method=method)
        single = oracle.relevances(model, X[2], 1, method)
        half = single.at["block0.attention.mixed"].sum().item() / 2
        assert_allclose(found[0][2].sum(), half, rtol=1e-12)


def test_relevance_of_the_last_matrix_is_in_the_row_of_the_class_token() -> None:
    found = oracle.relevances_of_matrices(tiny_vit(), X, 1, method="chefer")
    assert not found[1][:, :, 1:].any()
    assert found[1][:, :, 0].all()


def test_legrad_of_the_last_block_by_hand() -> None:
    """The last block's score is the model's own where it is read off the class token."""
    model: Any = tiny_vit()
    _, gradients = oracle.attention_of(model, X, 1)
    found = oracle.legrad(
        model, X, 1, list(model.blocks), lambda tokens: model.head(model.norm(tokens)[:, 0]),
        start_layer=1, rescaled=False,
    )  # fmt: skip
    positive = np.where(gradients[1] > 0, gradients[1], 0)
    assert_allclose(found, positive.sum((1, 2))[:, 1:] / (2 * 5), rtol=1e-12)


def test_legrad_is_the_mean_of_its_blocks_rescaled() -> None:
    model: Any = tiny_vit()

    def legrad(**options: Any) -> Any:
        blocks = list(model.blocks)
        return oracle.legrad(
            model, X, 1, blocks, lambda tokens: model.head(model.norm(tokens.mean(1))), **options
        )

    both, last = legrad(rescaled=False), legrad(rescaled=False, start_layer=1)
    assert both.any()
    assert (2 * both - last >= 0).all()
    found = legrad()
    assert_allclose(found.min(1), 0.0)
    assert_allclose(found.max(1), 1.0)
    assert_allclose(found[:, 0] - found[:, 1], (both[:, 0] - both[:, 1]) / np.ptp(both, axis=1))
