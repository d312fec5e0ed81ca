"""Insertion and deletion against a literal loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError, UndefinedMetricWarning
from torchattr.evaluate import Curve, deletion_curve, insertion_curve
from torchattr.evaluate.replacement import blurred

EXACT = 1e-12
CURVES = {"deletion": deletion_curve, "insertion": insertion_curve}


def net() -> nn.Module:
    """A small convolutional net from `(N, 2, 7, 8)` to three scores."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(120, 3)
        ).double()
    )


def pictures(count: int = 2) -> Tensor:
    return noise(count, 2, 7, 8)


def by_hand(
    kind: str, forward: Any, x: Tensor, b: Tensor, worth: Tensor, ids: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Change one example feature by feature; `ids` numbers its elements, `worth` its features."""
    order = sorted(range(len(worth)), key=lambda number: -worth[number].item())
    picture = (x if kind == "deletion" else b).clone()
    source = b if kind == "deletion" else x
    fractions, scores, done = [0.0], [forward(picture[None])[0]], 0
    for step in range(1, steps + 1):
        wanted = round(step / steps * len(order))
        for number in order[done:wanted]:
            picture[ids == number] = source[ids == number]
        done = wanted
        fractions.append(done / len(order))
        scores.append(forward(picture[None])[0])
    return torch.tensor(fractions, dtype=torch.float64), torch.stack(scores, -1)


def pixel_ids(picture: Tensor) -> Tensor:
    return torch.arange(picture[0].numel()).reshape(picture.shape[1:]).expand_as(picture)


def softmax_of(model: nn.Module) -> Any:
    return lambda v: model(v).detach().softmax(1)


def trapezoids(fractions: Tensor, scores: Tensor) -> Tensor:
    widths = fractions[1:] - fractions[:-1]
    return ((scores[..., 1:] + scores[..., :-1]) / 2 * widths).sum(-1)


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("steps", [1, 7, 56])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("baseline", [0, 0.3, noise(2, 2, 7, 8, seed=5)])
def test_pixels_equal_a_literal_loop(kind: str, steps: int, channels: int, baseline: Any) -> None:
    model, x, maps = net(), pictures(), noise(2, channels, 7, 8, seed=3)
    found = CURVES[kind](model, x, maps, [1, 2], baselines=baseline, steps=steps)
    b = torch.as_tensor(baseline, dtype=torch.float64).expand_as(x)
    assert found.scores.shape == found.fractions.shape == (2, steps + 1)
    for n, target in enumerate([1, 2]):
        worth = maps[n].mean(0).flatten()
        fractions, scores = by_hand(
            kind, softmax_of(model), x[n], b[n], worth, pixel_ids(x[n]), steps
        )
        assert_same(found.fractions[n], fractions, EXACT)
        assert_same(found.scores[n], scores[target], EXACT)
        assert_same(found.auc[n], trapezoids(fractions, scores[target]), EXACT)


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("several", [ta.Classes(2, 0), ta.TopK(2)])
def test_each_target_is_judged_by_its_own_order(kind: str, several: Any) -> None:
    model, x, maps = net(), pictures(), noise(2, 2, 1, 7, 8, seed=3)
    found = CURVES[kind](model, x, maps, several, baselines=0, steps=9)
    top = model(x).topk(2).indices
    columns = top.T if isinstance(several, ta.TopK) else torch.tensor([[2, 2], [0, 0]])
    assert found.scores.shape == (2, 2, 10)
    for position, target in enumerate(columns):
        one = CURVES[kind](model, x, maps[:, position], target, baselines=0, steps=9)
        assert_same(found.scores[:, position], one.scores, EXACT)
        assert_same(found.auc[:, position], one.auc, EXACT)


def test_one_order_serves_several_targets() -> None:
    model, x, maps = net(), pictures(), noise(2, 1, 7, 8, seed=3)
    found = deletion_curve(model, x, maps, ta.Classes(2, 0), steps=9)
    for position, target in enumerate([2, 0]):
        one = deletion_curve(model, x, maps, target, steps=9)
        assert_same(found.scores[:, position], one.scores, EXACT)


def test_the_ends_are_the_input_and_the_baseline() -> None:
    model, x = net(), pictures()
    maps = ta.Saliency(model).attribute(x)
    classes = model(x).argmax(1)
    start = softmax_of(model)(x)[[0, 1], classes]
    end = softmax_of(model)(blurred(x))[[0, 1], classes]
    down = deletion_curve(model, x, maps, baselines="blur").scores
    up = insertion_curve(model, x, maps).scores
    for found in (down[:, 0], up[:, -1]):
        assert_same(found, start, EXACT)
    for found in (down[:, -1], up[:, 0]):
        assert_same(found, end, EXACT)


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("own", [False, True])
def test_features_of_a_mask_equal_a_literal_loop(kind: str, own: bool) -> None:
    """Also if examples have different masks and numbers of features."""
    model, x, maps = net(), pictures(), noise(2, 2, 7, 8, seed=3)
    columns = torch.arange(8).expand(1, 1, 7, 8) // 2 * 10
    mask = torch.cat([columns, torch.arange(7).reshape(1, 1, 7, 1).expand(1, 1, 7, 8)])
    mask = mask if own else columns
    steps = 7 if own else 4
    found = CURVES[kind](model, x, maps, 1, baselines=0, feature_mask=mask, steps=100)
    assert found.scores.shape == (2, steps + 1)
    for n in range(2):
        here = mask[n if own else 0].expand(2, 7, 8)
        numbers, ids = here.unique(return_inverse=True)
        worth = torch.stack([maps[n][ids == k].mean() for k in range(len(numbers))])
        fractions, scores = by_hand(
            kind, softmax_of(model), x[n], torch.zeros_like(x[n]), worth, ids, steps
        )
        assert_same(found.fractions[n], fractions, EXACT)
        assert_same(found.scores[n], scores[1], EXACT)


def test_rows_are_changed_element_by_element_and_ties_by_position() -> None:
    weights = torch.tensor([[1.0, 2.0, 4.0, 8.0]]).double()
    options: dict[str, Any] = {"activation": "none", "baselines": 0}
    x, ties = torch.ones(2, 4).double(), torch.tensor([[0.0, 1, 0, 1], [5, 5, 5, 6]])
    down = deletion_curve(lambda v: v @ weights.T, x, ties, **options)
    assert down.scores.tolist() == [[15, 13, 5, 4, 0], [15, 7, 6, 4, 0]]
    up = insertion_curve(lambda v: v @ weights.T, x, ties, **options)
    assert up.scores.tolist() == [[0, 2, 10, 11, 15], [0, 8, 9, 11, 15]]


def test_a_map_without_an_order_has_no_curve_beside_others() -> None:
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    maps = torch.tensor([[[1.0, 2.0], [3.0, 3.0]], [[5.0, 5.0], [2.0, 1.0]]])
    options: dict[str, Any] = {"activation": "none", "baselines": 0}
    with pytest.warns(UndefinedMetricWarning, match="deletion_curve .* 2 of 2 maps: 0, 1"):
        found = deletion_curve(
            lambda v: v @ weights.T, torch.ones(2, 2), maps, ta.Classes(0, 1), **options
        )
    assert found.auc.isnan().tolist() == [[False, True], [True, False]]
    assert found.scores[0, 0].tolist() == [3, 1, 0]
    assert found.scores[1, 1].tolist() == [7, 4, 0]
    assert "AUC 2.500" in repr(found)


def test_tuples_share_one_order() -> None:
    a, b = torch.ones(1, 2).double(), torch.ones(1, 3).double()

    def forward(u: Tensor, v: Tensor, scale: Tensor) -> Tensor:
        return (u.sum(1) + 10 * v.sum(1))[:, None] * scale

    maps = (torch.tensor([[4.0, 1.0]]), torch.tensor([[5.0, 0.0, 3.0]]))
    scale = torch.tensor([[2.0]]).double()
    found = deletion_curve(
        forward, (a, b), maps, activation="none", additional_forward_args=scale, baselines=(0, -1)
    )
    assert found.scores.tolist() == [[64, 24, 22, -18, -20, -60]]
    masks = (torch.tensor([[0, 1]]), torch.tensor([[1, 0, 0]]))
    found = deletion_curve(
        forward, (a, b), maps, feature_mask=masks, activation="none", additional_forward_args=scale
    )
    assert found.scores.tolist() == [[64, 42, 0]]


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("at_once", [1, 3, None])
def test_the_batching_changes_nothing(kind: str, at_once: int | None) -> None:
    model, x, maps = net(), pictures(), noise(2, 1, 7, 8, seed=3)
    whole = CURVES[kind](model, x, maps, 1, steps=20, perturbations_per_eval=20)
    found = CURVES[kind](model, x, maps, 1, steps=20, perturbations_per_eval=at_once)
    assert_same(found.scores, whole.scores, EXACT)


def test_a_better_order_has_the_better_area() -> None:
    """For a linear score, the order by the size of its terms is optimal."""
    weights, x = noise(1, 40).abs(), torch.ones(1, 40).double()
    options: dict[str, Any] = {"activation": "none", "baselines": 0}

    def forward(v: Tensor) -> Tensor:
        return v @ weights.T

    for seed in range(2, 6):
        other = noise(1, 40, seed=seed)
        assert deletion_curve(forward, x, weights, **options).auc < (
            deletion_curve(forward, x, other, **options).auc
        )
        assert insertion_curve(forward, x, weights, **options).auc > (
            insertion_curve(forward, x, other, **options).auc
        )


def test_activations_and_entries() -> None:
    model, x, maps = net(), pictures(), noise(2, 1, 7, 8, seed=3)
    plain = deletion_curve(model, x, maps, 1, activation="none", steps=5)
    assert_same(plain.scores[:, 0], model(x)[:, 1].detach(), EXACT)
    found = deletion_curve(model, x, maps, 1, activation="sigmoid", steps=5)
    assert_same(found.scores, plain.scores.sigmoid(), EXACT)
    entry = deletion_curve(
        lambda v: {"a": v, "b": model(v)}, x, maps, 1, output="b", activation="none", steps=5
    )
    assert_same(entry.scores, plain.scores, EXACT)


def test_a_forward_that_aggregates_needs_a_single_example() -> None:
    model, x, maps = net(), pictures(), noise(2, 1, 7, 8, seed=3)

    def total(v: Tensor) -> Tensor:
        return model(v)[:, 1].sum()

    with refused(OutputError, "1 values", "2 examples"):
        deletion_curve(total, x, maps, activation="none")
    found = deletion_curve(total, x[:1], maps[:1], activation="none", steps=5)
    expected = deletion_curve(model, x[:1], maps[:1], 1, activation="none", steps=5)
    assert_same(found.scores, expected.scores, EXACT)


@pytest.mark.parametrize("targets", [1, ta.Classes(1, 2)])
@pytest.mark.parametrize("kind", CURVES)
def test_a_curve_shows_itself(kind: str, targets: Any) -> None:
    curve = CURVES[kind](net(), pictures(), noise(2, 1, 7, 8), targets, steps=6)
    assert f"Curve({kind} of 2 examples" in repr(curve)
    assert "6 steps" in repr(curve)
    assert f"{curve.auc.mean():.3f} on average" in repr(curve)
    axes = curve.plot()
    count = 2 if targets == 1 else 4
    assert [len(line.get_xdata()) for line in axes.lines] == [7] * count
    assert axes.get_title().startswith(kind.capitalize())
    assert 'alt="' in curve._repr_html_()
    assert "base64" in curve._repr_html_()
    assert curve.plot(axes) is axes


def test_the_area_of_a_single_line_is_filled() -> None:
    curve = Curve("deletion", torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[1.0, 0.5, 0.25]]))
    assert repr(curve) == "Curve(deletion of 1 example in 2 steps; AUC 0.562)"
    assert len(curve.plot().collections) == 1


def test_progress_counts_steps(capsys: pytest.CaptureFixture[str]) -> None:
    deletion_curve(net(), pictures(), noise(2, 1, 7, 8), 1, steps=6, show_progress=True)
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"attributions": torch.zeros(2, 1, 3, 4)}, ta.ShapeError, ("(2, 1, 3, 4)", "interpolate")),
        (
            {"attributions": torch.zeros(1, 1, 7, 8)},
            ta.ShapeError,
            ("attributions", "(1, 1, 7, 8)"),
        ),
        ({"attributions": torch.zeros(2, 3, 1, 7, 8)}, ta.ShapeError, ("1 target",)),
        ({"attributions": torch.full((2, 1, 7, 8), torch.nan)}, ta.InputError, ("NaN",)),
        ({"attributions": [[1.0]]}, InputTypeError, ("attributions", "list")),
        ({"attributions": (pictures(), pictures())}, ta.ShapeError, ("2 entries", "1 inputs")),
        ({"steps": 0}, ta.InputError, ("steps", "at least 1", "0")),
        ({"steps": 1.0}, ta.InputError, ("steps", "between 0 and 1", "1.0")),
        ({"steps": "all"}, InputTypeError, ("steps", "str")),
        ({"baselines": "grey"}, ta.InputError, ("baselines", "'blur'", "'grey'")),
        ({"baselines": torch.zeros(3)}, ta.ShapeError, ("baselines", "(3,)")),
        ({"feature_mask": torch.zeros(7, 8)}, InputTypeError, ("feature_mask", "float32")),
        ({"activation": "relu"}, ta.InputError, ("activation", "'relu'")),
        ({"perturbations_per_eval": 0}, ta.InputError, ("perturbations_per_eval",)),
        ({"inputs": pictures()[:0]}, ta.InputError, ("inputs", "no examples")),
    ],
)
@pytest.mark.parametrize("curve", CURVES.values())
def test_wrong_arguments_are_named(curve: Any, options: Any, kind: Any, words: Any) -> None:
    settled = {"inputs": pictures(), "attributions": noise(2, 1, 7, 8), "target": 1, **options}
    with refused(kind, *words):
        curve(net(), **settled)


@pytest.mark.parametrize("activation", ["softmax", "none"])
@pytest.mark.parametrize("kind", CURVES)
def test_a_squeezed_example_is_a_row(kind: str, activation: Any) -> None:
    model, x, maps = net(), pictures()[:1], noise(1, 1, 7, 8, seed=3)
    options: dict[str, Any] = {"steps": 5, "activation": activation}
    for target in (None, 1):
        found = CURVES[kind](lambda v: model(v).squeeze(), x, maps, target, **options)
        assert_same(found.scores, CURVES[kind](model, x, maps, target, **options).scores, EXACT)


def test_the_least_important_first() -> None:
    model, x, maps = net(), pictures(), noise(2, 1, 7, 8, seed=3)
    for kind in CURVES.values():
        found = kind(model, x, maps, 1, steps=9, order="least")
        assert_same(found.scores, kind(model, x, -maps, 1, steps=9).scores, EXACT)
    with pytest.raises(InputError, match="order must be 'most' or 'least', got 'lerf'"):
        deletion_curve(model, x, maps, 1, order="lerf")  # type: ignore[arg-type]


def test_the_area_over_the_curve_is_the_mean_fall() -> None:
    model, x, maps = net(), pictures(), noise(2, 1, 7, 8, seed=3)
    curve = deletion_curve(model, x, maps, 1, steps=9)
    for n in range(2):
        falls = [curve.scores[n, 0] - curve.scores[n, k] for k in range(10)]
        assert curve.aopc[n].item() == pytest.approx(sum(falls).item() / 10)
    several = deletion_curve(model, x, maps, ta.Classes(2, 0), steps=9)
    assert several.aopc.shape == (2, 2)
