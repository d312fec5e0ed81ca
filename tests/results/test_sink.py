import json
import os
import signal

import numpy as np
import pytest

from torchattr.errors import FolderError
from torchattr.results import Entry, Report, RunFolder, Tee
from torchattr.show import Drawing


def entry(name="cat", group="activations/conv", **options):
    return Entry(name, Drawing(4, 4), {"maps": np.ones(2)}, group=group, **options)


def test_several_sinks_get_the_same(tmp_path):
    folder, report = RunFolder(tmp_path / "out"), Report(tmp_path / "report.html")
    with Tee(folder, report) as sink:
        sink.claim(["activations/conv/cat"])
        files = sink.add(entry())
        sink.skip("dog.png", "truncated")
    assert [file.name for file in files] == ["cat.png", "cat.npz"]
    assert "cat" in (tmp_path / "report.html").read_text()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["skipped"] == {"dog.png": "truncated"}
    assert "truncated" in (tmp_path / "report.html").read_text()


def test_each_sink_is_closed_when_another_cannot_be(tmp_path):
    class Spoiler(Report):
        def close(self):
            raise FolderError("html: no space left")

    sink = Tee(RunFolder(tmp_path / "out"), Spoiler(tmp_path / "report.html"))
    sink.add(entry())
    with pytest.raises(FolderError, match="html"):
        sink.close()
    assert (tmp_path / "out" / "manifest.json").exists()


def test_groups_are_folders(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.add(entry())
        folder.add(entry(group="activations/other"))
        folder.add(Entry("summary", None, {}, text="a table"))
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert found == [
        "activations/conv/cat.npz",
        "activations/conv/cat.png",
        "activations/other/cat.npz",
        "activations/other/cat.png",
        "manifest.json",
        "summary.txt",
    ]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert set(manifest["pictures"]) == {"activations/conv/cat", "activations/other/cat", "summary"}


def test_a_foreign_file_in_a_group_is_kept(tmp_path):
    mine = tmp_path / "activations" / "conv" / "cat.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FolderError, match=r"holds activations/conv/cat\.png"):
        RunFolder(tmp_path).claim(["activations/conv/cat"])
    RunFolder(tmp_path, overwrite=True).claim(["activations/conv/cat"])


def test_a_file_where_a_group_should_be_is_named(tmp_path):
    (tmp_path / "activations").write_text("mine")
    with pytest.raises(FolderError, match="is not a folder"):
        RunFolder(tmp_path).claim(["activations/conv/cat"])


@pytest.mark.usefixtures("interruptible")
def test_a_signal_while_a_picture_is_finished_does_not_spoil_the_count(tmp_path, monkeypatch):
    move = os.replace

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        move(*args)

    sink = Tee(RunFolder(tmp_path))
    sink.add(entry())
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sink.finish("key")
    assert sink.finished == 1
    assert list(json.loads((tmp_path / "manifest.json").read_text())["finished"]) == ["key"]
