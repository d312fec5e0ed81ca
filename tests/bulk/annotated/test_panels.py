"""Panels of annotated pictures."""

from __future__ import annotations

import pytest
from bulk.annotated.drawn import box_of, draw, network

from torchattr.bulk import AnnotatedPictures, DataBenchmark, panel_entries
from torchattr.bulk.annotated.panels import METHODS, PICTURES, _outlined
from torchattr.evaluate import BenchmarkPlan

pytest.importorskip("pyarrow")


def test_the_first_pictures_by_the_best_methods(tmp_path) -> None:
    source = AnnotatedPictures(draw(tmp_path), tmp_path / "boxes.csv")
    names = ["saliency", "grad_cam", "lrp", "input_x_gradient", "deconvolution"]
    plan = BenchmarkPlan.of(names, ["mass"])
    benchmark = DataBenchmark.begin(network(), source, plan, tmp_path / "out")
    found = benchmark.run()
    entries = list(panel_entries(benchmark, found))
    assert [entry.title for entry in entries] == ["00.png (red)", "01.png (green)", "02.png (blue)"]
    assert len(entries) == PICTURES
    best = [name for name in found.ranking if name in names][:METHODS]
    for index, entry in enumerate(entries):
        assert entry.path.startswith("data/panels/")
        assert entry.picture is not None
        assert set(best) <= set(entry.arrays)
        assert entry.record["targets"][0]["index"] == index


def test_boxes_are_outlined(tmp_path) -> None:
    source = AnnotatedPictures(draw(tmp_path), tmp_path / "boxes.csv")
    shown = _outlined(source.read(0), source.annotations[0])
    left, top, right, bottom = box_of(0)
    assert shown.getpixel((left, top)) == shown.getpixel((right - 1, bottom - 1)) == (255, 60, 60)
    assert shown.getpixel((right, bottom)) == source.read(0).getpixel((right, bottom))
