"""The case `incremental`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import CASES, incremental
from benchmarks.report.targets import TARGETS, rests_on
from benchmarks.settings import Settings

CPU = torch.device("cpu")


QUICK = Settings(CPU, rounds=1, quick=True)


def test_targets_rest_on_what_is_asked() -> None:
    for network, questions in incremental.ASKED.items():
        for what in questions:
            assert rests_on("incremental", {"network": network, "what": what})
    wanted = [one.where for one in TARGETS if one.case == "incremental"]
    assert all(where["what"] in incremental.ASKED[where["network"]] for where in wanted)
    assert not {*incremental.CURVE} & {where["what"] for where in wanted}


@pytest.mark.slow
def test_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """In separate processes, on pictures of 64 pixels."""
    monkeypatch.setattr(Settings, "size", property(lambda self: 64))
    windows, superpixels, curve = CASES["incremental"].run(QUICK)
    for row in (windows, superpixels, curve):
        assert all("wrong" not in side for side in row["sides"].values())
    assert windows["sides"]["captum"]["growth_ratio"] > 0
    assert superpixels["what"] == "12 superpixels"
    assert list(curve["sides"]) == ["torchattr", "dense"]
    shown = "\n".join(CASES["incremental"].tables([windows, superpixels, curve]))
    assert "| resnet18 | 16/8 | 49 |" in shown
    assert "Growth of memory during a run in MiB" in shown
    assert "Windows of several sizes" in shown
