import json
import random
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from command import call, refused
from PIL import Image
from torch import nn

from torchattr.errors import ModelError, WeightsError
from torchattr.models import TransformWarning, load_model


class Unsafe:
    """Writes a file as it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("code_ran"),))


def export(path, *shape):
    net = nn.Sequential(nn.Conv2d(shape[1], 2, 1), nn.ReLU(), nn.Flatten()).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(shape),)), path)
    return net


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """An exported program in the working folder."""
    monkeypatch.chdir(tmp_path)
    export("net.pt2", 1, 3, 8, 8)
    return Path("net.pt2")


def rewritten(source, target, change):
    """Write an archive whose members are `change(name, content)`; `None` omits one."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)


def test_an_exported_program_gives_the_same_scores(tmp_path):
    net = export(tmp_path / "net.pt2", 1, 3, 32, 32)
    with pytest.warns(TransformWarning, match=r"centre crop of 32 pixels"):
        loaded = load_model(str(tmp_path / "net.pt2"), trust=True)
    x = loaded.preprocess(Image.new("RGB", (50, 40), "red")).tensor[None]
    torch.testing.assert_close(loaded.model(x), net(x))
    assert not loaded.model.training


def unsafe_inputs(name, content):
    return pickled() if name.endswith("sample_inputs/model.pt") else content


def unsafe_weights(name, content):
    return pickled() if name.endswith("weights/weight_0") else content


def unsafe_expression(name, content):
    if not name.endswith("models/model.json"):
        return content
    program = json.loads(content)
    program["range_constraints"] = {"s0": {"min_val": 1, "max_val": 2}}
    text = "__import__('pathlib').Path('code_ran').touch()"
    return json.dumps(program).replace('"as_int": 1', json.dumps({"as_expr": text})[1:-1], 1)


def pickled():
    torch.save(Unsafe(), "unsafe.pt")
    return Path("unsafe.pt").read_bytes()


@pytest.mark.parametrize("change", [unsafe_inputs, unsafe_weights, unsafe_expression])
@pytest.mark.parametrize("command", ["explain", "summary", "kernels", "layers", "view"])
def test_no_code_of_a_file_runs_unless_it_is_trusted(exported, change, command):
    rewritten(exported, "unsafe.pt2", change)
    refused(call(command, "--model", "unsafe.pt2"), "unsafe.pt2", "can run any code", "--trust")
    with pytest.raises(ModelError, match="trust=True"):
        load_model("unsafe.pt2")
    assert not Path("code_ran").exists()


def test_the_danger_is_real(exported):
    rewritten(exported, "unsafe.pt2", unsafe_inputs)
    with pytest.raises(ModelError):
        load_model("unsafe.pt2", trust=True)
    assert Path("code_ran").exists()


@pytest.mark.parametrize("command", ["summary", "layers", "kernels"])
def test_the_command_takes_a_trusted_file(exported, command):
    result = call(command, "--model", "net.pt2", "--trust")
    assert "note: net.pt2 comes without its preprocessing" in result.stderr
    assert "trust" not in result.stderr


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        load_model(str(tmp_path / "none.pt2"), trust=True)
    torch.save({}, tmp_path / "state.pt2")
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    (tmp_path / "none.pt2").write_bytes(b"")
    zipfile.ZipFile(tmp_path / "empty.pt2", "w").close()
    for name in ("bad.pt2", "state.pt2", "none.pt2", "empty.pt2"):
        with pytest.raises(ModelError, match=rf"{name} is damaged or was not written by"):
            load_model(str(tmp_path / name), trust=True)


def truncated(content, source):
    return content[: source.randrange(len(content))]


def flipped(content, source):
    changed = bytearray(content)
    changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def scrambled(content, source):
    changed = bytearray(content)
    for _ in range(20):
        changed[source.randrange(len(changed))] = source.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("damage", [truncated, flipped, scrambled])
@pytest.mark.parametrize("seed", range(15))
def test_damaged_files_are_one_sentence(exported, damage, seed):
    whole = exported.read_bytes()
    exported.write_bytes(damage(whole, random.Random(seed)))
    loads_or_says(exported)


@pytest.mark.parametrize("seed", range(15))
def test_damage_under_right_sums_is_one_sentence(exported, seed):
    source = random.Random(seed)
    names = zipfile.ZipFile(exported).namelist()
    hit = source.choice(names)

    def change(name, content):
        if name != hit:
            return content
        return scrambled(content, source) if content and seed % 3 else None

    rewritten(exported, "changed.pt2", change)
    loads_or_says(Path("changed.pt2"))


def loads_or_says(path):
    """Check that the command shows the model, or refuses it in a sentence without traceback."""
    result = call("summary", "--model", path, "--trust")
    if result.exit_code != 0:
        refused(result, f"error: {path} ")
        assert len(result.stderr.splitlines()) == 1


def test_changed_weights_are_not_loaded(exported):
    content = bytearray(exported.read_bytes())
    with zipfile.ZipFile(exported) as archive:
        weights = next(n for n in archive.namelist() if n.endswith("weight_0"))
        value = archive.read(weights)
    place = content.find(value)
    content[place] ^= 1
    exported.write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"the checksum of its entry .*weight_0 is wrong"):
        load_model("net.pt2", trust=True)


def test_what_does_not_apply_is_refused(tmp_path):
    export(tmp_path / "net.pt2", 1, 1, 8, 8)
    with pytest.raises(ModelError, match=r"square RGB images.*\(1, 1, 8, 8\)"):
        load_model(str(tmp_path / "net.pt2"), trust=True)
    with pytest.raises(WeightsError, match="contains its own weights"):
        load_model(str(tmp_path / "net.pt2"), weights="w.pth")
    export(tmp_path / "four.pt2", 4, 3, 8, 8)
    with pytest.raises(ModelError, match=r"cannot be run on one image \(1, 3, 8, 8\)"):
        load_model(str(tmp_path / "four.pt2"), trust=True)


def test_nothing_is_left_changed(exported):
    import logging

    exported.write_bytes(exported.read_bytes()[:-9])
    filters = list(warnings.filters)
    with pytest.raises(ModelError):
        load_model("net.pt2", trust=True)
    assert warnings.filters == filters
    assert logging.root.manager.disable == 0
