"""Runs that are killed, fill the disk or meet others, at every step of writing."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from torchattr.errors import FolderError
from torchattr.results import RunFolder, locks
from torchattr.results.sink import Entry
from torchattr.show import Drawing


class Killed(BaseException):
    pass


def entry(name="cat", value=1.0, picture=True):
    drawn = Drawing(4, 4) if picture else None
    return Entry(name, drawn, {"saliency": np.full(3, value)}, {"value": value})


def run(out, value=1.0, names=("cat", "dog")):
    folder = RunFolder(out)
    folder.claim(names)
    with folder:
        for name in names:
            folder.add(entry(name, value))
            folder.finish(f"{name} {value}")


def manifest(out):
    return json.loads((out / "manifest.json").read_text())


def saliency(path):
    with np.load(path) as arrays:
        return float(arrays["saliency"][0])


@pytest.fixture
def steps(monkeypatch):
    """Count the operations that change the disk, and let them fail from a given step on."""
    state = {"count": 0, "last": None, "error": Killed}

    def watched(change):
        def step(*args, **kwargs):
            if state["last"] is not None and state["count"] >= state["last"]:
                raise state["error"]
            state["count"] += 1
            return change(*args, **kwargs)

        return step

    for place, name in (
        (os, "replace"),
        (Path, "write_bytes"),
        (Path, "write_text"),
        (Path, "unlink"),
    ):
        monkeypatch.setattr(place, name, watched(getattr(place, name)))
    return state


def count_of(steps, work):
    steps.update(count=0, last=None)
    work()
    return steps["count"]


def killed_after(steps, last, work):
    steps.update(count=0, last=last)
    with pytest.raises(Killed):
        work()
    steps.update(last=None)


def check_consistent(out):
    for path, said in manifest(out)["pictures"].items():
        assert all((out / file).is_file() for file in said["files"])
        assert saliency(out / f"{path}.npz") == said["value"]


def test_a_run_killed_at_any_step_can_be_repeated(tmp_path, steps):
    total = count_of(steps, lambda: run(tmp_path / "whole"))
    assert total > 15
    for last in range(total):
        out = tmp_path / str(last)
        killed_after(steps, last, lambda out=out: run(out))
        run(out)
        check_consistent(out)
        assert sorted(path.name for path in out.iterdir()) == [
            "cat.npz", "cat.png", "dog.npz", "dog.png", "manifest.json",
        ]  # fmt: skip
        assert "leftovers" not in manifest(out)


def test_a_rerun_killed_at_any_step_says_nothing_wrong(tmp_path, steps):
    run(tmp_path / "whole", 1.0)
    total = count_of(steps, lambda: run(tmp_path / "whole", 2.0))
    for last in range(total):
        out = tmp_path / str(last)
        run(out, 1.0)
        killed_after(steps, last, lambda out=out: run(out, 2.0))
        folder = RunFolder(out)
        check_consistent_after_recovery(folder, out)
        run(out, 3.0)
        check_consistent(out)
        assert list(manifest(out)["finished"]) == ["cat 3.0", "dog 3.0"]


def check_consistent_after_recovery(folder, out):
    if folder.has_finished("cat 1.0"):
        assert saliency(out / "cat.npz") == 1.0
    if folder.has_finished("cat 2.0"):
        assert saliency(out / "cat.npz") == 2.0
    check_consistent(out)


@pytest.mark.slow
def test_a_run_killed_twice_in_a_row_can_be_repeated(tmp_path, steps):
    total = count_of(steps, lambda: run(tmp_path / "whole"))
    for first in range(total):
        for second in range(0, total, 4):
            out = tmp_path / f"{first}-{second}"
            killed_after(steps, first, lambda out=out: run(out))
            steps.update(count=0, last=second)
            with suppress(Killed):
                run(out)
            steps.update(last=None)
            run(out)
            check_consistent(out)


def refusal_of(work):
    try:
        work()
    except FolderError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("code", [28, 122, 5])
def test_a_disk_that_fails_at_any_step_keeps_what_is_done(tmp_path, steps, code):
    total = count_of(steps, lambda: run(tmp_path / "whole"))
    for last in range(total):
        out = tmp_path / str(last)
        steps.update(count=0, last=last, error=OSError(code, os.strerror(code)))
        # A file that cannot be removed does not stop a run.
        said = refusal_of(lambda out=out: run(out))
        assert not said or os.strerror(code) in said
        assert not said or ("free some space and rerun" in said) == (code != 5)
        steps.update(last=None)
        if (out / "manifest.json").exists():
            check_consistent(RunFolder(out).out)
        run(out)
        check_consistent(out)


@pytest.mark.parametrize("share", range(0, 101, 4))
def test_a_file_that_is_too_large_for_the_disk_leaves_no_half_of_a_pair(tmp_path, share):
    """The kernel itself refuses to write on, in the middle of any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    names = [f"a{number}" for number in range(4)]
    run(tmp_path / "whole", names=names)
    most = max(path.stat().st_size for path in (tmp_path / "whole").iterdir())
    out = tmp_path / "out"
    resource.setrlimit(resource.RLIMIT_FSIZE, (most * share // 100, hard))
    try:
        said = refusal_of(lambda: run(out, names=names))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ("File too large" in said) == (share < 100)
    written = {path.name for path in out.iterdir()}
    listed = manifest(out)["pictures"] if "manifest.json" in written else {}
    assert written == {f for one in listed.values() for f in one["files"]} | (
        {"manifest.json"} if listed else set()
    )
    run(out, names=names)
    check_consistent(out)
    assert list(manifest(out)["pictures"]) == names


def test_a_run_goes_on_after_another_was_killed_at_any_step(tmp_path, steps):
    """What the killed run was moving is a run's own, whoever writes next."""
    total = count_of(steps, lambda: run(tmp_path / "whole", names=["cat"]))
    for last in range(total):
        out = tmp_path / str(last)
        living = RunFolder(out)
        living.claim(["dog"])
        killed_after(steps, last, lambda out=out: run(out, names=["cat"]))
        living.add(entry("dog"))
        living.finish("dog")
        check_consistent(out)
        run(out, names=["cat"])
        check_consistent(out)
        assert set(manifest(out)["pictures"]) == {"cat", "dog"}
        assert sorted(path.name for path in out.iterdir()) == [
            "cat.npz", "cat.png", "dog.npz", "dog.png", "manifest.json",
        ]  # fmt: skip


@pytest.mark.parametrize("first", ["cat", "dog"])
def test_a_run_goes_on_after_its_own_move_has_failed(tmp_path, monkeypatch, first):
    folder = RunFolder(tmp_path)
    folder.claim(["cat", "dog"])
    folder.add(entry(first))
    moves = iter([os.replace])

    def failing(*args):
        next(moves, refuse)(*args)

    def refuse(*args):
        raise OSError(5, os.strerror(5))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", failing)
        with pytest.raises(FolderError, match=os.strerror(5)):
            folder.add(entry("cat", 2.0))
    folder.add(entry("dog"))
    check_consistent(tmp_path)
    run(tmp_path)
    check_consistent(tmp_path)


def test_what_is_done_is_in_the_manifest_at_once(tmp_path):
    folder = RunFolder(tmp_path)
    folder.add(entry("cat"))
    assert list(manifest(tmp_path)["pictures"]) == ["cat"]
    folder.skip("x.png", "truncated")
    assert manifest(tmp_path)["skipped"] == {"x.png": "truncated"}
    folder.add(entry("dog"))
    assert list(manifest(tmp_path)["pictures"]) == ["cat", "dog"]


@pytest.mark.parametrize("missing", ["cat.png", "cat.npz"])
def test_a_file_without_its_pair_is_a_runs_own(tmp_path, missing):
    run(tmp_path)
    (tmp_path / missing).unlink()
    assert not RunFolder(tmp_path).has_finished("cat 1.0")
    run(tmp_path, 2.0, ["dog"])
    assert list(manifest(tmp_path)["pictures"]) == ["dog"]
    run(tmp_path)
    assert set(manifest(tmp_path)["pictures"]) == {"cat", "dog"}


def test_an_entry_that_has_no_picture_any_more_leaves_none(tmp_path):
    run(tmp_path, names=["cat"])
    with RunFolder(tmp_path) as folder:
        folder.claim(["cat"])
        folder.add(entry(picture=False))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.npz", "manifest.json"]
    assert manifest(tmp_path)["pictures"]["cat"]["files"] == ["cat.npz"]


def test_results_are_taken_as_done_only_as_they_were_left(tmp_path):
    run(tmp_path)
    assert RunFolder(tmp_path).has_finished("cat 1.0")
    assert not RunFolder(tmp_path).has_finished("cat 2.0")
    assert not RunFolder(tmp_path, overwrite=True).has_finished("cat 1.0")
    (tmp_path / "cat.png").write_bytes(b"")
    assert not RunFolder(tmp_path).has_finished("cat 1.0")
    assert RunFolder(tmp_path).has_finished("dog 1.0")


def test_results_that_another_run_replaced_are_not_done(tmp_path):
    one, other = RunFolder(tmp_path), RunFolder(tmp_path)
    one.add(entry(value=1.0))
    other.add(entry(value=2.0))
    one.finish("one")
    other.finish("other")
    assert list(manifest(tmp_path)["finished"]) == ["other"]


@pytest.fixture(params=["kernel", "files"])
def lock(request, monkeypatch):
    """The lock of the kernel, and lock files."""
    if request.param == "files":
        monkeypatch.setattr(locks, "fcntl", None)


@pytest.mark.usefixtures("lock")
def test_runs_in_threads_keep_each_others_entries(tmp_path):
    names = [[f"{letter}{number}" for number in range(20)] for letter in "abc"]
    threads = [threading.Thread(target=run, args=(tmp_path, 1.0, some)) for some in names]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert set(manifest(tmp_path)["pictures"]) == {name for some in names for name in some}
    assert len(manifest(tmp_path)["finished"]) == 60


@pytest.mark.usefixtures("lock")
def test_runs_that_share_names_keep_whole_pairs(tmp_path):
    threads = [
        threading.Thread(target=run, args=(tmp_path, float(value), ["a", "b", "c"]))
        for value in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    check_consistent(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_files_of_an_entry(tmp_path, monkeypatch, number):
    came = []
    before = signal.signal(number, lambda *_: came.append(sorted(tmp_path.glob("cat.*"))))
    move = os.replace

    def signalled(*args):
        signal.raise_signal(number)
        move(*args)

    monkeypatch.setattr(os, "replace", signalled)
    try:
        RunFolder(tmp_path).add(entry())
    finally:
        signal.signal(number, before)
    assert [[path.name for path in seen] for seen in came] == [["cat.npz", "cat.png"]]
    check_consistent(tmp_path)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_a_file_is_written_ends_after_it(tmp_path, monkeypatch):
    move = os.replace

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        move(*args)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path).add(entry())
    check_consistent(tmp_path)
    assert list(manifest(tmp_path)["pictures"]) == ["cat"]


SCRIPT = """
import sys
import numpy as np
from torchattr.show import Drawing
from torchattr.results import locks
from torchattr.results.folder import RunFolder
from torchattr.results.sink import Entry

out, letter, kind = sys.argv[1:]
if kind == "files":
    locks.fcntl = None
sys.stdin.readline()
names = [f"{letter}{number}" for number in range(60)]
folder = RunFolder(out)
folder.claim(names)
with folder:
    for name in names:
        folder.add(Entry(name, Drawing(4, 4), {"saliency": np.ones(3)}, {"value": 1.0}))
        folder.finish(name)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kernel", "files"])
def test_processes_keep_each_others_entries(tmp_path, kind):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "out"), letter, kind],
            stdin=subprocess.PIPE,
            text=True,
        )
        for letter in "ab"
    ]
    for one in processes:
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in processes:
        one.communicate(timeout=300)
        assert one.returncode == 0
    said = manifest(tmp_path / "out")
    assert set(said["pictures"]) == {f"{letter}{n}" for letter in "ab" for n in range(60)}
    assert len(said["finished"]) == 120
    check_consistent(tmp_path / "out")


def test_a_folder_that_was_interrupted_is_written_to_again(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.add(entry("cat"))

    def interrupted(*args):
        raise KeyboardInterrupt

    for name in ("write_all", "not_interrupted"):
        monkeypatch.setattr(
            f"torchattr.results.{'folder' if name == 'write_all' else 'files'}.{name}", interrupted
        )
        with pytest.raises(KeyboardInterrupt):
            folder.add(entry("lost"))
        monkeypatch.undo()
        folder.add(entry("dog"))
        check_consistent(tmp_path)
        assert list(manifest(tmp_path)["pictures"]) == ["cat", "dog"]
