"""RISE against its definition, mask by mask and pixel by pixel."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import Counting, picture_net, pictures
from random_mask import mask_by_hand
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputTypeError, OutOfMemory, OutputError

EXACT = 1e-12
SMALL: dict[str, Any] = {"n_masks": 23, "grid_size": 3}


def by_hand(
    forward: Any, x: Tensor, count: int, grid: Any, p: float, seed: int, baseline: Any, cover: bool
) -> Tensor:
    """Sum scores times masks, `(N, targets, 1, ...)`."""
    total, coverage = 0.0, torch.zeros(x.shape[2:]).double()
    for number in range(count):
        mask = torch.from_numpy(mask_by_hand(tuple(x.shape[2:]), grid, p, seed, number, 0))
        scores = forward(baseline + mask * (x - baseline))
        total = total + scores[:, :, None, None, None] * mask
        coverage += mask
    return total / (coverage if cover else count * p)


@pytest.mark.parametrize("grid", [(3, 3), (2, 5), (5, 6), (1, 1)])
@pytest.mark.parametrize(
    ("p", "seed", "normalisation"),
    [(0.5, 0, "probability"), (0.3, 7, "probability"), (0.7, 2**64 - 1, "coverage")],
)
@pytest.mark.parametrize("baseline", [0, noise(1, 2, 1, 1, seed=4)])
def test_equals_the_definition(
    grid: Any, p: float, seed: int, normalisation: Any, baseline: Any
) -> None:
    model, x = picture_net(), pictures()
    found = ta.RISE(model).attribute(
        x,
        ta.Classes(1, 0),
        n_masks=17,
        grid_size=grid[0] if grid[0] == grid[1] else grid,
        probability=p,
        baselines=baseline,
        normalisation=normalisation,
        seed=seed,
    )

    def forward(v: Tensor) -> Tensor:
        return model(v).detach().softmax(1)[:, [1, 0]]

    expected = by_hand(forward, x, 17, grid, p, seed, baseline, normalisation == "coverage")
    assert found.shape == (2, 2, 1, 5, 6)
    assert_same(found, expected, EXACT)


def test_masks_and_scores_of_a_tuple_belong_together() -> None:
    a, b = noise(2, 1, 4, 5), noise(2, 3, 7, seed=2)

    def forward(u: Tensor, v: Tensor, scale: Tensor) -> Tensor:
        return (u.sum((1, 2, 3)) * v.prod(2).sum(1) * scale)[:, None]

    scale = torch.tensor([2.0, -1.0]).double()
    first, second = ta.RISE(forward).attribute(
        (a, b), 0, scale, activation="none", perturbations_per_eval=4, **SMALL
    )
    for found, x, position in ((first, a, 0), (second, b, 1)):
        total = torch.zeros_like(found)
        for number in range(23):
            m, n = (
                torch.from_numpy(mask_by_hand(shape, (3,) * len(shape), 0.5, 0, number, place))
                for place, shape in enumerate([(4, 5), (7,)])
            )
            weight = m if position == 0 else n
            score = forward(a * m, b * n, scale).reshape(2, *(1 for _ in x.shape[1:]))
            total += score * weight
        assert_same(found, total / (23 * 0.5), EXACT)


@pytest.mark.parametrize("at_once", [1, 2, 5, 22, 23, 64, None])
def test_the_result_does_not_depend_on_the_batching(at_once: int | None) -> None:
    """Row by row in exact arithmetic: only the batching could make a difference."""
    x = pictures(3)

    def forward(v: Tensor) -> Tensor:
        return (v * 64).round()[:, :, 1, 2]

    options = {"activation": "none", "perturbations_per_eval": at_once}
    found = ta.RISE(forward).attribute(x, 1, **SMALL, **options)
    one = ta.RISE(forward).attribute(x, 1, **SMALL, activation="none", perturbations_per_eval=1)
    assert bool(one.any())
    assert torch.equal(found, one)


def test_scores_are_spread_in_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = picture_net(), pictures()
    whole = ta.RISE(model).attribute(x, 1, **SMALL)
    monkeypatch.setattr("torchattr.methods._perturbation.random_masks.CHUNK_ELEMENTS", 100)
    assert_same(ta.RISE(model).attribute(x, 1, **SMALL), whole, EXACT)


def test_memory_that_runs_out_changes_nothing() -> None:
    x = pictures()
    whole = ta.RISE(picture_net()).attribute(x, 1, **SMALL)
    tight = Counting(picture_net(), limit=6)
    assert_same(ta.RISE(tight).attribute(x, 1, **SMALL), whole, EXACT)
    assert sum(rows for rows in tight.seen if rows <= 6) == 2 + 2 * 23
    with refused(OutOfMemory, "single perturbed copy"):
        ta.RISE(_AfterTheFirst(picture_net())).attribute(x, 1, **SMALL)


class _AfterTheFirst(Counting):
    """Runs out of memory in every forward but the first."""

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        self.limit = 0 if self.seen else None
        return super().forward(x, *others)


def test_a_constant_added_to_scores_is_no_noise_with_coverage() -> None:
    x = pictures()
    model = picture_net()
    options = {**SMALL, "activation": "none", "normalisation": "coverage"}
    plain = ta.RISE(model).attribute(x, 1, **options)
    raised = ta.RISE(lambda v: model(v) + 100).attribute(x, 1, **options)
    assert_same(raised - 100, plain, 1e-10)
    noisy = ta.RISE(lambda v: model(v) + 100).attribute(x, 1, **SMALL, activation="none")
    assert (noisy - noisy.mean()).abs().max() > 5


def test_a_pixel_that_no_mask_leaves_visible_is_zero() -> None:
    options = {"n_masks": 1, "grid_size": 2, "probability": 0.01, "normalisation": "coverage"}
    found = ta.RISE(picture_net()).attribute(pictures(), 1, **options)
    assert torch.equal(found, torch.zeros(2, 1, 5, 6).double())


def test_the_place_that_counts_is_found() -> None:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + 0.5

    def bright(v: Tensor) -> Tensor:
        return torch.stack([v[:, :, 4:10, 20:26].mean((1, 2, 3)), v[:, :, 25:, :7].mean((1, 2, 3))])

    options = {"n_masks": 2000, "grid_size": 8, "activation": "none"}
    maps = ta.RISE(lambda v: bright(v).T).attribute(x, ta.Classes(0, 1), **options)
    for example, (target, (rows, columns)) in product(
        range(2), enumerate([(range(4, 10), range(20, 26)), (range(25, 32), range(7))])
    ):
        row, column = divmod(int(maps[example, target].argmax()), 32)
        assert row in rows
        assert column in columns


def test_probabilities_weigh_unless_told_otherwise() -> None:
    model, x = picture_net(), pictures()
    expected = ta.RISE(nn.Sequential(model, nn.Softmax(1))).attribute(
        x, 1, activation="none", **SMALL
    )
    assert_same(ta.RISE(model).attribute(x, 1, **SMALL), expected, EXACT)
    expected = ta.RISE(nn.Sequential(model, nn.Sigmoid())).attribute(
        x, 1, activation="none", **SMALL
    )
    assert_same(ta.RISE(model).attribute(x, 1, activation="sigmoid", **SMALL), expected, EXACT)
    with refused(OutputError, "probabilities", "'none'"):
        ta.RISE(nn.Sequential(model, nn.Softmax(1))).attribute(x, 1, **SMALL)
    with refused(OutputError, "several scores", "(2, 1)", "'sigmoid'"):
        ta.RISE(lambda v: model(v)[:, :1]).attribute(x, **SMALL)


def test_the_entry_of_the_output_is_that_of_the_method() -> None:
    model, x = picture_net(), pictures()
    wrapped = ta.RISE(lambda v: {"other": v, "logits": model(v)}, output="logits")
    assert_same(wrapped.attribute(x, **SMALL), ta.RISE(model).attribute(x, **SMALL), EXACT)


def test_a_neuron_is_taken_as_it_is() -> None:
    model, x = picture_net(), pictures()
    target = ta.Neuron("0", (1, slice(None), 2))
    expected = ta.RISE(lambda v: model[0](v)[:, 1, :, 2].sum(1)).attribute(
        x, activation="none", **SMALL
    )
    assert_same(ta.RISE(model).attribute(x, target, **SMALL), expected, EXACT)


def test_a_forward_that_aggregates_gives_one_map() -> None:
    model, x = picture_net(), pictures()
    found = ta.RISE(lambda v: model(v)[:, 1].sum()).attribute(x, activation="none", **SMALL)
    expected = ta.RISE(model).attribute(x, 1, activation="none", **SMALL)
    assert_same(found, expected.sum(0, keepdim=True), EXACT)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_have_the_type_of_the_scores(kind: torch.dtype) -> None:
    x = pictures().to(kind)
    found = ta.RISE(lambda v: v.mean((2, 3))).attribute(x, 1, **SMALL)
    assert found.dtype == kind
    exact = ta.RISE(lambda v: v.mean((2, 3))).attribute(x.double(), 1, **SMALL)
    assert_same(found.double(), exact, 4 * torch.finfo(kind).eps)


def test_no_examples_give_no_maps() -> None:
    x = pictures()[:0]
    assert ta.RISE(picture_net()).attribute(x, 1, **SMALL).shape == (0, 1, 5, 6)
    assert ta.RISE(picture_net()).attribute(x, ta.TopK(2), **SMALL).shape == (0, 2, 1, 5, 6)


def test_explain_knows_it() -> None:
    model, x = picture_net(), pictures()
    explained = ta.explain(model, x, {"rise": SMALL, "saliency": {}}, targets=ta.TopK(2))
    assert_same(explained["rise"], ta.RISE(model).attribute(x, ta.TopK(2), **SMALL), EXACT)


def test_progress_counts_masks(capsys: pytest.CaptureFixture[str]) -> None:
    ta.RISE(picture_net()).attribute(pictures(), 1, **SMALL, show_progress=True)
    shown = capsys.readouterr().err
    assert "RISE" in shown
    assert "23/23" in shown


def test_an_interruption_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    model = picture_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    class Interrupted(Counting):
        def forward(self, x: Tensor, *others: Any) -> Tensor:
            if len(self.seen) == 3:
                raise KeyboardInterrupt
            return super().forward(x, *others)

    with pytest.raises(KeyboardInterrupt):
        ta.RISE(Interrupted(model)).attribute(pictures(), 1, perturbations_per_eval=2, **SMALL)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"n_masks": 0}, ta.InputError, ("n_masks", "at least 1", "0")),
        ({"n_masks": 2.5}, InputTypeError, ("n_masks", "int", "2.5")),
        ({"grid_size": 0}, ta.InputError, ("grid_size", "at least 1")),
        ({"grid_size": "7"}, InputTypeError, ("grid_size", "int", "'7'")),
        ({"grid_size": 6}, ta.InputError, ("grid_size", "6", "(5, 6)")),
        ({"grid_size": (2, 2, 2)}, ta.ShapeError, ("grid_size", "3 entries", "(5, 6)")),
        ({"probability": 0}, ta.InputError, ("probability", "between 0 and 1")),
        ({"probability": 1.0}, ta.InputError, ("probability", "between 0 and 1")),
        ({"probability": float("nan")}, ta.InputError, ("probability", "nan")),
        ({"probability": "half"}, InputTypeError, ("probability", "'half'")),
        ({"seed": -1}, ta.InputError, ("seed", "at least 0")),
        ({"seed": 2**64}, ta.InputError, ("seed", "2**64")),
        ({"seed": None}, InputTypeError, ("seed", "None")),
        ({"normalisation": "mean"}, ta.InputError, ("normalisation", "'coverage'", "'mean'")),
        ({"activation": "relu"}, ta.InputError, ("activation", "'softmax'", "'relu'")),
        ({"baselines": torch.zeros(3)}, ta.ShapeError, ("baselines", "(3,)")),
        ({"perturbations_per_eval": 0}, ta.InputError, ("perturbations_per_eval",)),
    ],
)
def test_wrong_arguments_are_named(options: Any, kind: Any, words: Any) -> None:
    settled = {"grid_size": 2, "n_masks": 4, **options}
    with refused(kind, *words):
        ta.RISE(picture_net()).attribute(pictures(), 1, **settled)


@pytest.mark.parametrize(
    ("inputs", "kind", "words"),
    [
        (torch.zeros(2, 6), ta.ShapeError, ("inputs", "(2, 6)", "additional_forward_args")),
        (torch.zeros(1, 2, 3, 4, 5, 6), ta.ShapeError, ("inputs", "one to three")),
        (torch.zeros(2, 3, 9, 9).long(), InputTypeError, ("inputs", "int64")),
        ((torch.zeros(2, 3, 9), torch.zeros(2, 4)), ta.ShapeError, ("inputs[1]", "(2, 4)")),
    ],
)
def test_inputs_that_cannot_be_masked_are_named(inputs: Any, kind: Any, words: Any) -> None:
    with refused(kind, *words):
        ta.RISE(lambda *v: v[0].flatten(1)).attribute(inputs, 0)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("squeeze", [lambda s: s.squeeze(), lambda s: s.squeeze(0)])
def test_a_squeezed_example_is_a_row(squeeze: Any, activation: Any) -> None:
    model, x = picture_net(), pictures(1)
    for target in (None, 2, ta.TopK(2)):
        options: dict[str, Any] = {"n_masks": 9, "grid_size": 3, "activation": activation}
        found = ta.RISE(lambda v: squeeze(model(v))).attribute(x, target, **options)
        assert_same(found, ta.RISE(model).attribute(x, target, **options), 1e-12)
