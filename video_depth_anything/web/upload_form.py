"""Receives uploads: the browser's form is parsed as it arrives, within the reserved disk space."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from .visitors import INCOMING, Visitors

NO_ROOM = "There is no room for this file on the server. Cancel a running job, or try again in ten minutes."
NO_FORM = HTTPException(400, "This is not an upload, or it is incomplete. Try again.")
KIND = r'multipart/form-data; ?boundary="?([^"; ]{1,70})"?'
# Maximum bytes of a form besides the file, and of a file name.
FORM_BYTES, NAME_BYTES = 20_000, 120


@dataclass
class _Form:
    """The first file of a multipart form, written as it arrives; the rest is dropped."""

    mark: bytes
    file: IO[bytes]
    name: str = ""
    received: int = 0
    finished: bool = False
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        self.received += len(data)
        if self.finished:
            return
        self._rest += data
        if not self.name:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            sent = re.search(rb'\bfilename="([^"\r\n]*)"', head)
            if not found or sent is None:
                if found or len(head) > FORM_BYTES:
                    raise NO_FORM
                return
            self.name, self._rest = file_name(sent[1].decode(errors="replace")), rest
        end = self._rest.find(self.mark)
        self.finished = end >= 0
        whole = end if self.finished else max(len(self._rest) - len(self.mark), 0)
        self.file.write(self._rest[:whole])
        self._rest = self._rest[whole:]


def file_name(sent: str) -> str:
    """The visitor's file name, made safe for this file system."""
    name = re.sub(r"[^\w .()\[\]+@-]", "", sent.replace("\\", "/").rpartition("/")[2]).strip(" .") or "video"
    stem, dot, ending = name.rpartition(".")
    return os.fsencode(stem if dot else name)[:NAME_BYTES].decode(errors="ignore") + (dot + ending[:10]) * bool(dot)


class Uploads:
    """Receives uploads up to a maximum size, and reports their progress."""

    def __init__(self, visitors: Visitors, most: int) -> None:
        self._visitors = visitors
        self._most = most
        self._forms: dict[tuple[str, str], _Form] = {}

    async def receive(self, request: Request) -> Response:
        """Store an upload and respond with its path; HTTPException carries a message for the visitor."""
        visitor = self._visitors.get(request.state.owner, request.state.address)
        too_large = HTTPException(413, f"The file is larger than the maximum of {self._most // 1_000_000} MB.")
        length = request.headers.get("content-length", "")
        expected = int(length) if length.isdigit() else self._most + FORM_BYTES
        if expected > self._most + FORM_BYTES:
            raise too_large
        kind = re.fullmatch(KIND, request.headers.get("content-type", ""))
        if kind is None:
            raise NO_FORM
        if not await asyncio.to_thread(self._visitors.reserve, visitor, expected):
            raise HTTPException(413, NO_ROOM)
        part = self._visitors.root / INCOMING / os.urandom(12).hex()
        number = self._number(request)
        try:
            with part.open("wb") as file:
                form = self._forms[number] = _Form(b"\r\n--" + kind[1].encode(), file)
                async for data in request.stream():
                    form.feed(data)
                    if form.received > expected:
                        raise too_large
            if not form.finished:
                raise NO_FORM
            return JSONResponse([str(part.rename(visitor.new_folder("upload") / form.name))])
        finally:
            part.unlink(missing_ok=True)
            self._forms.pop(number, None)
            self._visitors.release(visitor, expected)

    async def progress(self, request: Request) -> Response:
        """Events with the progress of one upload, until it ends."""
        number = self._number(request)

        async def events() -> AsyncIterator[str]:
            told = 0
            while (form := self._forms.get(number)) is not None:
                update = {"msg": "update", "orig_name": form.name, "chunk_size": form.received - told}
                told = form.received
                yield f"data: {json.dumps(update)}\n\n"
                await asyncio.sleep(0.3)
            yield 'data: {"msg": "done"}\n\n'

        return StreamingResponse(events(), media_type="text/event-stream")

    def _number(self, request: Request) -> tuple[str, str]:
        """The name of an upload, which the visitor's browser chose: others may choose the same."""
        return request.state.owner, request.query_params.get("upload_id", "")[:40]
