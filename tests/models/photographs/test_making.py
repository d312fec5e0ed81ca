"""The photographs are those of scikit-image, and small."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from torchattr.models.photographs import NAMES, photograph

making = pytest.importorskip("torchattr.models.photographs.making", reason="needs scikit-image")


@pytest.mark.parametrize("name", NAMES)
def test_a_photograph_is_that_of_scikit_image(name: str) -> None:
    original = making.original(name)
    with Image.open(photograph(name)) as ours:
        assert ours.size == original.size
        assert ours.mode == original.mode
        difference = np.abs(np.asarray(ours, float) - np.asarray(original, float))
    assert difference.mean() < 4
    assert photograph(name).stat().st_size <= 60_000


def test_the_making_writes_every_photograph(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(making, "photograph", lambda name: tmp_path / f"{name}.jpg")
    making.main()
    assert sorted(file.stem for file in tmp_path.iterdir()) == sorted(NAMES)


def test_each_has_its_licence() -> None:
    sources = photograph(NAMES[0]).with_name("SOURCES.md").read_text(encoding="utf-8")
    rows = {name: row for row in sources.splitlines() for name in NAMES if f"`{name}.jpg`" in row}
    assert rows.keys() == set(NAMES)
    assert all("CC0" in row or "public domain" in row for row in rows.values())
