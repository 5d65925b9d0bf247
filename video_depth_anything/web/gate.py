"""What stands before Gradio: who is asking, for what, with how much; everything else is refused.

Gradio has many more addresses than this page needs, serves files to whoever knows their names, and trusts the name
that a session gives itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from .sessions import Sessions
from .turns import Refusal
from .visitor_files import PageFiles

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "depth_page"
# What the page may load: from this server only.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; font-src 'self' data:; form-action 'self'; base-uri 'self'"
)
# The addresses that the page uses.
READS = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?)/?|/(assets|static|svelte)/.*|"
    r"/gradio_api/(info|app_id|user|login_check|startup-events|queue/data|upload_progress|heartbeat/[^/]+|theme\.css)/?|"
    r"/gradio_api/file[=/].*",
    flags=re.DOTALL,
)
WRITES = re.compile(r"/gradio_api/(queue/join|run/predict|upload|cancel|reset|stream/[^/]+(/close)?)/?")
# Bytes of a request that is no upload: a camera's picture is the largest.
MOST_BODY = 8_000_000
# Bytes that are taken of an upload that is refused.
MOST_DRAINED = 500_000_000
# What an upload's form needs besides the file.
FORM_BYTES = 100_000
# Seconds in which the next part of a request must come.
PATIENCE = 60.0


def owner_of(cookies: str) -> str | None:
    """The owner that a request's cookies name, if any."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and re.fullmatch(r"[0-9a-f]{64}", found.value) else None


class OwnerGate:
    """ASGI middleware: gives each browser its cookie, notes uploads, and answers for files only to their owner.

    Args:
        app: what is behind it.
        files: of all visitors.
        sessions: open pages; a page's name is answered to its owner alone.
        max_upload: bytes of an uploaded file.
    """

    def __init__(
        self, app: ASGIApp, files: PageFiles, sessions: Sessions | None = None, max_upload: int = 200_000_000
    ) -> None:
        self._app = app
        self._files = files
        self._sessions = sessions or Sessions(files)
        self._max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":  # the page uses no other protocol
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        known = owner_of(headers.get(b"cookie", b"").decode("latin-1"))
        owner = known or secrets.token_hex(32)
        upload = scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload")
        answer = _Answer(send, self._files, owner, new=known is None, upload=upload)
        names = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [])
        try:
            self._check_address(scope, owner)
            if upload:
                receive = self._bounded_upload(receive, headers, owner)
            elif scope["method"] == "POST":
                body = await _read(receive)
                names += _check_body(body)
                receive = _replay(body, receive)
            if not all(self._sessions.belongs(name, owner) for name in names):
                raise _Refused(404, "not found")
            await self._connected(scope, receive, answer, owner)
        except _Refused as refusal:
            if not answer.begun:
                if upload:
                    await _drain(receive)
                await _refuse(answer, refusal)

    def _check_address(self, scope: Scope, owner: str) -> None:
        allowed = {"GET": READS, "HEAD": READS, "POST": WRITES}.get(scope["method"])
        if allowed is None or not allowed.fullmatch(scope["path"]):
            raise _Refused(404, "not found")
        asked = re.search(r"/file[=/](.*)", scope["path"], flags=re.DOTALL)
        if asked and not self._files.may_read(owner, asked[1]):
            raise _Refused(404, "not found")

    async def _connected(self, scope: Scope, receive: Receive, send: Send, owner: str) -> None:
        """Answer; a page's heartbeat says for as long as it lasts that the page is there."""
        page = re.fullmatch(r"/gradio_api/heartbeat/([^/]+)/?", scope["path"])
        if page is None:
            await self._app(scope, receive, send)
            return
        try:
            self._sessions.connect(page[1], owner)
        except Refusal as error:
            raise _Refused(404, str(error)) from error
        try:
            await self._app(scope, receive, send)
        finally:
            self._sessions.disconnect(page[1])

    def _bounded_upload(self, receive: Receive, headers: dict[bytes, bytes], owner: str) -> Receive:
        """The body of an upload, no more of it than is allowed and than there is room for."""
        most = self._max_upload + FORM_BYTES
        said = headers.get(b"content-length", b"")
        expected = int(said) if said.isdigit() else most
        if expected > most:
            raise _Refused(413, f"The file is larger than the maximum of {self._max_upload // 1_000_000} MB.")
        if not self._files.make_room(owner, expected):
            raise _Refused(413, "There is no room for this file: close other tabs of this page, or try again later.")
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await _next(receive)
            taken += len(message.get("body", b""))
            if taken > expected:
                raise _Refused(413, "The file is larger than it was said to be.")
            return message

        return bounded


class _Refused(HTTPException):
    """A request that is not answered; where the application is at work on it, its framework knows this error too."""


async def _next(receive: Receive) -> Message:
    """The next part of a request, which must not take for ever."""
    try:
        return await asyncio.wait_for(receive(), PATIENCE)
    except asyncio.TimeoutError as error:
        raise _Refused(408, "too slow") from error


async def _drain(receive: Receive) -> None:
    """Take what is still being sent, and forget it: a browser shows an answer only when it has sent all."""
    taken, more = 0, True
    with contextlib.suppress(_Refused):
        while more and taken < MOST_DRAINED:
            message = await _next(receive)
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)


async def _read(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await _next(receive)
        if message["type"] == "http.disconnect":
            raise _Refused(400, "broken off")
        body += message.get("body", b"")
        if len(body) > MOST_BODY:
            raise _Refused(413, "too large")
        more = message.get("more_body", False)
    return bytes(body)


def _check_body(body: bytes) -> list[str]:
    """The names of sessions in a request's body; refused is one that names an address as a file."""
    if names_address(body):
        raise _Refused(404, "not found")
    try:
        content = json.loads(body)
    except ValueError:
        return []
    name = content.get("session_hash") if isinstance(content, dict) else None
    return [name] if isinstance(name, str) else []


def names_address(body: bytes) -> bool:
    """Whether a JSON body has a file in it, `{"path": ...}`, that is an address; so has absurd nesting."""
    try:
        return any(
            str(value.get("path", "")).strip().lower().startswith(("http:", "https:"))
            for value in _dictionaries(json.loads(body))
        )
    except RecursionError:
        return True
    except ValueError:
        return False


def _dictionaries(content: Any) -> Iterator[dict[str, Any]]:
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class _Answer:
    """Passes a response on with cookie and policy added; of an upload it notes the files first."""

    def __init__(self, send: Send, files: PageFiles, owner: str, new: bool, upload: bool) -> None:
        self._send = send
        self._files = files
        self._owner = owner
        self._new = new
        self._upload = upload
        self._body = b""
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            added = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff")]
            added.append((b"referrer-policy", b"same-origin"))
            if self._new:
                added.append((b"set-cookie", f"{COOKIE}={self._owner}; Path=/; HttpOnly; SameSite=Lax".encode()))
            message = {**message, "headers": [*message.get("headers", []), *added]}
            self._upload = self._upload and message["status"] == 200
        elif message["type"] == "http.response.body" and self._upload:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._note(json.loads(self._body))
        await self._send(message)

    def _note(self, paths: Any) -> None:
        for path in paths:
            self._files.note_upload(self._owner, str(path))


async def _refuse(send: Send, refusal: _Refused) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.detail.encode()})
