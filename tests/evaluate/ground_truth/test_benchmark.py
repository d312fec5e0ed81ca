"""Methods against metrics on fresh scenes."""

from __future__ import annotations

import json

import pytest
import torch
from ground_truth.labelled import labelled

import torchattr as ta
from torchattr.errors import FewSamplesWarning, InputError, RegistryError
from torchattr.evaluate import benchmark, bootstrap_interval, relevance_mass
from torchattr.evaluate.ground_truth.collage_pictures import collage_pictures
from torchattr.evaluate.ground_truth.controls import CONTROLS
from torchattr.models import load_model

METHODS = ["saliency", "lrp", "raw_attention", "random_cam"]
METRICS = ["mass", "auc", "grid", "single", "gini"]


@pytest.fixture(scope="module")
def found():
    return benchmark(n=10, methods=METHODS, metrics=METRICS, seed=3)


def test_values_are_those_of_the_metrics_on_the_scenes(found) -> None:
    assert found.values.shape == (10, 3 + len(CONTROLS), len(METRICS))
    pictures = collage_pictures(10, 3)
    maps = ta.Saliency(pictures.model).attribute(pictures.inputs, target=pictures.targets)
    mass = relevance_mass(maps, pictures.masks)
    torch.testing.assert_close(found.values[:, 0, 0], mass)
    assert float(found.intervals.value[0, 0]) == pytest.approx(float(mass.mean()))
    expected = bootstrap_interval(mass)
    row = found.intervals[0, 0]
    assert (float(row.low), float(row.high)) == pytest.approx(
        (float(expected.low), float(expected.high))
    )


def test_what_explains_ranks_above_what_knows_nothing(found) -> None:
    assert found.ranking[:2] == ["lrp", "saliency"]
    best, random = (found.ranks[found.methods.index(name)] for name in ("lrp", "(random)"))
    assert float(best.high) < float(random.low)


def test_what_does_not_fit_is_left_out_with_its_reason(found) -> None:
    assert "raw_attention" not in found.methods
    assert any(note.startswith("Left out: raw_attention, RawAttention") for note in found.notes())


def test_what_the_metrics_replace_is_said(found) -> None:
    assert "Measured with: single: a grid of 16 x 16 squares." in list(found.notes())


def test_a_seed_gives_the_same(found) -> None:
    options = {"methods": ["saliency"], "metrics": ["mass"], "n": 10}
    first, again, other = (benchmark(seed=seed, **options) for seed in (3, 3, 4))
    assert first.values.equal(again.values)
    # Other methods may change how the shared forward runs, and so its rounding.
    torch.testing.assert_close(first.values[:, :1, :1], found.values[:, :1, :1])
    assert not first.values.equal(other.values)


def test_methods_made_by_functions() -> None:
    def smooth(net: torch.nn.Module) -> ta.Attribution:
        return ta.NoiseTunnel(ta.Saliency(net))

    made = benchmark(n=10, methods={"smooth_grad": smooth}, metrics="mass")
    assert made.methods[0] == "smooth_grad"
    assert made.agreement.isnan().all()
    assert "Rank correlation" not in str(made)


def test_forms(found, tmp_path) -> None:
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["methods"] == list(found.methods)
    assert plain["better"] == ["higher"] * 5
    assert len(plain["means"]["low"]) == len(found.methods)
    files = {path.name for path in found.save(tmp_path / "out")}
    assert {"ranking.png", "ranking.txt", "ranking.npz", "agreement.png"} <= files
    assert "best lrp, saliency" in repr(found)
    assert found._repr_html_().count("<img") == 2
    assert "Means over 10 pictures of seed 3" in str(found)


def test_pictures_of_ones_own() -> None:
    pictures = labelled(12)
    made = benchmark(pictures, methods=["saliency", "grad_cam"], metrics=["mass", "grid", "auc"])
    assert [metric.name for metric in made.metrics] == ["mass", "auc"]
    assert len(made.values) == 12
    assert "Means over 12 pictures; arrows" in str(made)
    with pytest.raises(InputError, match="only grid, measured on grids of fresh scenes"):
        benchmark(pictures, metrics="grid")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"pictures": "planted"},
            InputError,
            "pictures must be 'collage', 'photographs' or Labelled",
        ),
        ({"metrics": "iou"}, InputError, "metrics must be some of"),
        ({"methods": "salience"}, RegistryError, "did you mean 'saliency'"),
        ({"methods": "raw_attention", "metrics": "mass"}, InputError, "no method fits the network"),
        ({"pictures": "photographs", "n": 3}, InputError, "n is the number of scenes of 'collage'"),
        ({"model": load_model("demo")}, InputError, "model is the network of 'photographs'"),
        ({"n": 0}, InputError, "n must be at least 1"),
        ({"seed": 0}, InputError, "seed 0 is that of the scenes that the network was trained on"),
    ],
)
def test_wrong_input_is_named(options, error, said) -> None:
    with pytest.raises(error, match=said):
        benchmark(**options)


def test_few_pictures_are_warned_of() -> None:
    few = benchmark(n=2, methods="saliency", metrics="mass")
    with pytest.warns(FewSamplesWarning, match="too narrow"):
        str(few)
