import json

import numpy as np
import pytest

from torchattr.errors import FolderError, InputError
from torchattr.results.folder import RunFolder
from torchattr.results.sink import Entry
from torchattr.show import Drawing


def entry(name="cat", value=1.0):
    return Entry(name, Drawing(4, 4), {"saliency": np.full(3, value)}, {"model": "m"})


def write(out, *entries, overwrite=False):
    folder = RunFolder(out, overwrite)
    folder.claim([one.name for one in entries])
    fill(folder, entries)


def fill(folder, entries):
    with folder:
        for one in entries:
            folder.add(one)


def saliency(out):
    with np.load(out / "cat.npz") as arrays:
        return arrays["saliency"].tolist()


def manifest(out):
    return json.loads((out / "manifest.json").read_text())


def test_files_and_a_manifest_are_written(tmp_path):
    out = tmp_path / "a" / "b"
    write(out, entry())
    assert sorted(path.name for path in out.iterdir()) == ["cat.npz", "cat.png", "manifest.json"]
    assert saliency(out) == [1, 1, 1]
    assert manifest(out)["pictures"]["cat"] == {"files": ["cat.png", "cat.npz"], "model": "m"}


def test_nothing_is_made_before_something_is_written(tmp_path):
    with RunFolder(tmp_path / "out") as folder:
        folder.claim(["cat"])
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_replaces_its_own_files_and_keeps_all_others(tmp_path):
    write(tmp_path, entry("cat"), entry("dog"))
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, entry("cat", 2.0))
    assert saliency(tmp_path) == [2, 2, 2]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert list(manifest(tmp_path)["pictures"]) == ["cat", "dog"]


def test_results_that_were_deleted_leave_the_manifest(tmp_path):
    write(tmp_path, entry("cat"), entry("dog"))
    (tmp_path / "dog.png").unlink()
    write(tmp_path, entry("cat"))
    assert list(manifest(tmp_path)["pictures"]) == ["cat"]


@pytest.mark.parametrize("file", ["cat.png", "cat.npz", "manifest.json"])
def test_a_foreign_file_is_replaced_only_when_allowed(tmp_path, file):
    (tmp_path / file).write_text("mine")
    with pytest.raises(FolderError, match=rf"holds {file}, which was not created by torchattr"):
        write(tmp_path, entry())
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert (tmp_path / file).read_text() == "mine"
    write(tmp_path, entry(), overwrite=True)
    assert (tmp_path / file).read_bytes() != b"mine"


def test_what_is_done_stays_when_the_rest_fails(tmp_path):
    def interrupted():
        yield entry("cat")
        raise KeyboardInterrupt

    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fill(folder, interrupted())
    assert list(manifest(tmp_path)["pictures"]) == ["cat"]


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    write(tmp_path, entry("cat", 1.0))

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(FolderError, match="No space left on device"):
        write(tmp_path, entry("cat", 2.0))
    assert saliency(tmp_path) == [1, 1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cat.npz",
        "cat.png",
        "manifest.json",
    ]


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_folder_below_a_file_is_refused_at_once(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderError, match=r"cannot write to .* is not a folder"):
        RunFolder(tmp_path / "file" / below)


def test_a_name_that_no_file_system_takes_is_refused_at_once(tmp_path):
    with pytest.raises(FolderError, match="cannot write to"):
        RunFolder(tmp_path / ("x" * 300))


def test_a_folder_without_permission_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(FolderError, match="is not writable"):
        RunFolder(tmp_path / "new")


def test_skipped_pictures_are_in_the_manifest(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.skip("broken.jpg", "truncated")
    assert manifest(tmp_path)["skipped"] == {"broken.jpg": "truncated"}


def test_pictures_are_written_in_the_formats_that_are_asked_for(tmp_path):
    with RunFolder(tmp_path, formats=("pdf", "svg", "pdf"), dpi=300) as folder:
        folder.claim(["cat"])
        files = folder.add(entry())
    assert [file.name for file in files] == ["cat.pdf", "cat.svg", "cat.npz"]
    assert (tmp_path / "cat.pdf").read_bytes()[:5] == b"%PDF-"
    assert (tmp_path / "cat.svg").read_bytes() == entry().drawing.encoded("svg", 300)
    # Another format replaces them, as a rerun replaces its own files.
    write(tmp_path, entry())
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "cat.npz",
        "cat.png",
        "manifest.json",
    ]


def test_a_picture_is_finished_only_in_the_formats_of_its_run(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.add(entry())
        folder.finish("key")
    assert RunFolder(tmp_path).has_finished("key")
    assert not RunFolder(tmp_path, formats=("pdf",)).has_finished("key")
    assert not RunFolder(tmp_path, dpi=300).has_finished("key")


def test_a_file_of_another_format_is_in_nobodys_way(tmp_path):
    (tmp_path / "cat.pdf").write_text("mine")
    write(tmp_path, entry())
    assert (tmp_path / "cat.pdf").read_text() == "mine"
    with pytest.raises(FolderError, match=r"holds cat\.pdf"):
        RunFolder(tmp_path, formats=("pdf",)).claim(["cat"])
    with pytest.raises(InputError, match="got 'jpg'"):
        RunFolder(tmp_path, formats=("jpg",))
