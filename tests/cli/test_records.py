"""What happened to each picture of a run, as plain values."""

from __future__ import annotations

from pathlib import Path

from torchattr.cli.records import Records
from torchattr.models import load_model
from torchattr.runs import AlreadyDone, PictureDone, Skipped, Written


def test_events_belong_to_the_picture_that_they_precede() -> None:
    records = Records(load_model("demo"))
    for event in (
        Written(Path("a"), [Path("out/a.png"), Path("out/a.npz")]),
        PictureDone(Path("in/a.png")),
        AlreadyDone(Path("in/b.png")),
        Skipped(Path("in/c.png"), "in/c.png: no such file"),
    ):
        records.add(event)
    assert records.pictures == [
        {"image": "in/a.png", "state": "written", "files": ["out/a.png", "out/a.npz"]},
        {"image": "in/b.png", "state": "kept"},
        {"image": "in/c.png", "state": "skipped", "reason": "in/c.png: no such file"},
    ]
