"""Results without one row per example are not saved."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.errors import RowsWarning, ShapeError
from torchattr.results.rows import with_rows


def explanation(count=2, **changed):
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ReLU())
    x = torch.rand(count, 3, 4, 4)
    ex = ta.explain(model, x, ["saliency"], ta.TopK(2))
    methods = {**ex.attributions, **changed.pop("methods", {})}
    return dataclasses.replace(ex, attributions=methods, **changed)


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(8, 2, 1, 4, 4),
        torch.ones(1, 2, 1, 4, 4),
        torch.ones(0, 2, 1, 4, 4),
        torch.tensor(1.0),
        {"a": torch.ones(2, 2, 1, 4, 4), "b": torch.ones(6, 2, 1, 4, 4)},
        (torch.ones(2, 2, 3), {"deep": (torch.ones(4, 2, 3),)}),
    ],
    ids=["frames", "squeezed", "empty", "number", "one of two layers", "nested"],
)
def test_a_result_with_other_rows_is_left_out_with_its_reason(tmp_path, value):
    ex = explanation(methods={"grad_cam": value})
    with pytest.warns(
        RowsWarning, match=r"grad_cam is not saved: its result has \w+ rows for 2 examples"
    ):
        ex.save(tmp_path)
    said = json.loads((tmp_path / "manifest.json").read_text())["pictures"]
    for index, name in enumerate(("00", "01")):
        assert "rows for 2 examples" in said[name]["refused"]["grad_cam"]
        with np.load(tmp_path / f"{name}.npz") as arrays:
            assert set(arrays) == {"saliency", "scores", "targets"}
            np.testing.assert_array_equal(arrays["saliency"], ex["saliency"][index].numpy())


def test_a_single_example_is_looked_at_as_well(tmp_path):
    ex = explanation(1, methods={"grad_cam": torch.ones(16, 2, 1, 4, 4)})
    assert list(with_rows(ex)) == ["saliency"]
    assert "16 rows for 1 examples" in with_rows(ex).refused["grad_cam"]


def test_a_notebook_shows_no_other_examples_maps():
    ex = explanation(1, methods={"grad_cam": torch.ones(16, 2, 1, 4, 4)})
    assert "<img" in ex._repr_html_()


@pytest.mark.parametrize("name", ["scores", "targets"])
def test_scores_of_other_rows_are_refused(tmp_path, name):
    ex = explanation(**{name: torch.ones(6, 2, dtype=torch.long)})
    with pytest.raises(ShapeError, match=rf"{name} has the shape \(6, 2\) for 2 examples"):
        ex.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whole_results_are_left_as_they_are():
    ex = explanation(methods={"cams": {"a": torch.ones(2, 2, 1), "b": torch.ones(2, 2, 9)}})
    assert with_rows(ex) is ex
