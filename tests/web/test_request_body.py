"""Request bodies that are too long, too slow or too many, byte by byte against a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from unittest import mock

import pytest
from serving import Wire, served

from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app, server

FORM = "Content-Type: multipart/form-data; boundary=x"


LIMITS = Limits(upload_bytes=100_000, body_seconds=0.6, body_rate=1_000_000, bodies=4)


@pytest.fixture(scope="module")
def address(demo: LoadedModel) -> Iterator[str]:
    hurry = mock.patch.object(server, "HEADER_SECONDS", 0.8)
    with hurry, served(create_app(demo, limits=LIMITS)) as found:
        yield found


def said(wire: Wire, status: int) -> str:
    """The error message of a response after which the connection ends."""
    found, headers, body = wire.answer()
    assert (found, headers["connection"]) == (status, "close"), body
    assert wire.is_closed()
    return str(json.loads(body)["error"])


@pytest.mark.parametrize(
    ("path", "header", "length"),
    [
        ("/api/pictures", FORM, 10**9),
        ("/api/pictures", FORM, 200_000),
        ("/api/features", "Content-Type: application/json", 70_000),
        ("/api/nothing", "Content-Type: text/plain", 10**12),
    ],
)
def test_a_body_announced_as_too_large_is_not_waited_for(
    address: str, path: str, header: str, length: int
) -> None:
    with Wire(address) as wire:
        wire.ask("POST", path, header, f"Content-Length: {length}", body=b"x")
        assert "too large" in said(wire, 413)


@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_body_without_end_is_cut_off(address: str, kind: str) -> None:
    header = FORM if kind == "form" else "Content-Type: application/json"
    path = "/api/pictures" if kind == "form" else "/api/panels"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    sent = 0
    with Wire(address) as wire:
        wire.ask("POST", path, header, "Transfer-Encoding: chunked")
        try:
            for _ in range(2000):
                wire.send(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
    # Data in the buffers of the system counts as sent.
    assert sent < 20_000_000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nothing", 404), ("PUT", "/api/model", 405), ("GET", "/api/model", 200)],
)
def test_a_body_that_nobody_reads_ends_the_connection(
    address: str, method: str, path: str, status: int
) -> None:
    with Wire(address) as wire:
        wire.ask(method, path, "Content-Length: 5000", body=b"half of it")
        found, headers, _ = wire.answer()
        assert (found, headers["connection"]) == (status, "close")
        assert wire.is_closed()


@pytest.mark.parametrize(
    "header", [FORM, "Content-Type: application/json", "Content-Type: text/plain"]
)
def test_a_body_that_stops_halfway_is_given_up(address: str, header: str) -> None:
    start = time.monotonic()
    with Wire(address) as wire:
        path = "/api/pictures" if header is FORM else "/api/features"
        wire.ask("POST", path, header, "Content-Length: 500", body=b"--x\r\nhalf")
        assert "timed out" in said(wire, 408)
    assert time.monotonic() - start < 10


def test_a_body_that_trickles_is_given_up(address: str) -> None:
    with Wire(address) as wire:
        wire.ask("POST", "/api/features", "Content-Type: application/json", "Content-Length: 9999")
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                wire.send(b" ")
                time.sleep(0.05)
            pytest.fail("it was listened to for five seconds")


def test_only_so_many_bodies_are_on_their_way_at_once(address: str) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(address)) for _ in range(5)]
        for wire in wires[:4]:
            wire.ask("POST", "/api/pictures", FORM, "Content-Length: 500", body=b"--x\r\n")
        time.sleep(0.1)
        wires[4].ask("POST", "/api/pictures", FORM, "Content-Length: 500")
        status, headers, body = wires[4].answer()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert "4 requests are already being received" in json.loads(body)["error"]
        # Requests without a body are still answered.
        with Wire(address) as other:
            other.ask("GET", "/api/model")
            assert other.answer()[0] == 200
        for wire in wires[:4]:
            said(wire, 408)
    with Wire(address) as wire:
        wire.ask(
            "POST", "/api/panels", "Content-Type: application/json", "Content-Length: 2", body=b"{}"
        )
        assert wire.answer()[0] == 422


@pytest.mark.parametrize("length", ["-1", "one", "1e3", "0x10", "5, 6", "9" * 400])
def test_lengths_that_are_no_numbers_are_refused(address: str, length: str) -> None:
    with Wire(address) as wire:
        wire.ask("POST", "/api/features", f"Content-Length: {length}", body=b"{}")
        status, _, _ = wire.answer()
        assert status in (400, 413)


def test_a_client_that_goes_while_it_sends_harms_nobody(address: str) -> None:
    for _ in range(3):
        with Wire(address) as wire:
            wire.ask("POST", "/api/pictures", FORM, "Content-Length: 500", body=b"--x\r\n")
    with Wire(address) as wire:
        wire.ask("GET", "/api/model")
        assert wire.answer()[0] == 200
