import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import URLError

import pytest

from torchattr.errors import WeightsError
from torchattr.models import hub_network, load_model
from torchattr.models.hub_network import cached_if_unreachable, unreachable


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def failing():
    """The address of a server that answers every request with an error."""

    class Failing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(503)

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
    ("raised", "said"),
    [
        (
            URLError(socket.gaierror(-2, "Name not known")),
            "a://b cannot be reached: Name not known",
        ),
        (URLError("no host given"), "a://b cannot be reached: no host given"),
        (URLError(ssl.SSLError(1, "certificate verify failed")), None),
    ],
)
def test_what_fails_is_said_but_an_unknown_certificate_is_an_answer(monkeypatch, raised, said):
    def fail(*arguments, **options):
        raise raised

    monkeypatch.setattr("urllib.request.urlopen", fail)
    assert unreachable("a://b") == said


def test_an_unreachable_hub_is_asked_once(monkeypatch):
    """All of its retries would take minutes: the client is told that there is no network."""
    pytest.importorskip("timm")
    constants = pytest.importorskip("huggingface_hub").constants
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_network, "unreachable", lambda address: asked.append(address) or "gone")
    with pytest.raises(WeightsError, match=r"net could not be fetched from the Hub \(gone\). On a"):
        load_model("timm:hf-hub:no-such-owner/net")
    assert asked == [constants.ENDPOINT]
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("offline", [False, True])
def test_the_setting_is_as_before_afterwards(monkeypatch, offline):
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(hub_network, "unreachable", lambda address: "gone")
    seen = []

    def fail():
        with cached_if_unreachable() as why:
            seen.extend([why, constants.HF_HUB_OFFLINE])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == ["HF_HUB_OFFLINE is set" if offline else "gone", True]
    assert constants.HF_HUB_OFFLINE is offline
