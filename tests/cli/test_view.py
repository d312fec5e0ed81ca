"""`torchattr view`: it starts, prints its URL, ends quietly, and names what is wrong."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import torchattr as ta
from torchattr.cli import app
from torchattr.cli.run import ModelSpec
from torchattr.methods import registry as methods
from torchattr.web.panels import panel as panels

OWN = """
import torchattr as ta
from torchattr.web import Panel, Text, register_panel


@ta.register_method("from_a_file")
class FromAFile(ta.GradientAttribution):
    '''The gradient; it is *not* new.'''


@register_panel("greeting")
class Greeting(Panel):
    '''Says hello.'''

    def show(self, scene):
        yield Text(f"hello {scene.class_name}")
"""


def view(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["view", "--no-open", *arguments])


def refused(result: Any, *words: str) -> None:
    """Check that the command ended with exit code 2 and one sentence with these words."""
    assert result.exit_code == 2, result.output
    said = " ".join(result.stderr.split())
    assert said.startswith("error: ")
    assert "Traceback" not in said
    for word in words:
        assert word in said, f"{word!r} is missing in: {said}"


class Running:
    """The command in a separate process."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        line = [sys.executable, "-m", "torchattr", "view", "--no-open", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.said)
        assert found, self.said + self.stop()[1]
        self.address = found[0]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=30) as response:
            return json.loads(response.read())

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out + err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Running] = []

    def starting(*arguments: str) -> Running:
        started.append(Running(*arguments, folder=tmp_path))
        return started[-1]

    yield starting
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.mark.slow
def test_it_serves_the_embedded_model_until_it_is_stopped(start: Any) -> None:
    running = start()
    assert running.address.startswith("http://127.0.0.1:")
    assert running.get("api/model")["name"] == "demo"
    assert len(running.get("api/pictures")) == 4
    code, said = running.stop()
    assert (code, said.strip()) == (0, "stopped")


@pytest.mark.slow
def test_own_pictures_methods_and_panels(start: Any, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    running = start("red.png", "--load", "own.py")
    said = running.get("api/model")
    assert said["methods"][-1]["name"] == "from_a_file"
    assert said["panels"][-1]["title"] == "Greeting"
    assert [one["name"] for one in running.get("api/pictures")] == ["red.png"]


@pytest.mark.slow
def test_another_model_is_served_beside_the_first(start: Any) -> None:
    assert start("--other", "demo").get("api/model")["models"] == ["demo", "demo (2)"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maps.zarr", "folder"])
def test_a_folder_with_nothing_to_view_is_named_as_that(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    refused(view(str(folder)), f"{name} is an empty folder: no store of maps", "no picture")
    (folder / "notes.txt").touch()
    refused(view(str(folder)), f"{name} is a folder: no store of maps", "`torchattr run` writes")


def test_a_store_of_maps_is_viewed_alone(tmp_path: Path) -> None:
    (tmp_path / "maps.zarr").mkdir()
    (tmp_path / "maps.zarr" / "zarr.json").touch()
    refused(view("cat", str(tmp_path / "maps.zarr")), "is a store of maps, which is viewed alone")


def test_a_store_of_maps_is_paged_through(start: Any, tmp_path: Path) -> None:
    pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (20, 20), "red").save(tmp_path / "pictures" / "red.png")
    ta.run(
        "demo",
        tmp_path / "pictures",
        "saliency",
        out=tmp_path / "maps.zarr",
        workers=0,
        watch=lambda progress: None,
    )
    running = start("maps.zarr")
    assert running.get("api/maps")["pictures"] == 1
    assert running.get("api/maps/pictures")["pictures"][0]["id"] == "red.png"


@pytest.mark.slow
def test_another_address_needs_the_token_that_is_printed(start: Any) -> None:
    running = start("--host", "0.0.0.0", "--token", "a long enough token")
    assert "?token=a%20long" in running.address or "?token=a+long" in running.address
    port = re.search(r":(\d+)/", running.address)
    assert port is not None
    running.address = f"http://127.0.0.1:{port[1]}/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        running.get("api/model")


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(view("--port", str(port)), f"port {port}", "in use", "--port 0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], ["0..65535", "70000"]),
        (["--port", "-1"], ["0..65535", "-1"]),
        (["--host", "256.1.1.1", "--port", "0"], ["cannot listen on 256.1.1.1"]),
        (["--host", "0.0.0.0", "--token", "short", "--port", "0"], ["16 characters"]),
        (["--model", "no_such", "--port", "0"], ["unknown model 'no_such'"]),
        (["--model", "torchvision:resnet1800", "--port", "0"], ["did you mean"]),
        (["--weights", "none.pth", "--port", "0"], ["none.pth"]),
        (["--device", "teapot", "--port", "0"], ["teapot"]),
        (["no_such.png", "--port", "0"], ["no_such.png"]),
        (["--load", "no_such.py", "--port", "0"], ["no_such.py"]),
    ],
)
def test_wrong_arguments_are_answered_by_a_sentence(arguments: list[str], words: list[str]) -> None:
    refused(view(*arguments), *words)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1"])
def test_code_is_loaded_for_this_machine_only(tmp_path: Path, host: str) -> None:
    file = tmp_path / "own.py"
    file.write_text("raise SystemExit('it ran')", encoding="utf-8")
    refused(view("--load", str(file), "--host", host, "--port", "0"), "--load", host)


def test_without_the_extra_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    command = sys.modules["torchattr.cli.view"]
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "uvicorn" else name)
    refused(view(), "uvicorn", "pip install 'torchattr[web]'")


def test_a_name_that_is_taken_already_is_the_files_fault(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN.replace('"greeting"', '"scores"'), encoding="utf-8")
    with methods.METHODS.temporary(), panels.PANELS.temporary():
        refused(view("--load", str(file), "--port", "0"), "'scores'", "registered already")


@pytest.mark.parametrize(
    ("named", "model", "weights"),
    [
        ("demo", "demo", None),
        ("timm:vit", "timm:vit", None),
        ("torchvision:resnet18=random", "torchvision:resnet18", "random"),
        ("lr=0.1/net.py:make", "lr=0.1/net.py:make", None),
        ("lr=0.1/net.py:make=random", "lr=0.1/net.py:make", "random"),
        ("lr=0.1/net.py:make=lr=0.1/w.pt", "lr=0.1/net.py:make", "lr=0.1/w.pt"),
        ("lr=0.1/net.pt2", "lr=0.1/net.pt2", None),
        ("timm:vit=lr=0.1/w.pt", "timm:vit", "lr=0.1/w.pt"),
        ("net.py:make=lr=0.1/w.pt", "net.py:make", "lr=0.1/w.pt"),
        ("lr=0.2/missing.py:make", "lr=0.2/missing.py:make", None),
        ("timm:vit=lr=0.2/missing.pt", "timm:vit", "lr=0.2/missing.pt"),
    ],
)
def test_paths_of_another_model_may_hold_equals_signs(
    named: str,
    model: str,
    weights: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1").mkdir()
    for file in ("lr=0.1/net.py", "lr=0.1/w.pt", "lr=0.1/net.pt2", "net.py"):
        (tmp_path / file).touch()
    found = sys.modules["torchattr.cli.view"]._other(ModelSpec("demo", None, "cpu"), named)
    assert (found.model, found.weights, found.device) == (model, weights, "cpu")
