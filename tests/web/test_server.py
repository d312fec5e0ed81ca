"""The server: its address, token and socket, and slow headers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from unittest import mock

import pytest
from helpers import refused
from serving import Wire, served

from torchattr.errors import InputError
from torchattr.models import LoadedModel
from torchattr.web import Address, Limits, create_app, listen, server, token_for
from torchattr.web.server import AddressError

LIMITS = Limits(upload_bytes=100_000, body_seconds=0.6, body_rate=1_000_000, bodies=4)


@pytest.fixture(scope="module")
def address(demo: LoadedModel) -> Iterator[str]:
    hurry = mock.patch.object(server, "HEADER_SECONDS", 0.8)
    with hurry, served(create_app(demo, limits=LIMITS)) as found:
        yield found


def test_other_answers_leave_the_connection_open(address: str) -> None:
    body = b'{"picture": "none", "layer": "stem"}'
    with Wire(address) as wire:
        for path, status in (("/api/model", 200), ("/api/nothing", 404)):
            wire.ask("GET", path)
            assert wire.answer()[0] == status
        wire.ask(
            "POST",
            "/api/features",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            body=body,
        )
        found, headers, _ = wire.answer()
        assert found == 404
        assert "connection" not in headers
        wire.ask("GET", "/api/model")
        assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST /api/pictures HTTP/1.1\r\nHost: localhost\r\nX-Half: "]
)
def test_headers_that_do_not_come_are_given_up(address: str, sent: bytes) -> None:
    with Wire(address) as wire:
        wire.send(sent)
        assert wire.is_closed()


def test_headers_of_a_second_request_that_do_not_come_are_given_up(address: str) -> None:
    with Wire(address) as wire:
        wire.ask("GET", "/api/model")
        assert wire.answer()[0] == 200
        wire.send(b"GET /api/model HTTP/1.1\r\nX-Half: ")
        assert wire.is_closed()


def test_a_local_address_needs_no_token() -> None:
    assert token_for("127.0.0.1", None) is None
    assert token_for("127.0.0.1", "x" * 16) == "x" * 16


def test_tokens_for_others_are_long_and_new() -> None:
    tokens = {token_for("0.0.0.0", None) for _ in range(5)}
    assert len(tokens) == 5
    assert min(len(token or "") for token in tokens) >= 32
    with refused(InputError, "16 characters", "got 15"):
        token_for("0.0.0.0", "x" * 15)


def test_the_printed_url_carries_the_token() -> None:
    assert Address("::1", 80, "a b").url == "http://[::1]:80/?token=a%20b"
    assert Address("0.0.0.0", 80).url == f"http://{socket.gethostname()}:80/"


def test_a_port_in_use_or_out_of_range_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with refused(AddressError, f"port {port}", "in use", "port=0"):
            listen("127.0.0.1", port)
    with refused(AddressError, "0..65535", "70000"):
        listen("127.0.0.1", 70000)
