"""Reading an uploaded file, in memory alone."""

from __future__ import annotations

import sys
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from torchattr.errors import InputError
from torchattr.web.api.pictures import plain_name
from torchattr.web.state.sessions import TooLarge

FORM: dict[str, Any] = {
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
"""What the description of the API says of the form."""


class _InMemory(MultiPartParser):
    """Starlette's parser puts what is beyond a megabyte into temporary files; this one does not."""

    spool_max_size = sys.maxsize

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        except (ValueError, LookupError) as error:
            raise MultiPartException(str(error)) from error

    def close(self) -> None:
        """Close all files, those whose end never came as well."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_upload(request: Request, most: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a form's field `file`.

    Raises:
        InputError: the request is no form, or has no file in it.
        TooLarge: the file has more than `most` bytes.
    """
    if "multipart/form-data" not in request.headers.get("content-type", "").lower():
        raise InputError("file is missing; send it as multipart/form-data, in a field called file")
    parser = _InMemory(request.headers, request.stream(), max_files=1, max_fields=8)
    try:
        file = (await parser.parse()).get("file")
        if not isinstance(file, UploadFile):
            raise InputError("file is missing; send it as multipart/form-data")
        return _checked(plain_name(file.filename), await file.read(), most)
    except MultiPartException as error:
        raise InputError(f"the form cannot be read: {error.message}") from error
    finally:
        parser.close()


def _checked(name: str, data: bytes, most: int) -> tuple[str, bytes]:
    if len(data) > most:
        raise TooLarge(f"{name}: has more than the {most:,} bytes that are taken")
    return name, data
