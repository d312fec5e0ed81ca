"""A real server with the viewer, and sockets that talk to it byte by byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torchattr.web.server import server_of


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application on a free port, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(20)


class Wire:
    """A connection over which a test sends arbitrary bytes."""

    def __init__(self, address: str, seconds: float = 15) -> None:
        host, _, port = address.removeprefix("http://").strip("/").rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1") + body)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one response: its status, headers and body."""
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        return int(first.split()[1]), headers, self._exactly(int(headers.get("content-length", 0)))

    def is_closed(self) -> bool:
        """Whether the connection ends without further data."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def _until(self, end: bytes) -> bytes:
        found = b""
        while not found.endswith(end):
            found += self._exactly(1)
        return found

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.socket.recv(count - len(found))
            if not part:
                raise EOFError(found)
            found += part
        return found
