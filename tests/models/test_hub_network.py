import socket
import threading
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from torchattr.errors import WeightsError
from torchattr.models import hub_network, load_model
from torchattr.models.hub_network import (
    OFFLINE,
    cached_if_unreachable,
    is_cut_off,
    is_unreached,
    unreachable,
)
from torchattr.models.read_errors import chain

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
utils = pytest.importorskip("huggingface_hub.utils")


@pytest.fixture(autouse=True)
def reset_sessions(monkeypatch):
    """No proxy stands between, and no session that was made with one."""
    monkeypatch.setenv("no_proxy", "*")
    (getattr(utils, "close_session", None) or utils.reset_sessions)()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(hub_network, "unreachable", lambda address: "gone")


@pytest.fixture
def failing():
    """The address of a server that answers with an error, and sends parts of files."""

    class Failing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(503)

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"part")

        def log_message(self, *about):
            pass

    server = HTTPServer(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_answers_with_an_error_is_reached(failing):
    assert unreachable(failing) is None


def test_a_server_that_never_answers_is_waited_for_only_so_long():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "timed out" in unreachable(address, seconds=0.1)


@pytest.mark.parametrize(
    "raised", [ValueError("no scheme"), HTTPException("no status"), ImportError("no scheme")]
)
def test_whatever_its_client_raises_is_said(monkeypatch, raised):
    """A client may be the user's own, and the address one without a scheme."""

    def fail():
        raise raised

    monkeypatch.setattr("huggingface_hub.utils.get_session", fail)
    assert unreachable("a://b") == f"a://b cannot be reached: {raised}"


def test_a_file_that_ends_early_or_never_is_cut_off(failing):
    with pytest.raises(Exception, match=r"(?i)incomplete|closed") as caught:
        utils.get_session().get(failing)
    assert is_cut_off(caught.value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Exception, match="timed out") as caught:
            utils.get_session().get(address, timeout=0.1)
    assert is_cut_off(caught.value)
    assert not is_cut_off(RuntimeError("no such tag"))


def test_an_address_without_a_scheme_is_said():
    assert unreachable("huggingface.co").startswith("huggingface.co cannot be reached: ")


@pytest.mark.usefixtures("no_network")
def test_sessions_that_keep_their_mode_are_made_anew(monkeypatch):
    """Those of version 0 read it when they are made."""
    seen = []

    def reset():
        seen.append(constants.HF_HUB_OFFLINE)

    monkeypatch.setattr(utils, "reset_sessions", reset, raising=False)
    with cached_if_unreachable():
        pass
    assert seen == [True, False]


@pytest.mark.usefixtures("no_network")
def test_threads_that_overlap_leave_the_mode_as_it_was():
    first, second = threading.Event(), threading.Event()
    said = []

    def enter(begun, may_end):
        with cached_if_unreachable() as why:
            said.append(why)
            begun.set()
            may_end.wait(0.5)

    threads = [
        threading.Thread(target=enter, args=one) for one in ((first, second), (second, first))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["gone", "gone"]
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.usefixtures("no_network")
def test_what_the_client_raises_offline_is_for_want_of_a_connection(tmp_path):
    utils.get_session()  # Made before, so that it is used online.

    def fetch():
        huggingface_hub.hf_hub_download("own/net", "config.json", cache_dir=tmp_path)

    with cached_if_unreachable(), pytest.raises(OSError, match="cache") as caught:
        fetch()
    assert is_unreached(caught.value)
    names = [type(one).__name__ for one in chain(caught.value)]
    assert "OfflineModeIsEnabled" in names
    assert not is_unreached(RuntimeError("no such tag"))


def test_an_unreachable_hub_is_asked_once(monkeypatch):
    """All of its retries would take minutes: the client is told that there is no network."""
    pytest.importorskip("timm")
    asked = []
    monkeypatch.setattr(hub_network, "unreachable", lambda address: asked.append(address) or "gone")
    with pytest.raises(WeightsError, match=r"net could not be fetched from the Hub \(gone\). On a"):
        load_model("timm:hf-hub:no-such-owner/net")
    assert asked == [constants.ENDPOINT]
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("offline", [False, True])
def test_the_setting_is_as_before_afterwards(monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    seen = []

    def fail():
        with cached_if_unreachable() as why:
            seen.extend([why, constants.HF_HUB_OFFLINE])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [OFFLINE if offline else "gone", True]
    assert constants.HF_HUB_OFFLINE is offline
