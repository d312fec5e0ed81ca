"""Locks of the kernel and lock files: held by one, given back, and taken over from the dead."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from torchattr.errors import FolderError
from torchattr.results import RunFolder, locks
from torchattr.results.locks import LOCK, Holder, LockFile, has_kernel_lock, locked


def refused(handle, how):
    # What Linux says of a folder on NFS, which it can lock only if it is opened for writing.
    raise OSError(9, "Bad file descriptor")


@pytest.fixture(params=["kernel", "refused", "absent"])
def kind(request, monkeypatch):
    """The folder's own lock, a file system that has none, and a system that has none."""
    if request.param == "refused":
        monkeypatch.setattr(locks.fcntl, "flock", refused)
    if request.param == "absent":
        monkeypatch.setattr(locks, "fcntl", None)
    return request.param


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0.05)


@pytest.fixture
def lock_files(monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)


@pytest.fixture(scope="module")
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left(folder, **changes):
    """Leave the lock file of another process."""
    holder = Holder(**changes)
    (folder / LOCK).write_text(json.dumps(vars(holder)))
    return holder


def test_the_kernel_locks_a_folder_that_it_can(tmp_path, kind):
    assert has_kernel_lock(tmp_path) == (kind == "kernel")
    with locked(tmp_path, "out"):
        assert has_kernel_lock(tmp_path) == (kind == "kernel")
        assert (tmp_path / LOCK).exists() == (kind != "kernel")


def test_a_lock_leaves_nothing_behind(tmp_path, kind):
    with suppress(KeyError), locked(tmp_path, "out"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path, "out"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("kind")
def test_one_at_a_time_holds_a_folder(tmp_path):
    inside, most = [], []

    def enter():
        for _ in range(20):
            with locked(tmp_path, "out"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == [1] * 80


@pytest.mark.usefixtures("impatient")
def test_a_folder_that_another_run_never_gives_back_is_named(tmp_path, kind):
    said = "another run" if kind == "kernel" else f"process {os.getpid()} on .*"
    with locked(tmp_path, "out"), pytest.raises(FolderError, match=f"out: {said} has held"):
        RunFolder(tmp_path)
    RunFolder(tmp_path)


@pytest.mark.usefixtures("lock_files")
def test_the_file_of_a_process_that_has_ended_is_taken_over(tmp_path, ended):
    left(tmp_path, process=ended)
    with locked(tmp_path, "out"):
        assert Holder.read(tmp_path / LOCK).process == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("lock_files", "impatient")
@pytest.mark.parametrize("holder", ["alive", "elsewhere"])
def test_the_file_of_a_process_that_may_live_is_not_taken_over(tmp_path, ended, holder):
    changes = {"process": os.getppid()} if holder == "alive" else {"process": ended, "machine": "x"}
    found = left(tmp_path, **changes)
    with pytest.raises(FolderError, match=rf"process {found.process} .*remove {LOCK} if it has"):
        RunFolder(tmp_path)
    assert Holder.read(tmp_path / LOCK) == found


@pytest.mark.usefixtures("lock_files", "impatient")
@pytest.mark.parametrize("text", ["", "{", "[]", '{"process": 1, "other": 2}'])
def test_a_file_that_says_nothing_is_named(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(FolderError, match=f"another run has held .* or remove {LOCK}"):
        RunFolder(tmp_path)


@pytest.mark.usefixtures("lock_files")
def test_of_those_that_see_an_ended_process_one_takes_over(tmp_path, ended):
    """At each step of one of them, another one does all of its own."""
    left(tmp_path, process=ended)
    first, second = (LockFile(tmp_path / LOCK) for _ in range(2))
    assert not second.take()
    assert second.take()
    # The first read the ended process's file before the second replaced it.
    read = Holder.read
    stale = Holder(process=ended, token="old")
    answers = iter([stale])
    Holder.read = classmethod(lambda cls, file: next(answers, None) or read(file))
    try:
        assert not first.take()
    finally:
        Holder.read = read
    assert Holder.read(tmp_path / LOCK) == second._own
    second.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("lock_files")
def test_a_lock_that_was_taken_over_is_not_removed_by_its_former_holder(tmp_path):
    first = LockFile(tmp_path / LOCK)
    assert first.take()
    other = left(tmp_path)
    first.release()
    assert Holder.read(tmp_path / LOCK) == other


@pytest.mark.usefixtures("lock_files")
def test_a_full_disk_is_named_and_leaves_no_lock(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locks.json, "dumps", full)
    with pytest.raises(FolderError, match=r"No space left on device.*free some space"):
        RunFolder(tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_block_though_a_fork_has_its_handle(tmp_path):
    with locked(tmp_path, "out"):
        handles = [os.dup(int(name)) for name in os.listdir("/dev/fd") if _is(name, tmp_path)]
    assert handles
    with locked(tmp_path, "out"):
        pass
    for one in handles:
        os.close(one)


def _is(handle, path):
    with suppress(OSError):
        return os.path.samestat(os.fstat(int(handle)), os.stat(path))
    return False
