"""Reading uploaded files, in memory only."""

from __future__ import annotations

import re
import sys
from pathlib import PurePosixPath
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from torchattr.errors import InputError
from torchattr.web.state.sessions import PayloadTooLarge

MAX_NAME_CHARACTERS = 80

UPLOAD_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
"""OpenAPI schema of the upload form."""


class _InMemory(MultiPartParser):
    """Starlette's parser without temporary files, which it uses from one megabyte on."""

    spool_max_size = sys.maxsize

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        except (ValueError, LookupError) as error:
            raise MultiPartException(str(error)) from error

    def close(self) -> None:
        """Close all files, including incomplete ones."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_upload(request: Request, limit: int) -> tuple[str, bytes]:
    """Return the display name and the bytes of the form field `file`.

    Raises:
        InputError: the request is not a form, or contains no file.
        PayloadTooLarge: the file has more than `limit` bytes.
    """
    if "multipart/form-data" not in request.headers.get("content-type", "").lower():
        raise InputError("file is missing; send it as multipart/form-data, in a field named file")
    parser = _InMemory(request.headers, request.stream(), max_files=1, max_fields=8)
    try:
        file = (await parser.parse()).get("file")
        if not isinstance(file, UploadFile):
            raise InputError("file is missing; send it as multipart/form-data")
        return _checked(display_name(file.filename), await file.read(), limit)
    except MultiPartException as error:
        raise InputError(f"invalid form: {error.message}") from error
    finally:
        parser.close()


def display_name(name: str | None) -> str:
    r"""Return the last part of a file name, with characters unsafe for HTML or headers replaced.

    >>> display_name("../../etc/pass\nwd.png"), display_name("C:\\photos\\cat.jpg")
    ('pass_wd.png', 'cat.jpg')
    """
    last = PurePosixPath((name or "").replace("\\", "/")).name
    return re.sub(r"[^\w .()+-]", "_", last).strip(" .")[-MAX_NAME_CHARACTERS:] or "picture"


def _checked(name: str, data: bytes, limit: int) -> tuple[str, bytes]:
    if len(data) > limit:
        raise PayloadTooLarge(f"{name}: too large; the limit is {limit:,} bytes")
    return name, data
