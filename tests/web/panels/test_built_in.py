"""The built-in panels."""

from __future__ import annotations

from asking import panel_parts, raw
from starlette.testclient import TestClient


def test_the_scores_are_shown_as_bars_and_numbers(client: TestClient, picture: str) -> None:
    bars, table = panel_parts(client, picture, "scores", top=3)
    assert bars["labels"][:2] == ["astronaut", "cat"]
    assert (bars["largest"], bars["percent"]) == (1.0, True)
    assert [row[1] for row in table["rows"]] == bars["labels"]
    assert len(panel_parts(client, picture, "scores", top=100)[0]["labels"]) == 8


def test_the_other_panels_work(client: TestClient, picture: str) -> None:
    maps = panel_parts(client, picture, "gradient")
    assert [one["style"]["kind"] for one in maps] == ["color", "heat", "heat", "overlay"]
    assert (raw(client, maps[2]) < 0).any()
    (kernels,) = panel_parts(client, picture, "kernels")
    assert kernels["title"] == "stem.conv"
    totals, layers = panel_parts(client, picture, "summary")
    assert totals["rows"][0] == ["parameters", "317,032"]
    assert [row[0] for row in layers["rows"]][:2] == ["stem", "stem.conv"]
