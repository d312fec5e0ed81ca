"""Invalid manifests, and unusual values in them."""

import json
import os

import numpy as np
import pytest

from torchattr.errors import FolderError
from torchattr.results import RunFolder
from torchattr.results.manifest import FORMAT
from torchattr.results.sink import Entry

CAT = {"cat": {"files": ["cat.npz"]}}

ODD = [
    b"",
    b"not JSON",
    b"\xff\xfe\x00",
    b'{"format": "torchattr run 1", "pictures": {',
    b"[" * 100_000,
    b"[]",
    b"null",
    b"3",
    b'"torchattr run 1"',
    b'{"name": "my web app"}',
    json.dumps({"format": "torchattr run 0", "pictures": {}}).encode(),
    json.dumps({"format": ["torchattr run 1"], "pictures": {}}).encode(),
    *(
        json.dumps({"format": FORMAT, **rest}).encode()
        for rest in (
            {},
            {"pictures": None},
            {"pictures": ["cat"]},
            {"pictures": {"cat": {}}},
            {"pictures": {"cat": "cat.png"}},
            {"pictures": {"cat": {"files": "cat.png"}}},
            {"pictures": {"cat": {"files": [["cat.png"]]}}},
            {"pictures": CAT, "skipped": ["x"]},
            {"pictures": CAT, "skipped": {"x": None}},
            {"pictures": CAT, "finished": {"key": ["cat.npz"]}},
            {"pictures": CAT, "finished": {"key": {"cat.npz": "3"}}},
            {"pictures": CAT, "leftovers": "cat.npz"},
        )
    ),
]


def write(out, overwrite=False):
    with RunFolder(out, overwrite) as folder:
        folder.claim(["cat"])
        folder.add(Entry("cat", None, {"a": np.ones(1)}))


def manifest(out):
    return json.loads((out / "manifest.json").read_text())


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_what_is_no_manifest_is_refused_at_once_and_kept(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(FolderError, match=r"; or allow it with overwrite=True"):
        RunFolder(tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == content
    write(tmp_path, overwrite=True)
    assert list(manifest(tmp_path)["pictures"]) == ["cat"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_places_where_no_manifest_can_be_are_named(tmp_path, overwrite):
    for name in ("folder", "link", "fifo"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "manifest.json").mkdir()
    (tmp_path / "link" / "manifest.json").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo" / "manifest.json")
    for name, said in (
        ("folder", "is not a file"),
        ("link", "is a broken link"),
        ("fifo", "not a file"),
    ):
        with pytest.raises(FolderError, match=rf"{said}; remove .*or choose another folder"):
            RunFolder(tmp_path / name, overwrite)


def test_a_manifest_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(FolderError, match=r"cannot be read .Permission denied.; make it readable"):
        RunFolder(tmp_path)


def refuse(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


def test_a_manifest_that_is_spoiled_while_a_run_goes_on_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.add(Entry("cat", None, {"a": np.ones(1)}))
    (tmp_path / "manifest.json").write_text("spoiled")
    with pytest.raises(FolderError, match="was not created by torchattr"):
        folder.add(Entry("dog", None, {"a": np.ones(1)}))


def test_a_read_only_manifest_is_replaced_as_any(tmp_path):
    write(tmp_path)
    (tmp_path / "manifest.json").chmod(0o444)
    write(tmp_path)


def test_a_manifest_of_before_keeps_its_entries(tmp_path):
    (tmp_path / "dog.png").write_bytes(b"x")
    old = {
        "format": FORMAT,
        "pictures": {"dog": {"files": ["dog.png"], "model": "m"}},
        "skipped": {},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    write(tmp_path)
    assert manifest(tmp_path)["pictures"]["dog"] == {"files": ["dog.png"], "model": "m"}


def test_a_manifest_replaces_nothing_outside_its_folder(tmp_path):
    (tmp_path / "mine.npz").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    said = {
        "format": FORMAT,
        "pictures": {"x": {"files": ["../mine.npz", str(tmp_path / "mine.npz")]}},
    }
    (out / "manifest.json").write_text(json.dumps(said))
    write(out)
    assert (tmp_path / "mine.npz").read_text() == "mine"


@pytest.mark.parametrize("text", ["caf\udce9", "red\x1b[31m", 'a"b\\c', "line\nbreak", "é漢\u202e"])
def test_every_text_is_valid_json_and_read_back(tmp_path, text):
    with RunFolder(tmp_path) as folder:
        folder.add(Entry("cat", None, {"a": np.ones(1)}, {"source": text, "deep": {text: [text]}}))
        folder.skip(text, text)
    (tmp_path / "manifest.json").read_bytes().decode("utf-8")
    said = manifest(tmp_path)
    assert said["pictures"]["cat"] == {"files": ["cat.npz"], "source": text, "deep": {text: [text]}}
    assert said["skipped"] == {text: text}
    again = (tmp_path / "manifest.json").read_bytes()
    RunFolder(tmp_path).write_manifest()
    assert (tmp_path / "manifest.json").read_bytes() == again


def test_a_picture_that_is_read_at_last_is_skipped_no_more(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.skip("cat.png", "truncated")
        folder.skip("dog.png", "truncated")
        folder.add(Entry("cat", None, {"a": np.ones(1)}, {"source": "cat.png"}))
    assert manifest(tmp_path)["skipped"] == {"dog.png": "truncated"}


@pytest.mark.parametrize("name", ["cat.png", "cat.npz", "cat.txt"])
def test_a_folder_or_a_link_in_the_place_of_a_file_is_named(tmp_path, name):
    (tmp_path / "a" / name).mkdir(parents=True)
    with pytest.raises(FolderError, match=rf"holds {name}, which is not a file"):
        RunFolder(tmp_path / "a", overwrite=True).claim(["cat"])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / name).symlink_to("nothing")
    with pytest.raises(FolderError, match=rf"holds {name}, which was not created by torchattr"):
        RunFolder(tmp_path / "b").claim(["cat"])


@pytest.mark.parametrize("out", ["", "a\0b", "~nobody-of-this-name/x"])
def test_what_is_no_path_is_refused(out):
    with pytest.raises(FolderError, match="out: "):
        RunFolder(out)
