"""Files that the web page keeps: one folder, removed at the end, and who may read what in it.

Gradio serves any file in its folder to whoever knows the address. Here each folder in it belongs to the browser that
uploaded it or whose job wrote it, told by a random cookie, and nobody else is answered.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tempfile
import threading
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "depth_page"
# Folders that are there before the first visitor hold the examples.
PUBLIC = "public"
# What the page may load: from this server only.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; font-src 'self' data:; form-action 'self'; base-uri 'self'"
)


class PageFiles:
    """Folders under one root, each with its owners. Safe to use from several threads.

    Attributes:
        root: readable by this user only; Gradio's folder too (GRADIO_TEMP_DIR), so that it copies nothing.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="depth_page_")).resolve()
        self._owners: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def publish_present(self) -> None:
        """Let everybody read what is there now."""
        with self._lock:
            self._owners.update({path.name: {PUBLIC} for path in self.root.iterdir()})

    def new_folder(self, owner: str) -> Path:
        """An empty folder that only `owner` may read."""
        folder = self.root / f"job_{secrets.token_hex(16)}"
        folder.mkdir()
        with self._lock:
            self._owners[folder.name] = {owner}
        return folder

    def note_upload(self, owner: str, path: str) -> None:
        """`owner` uploaded this file. Equal files have one folder, and then several owners."""
        name = self._top(path)
        if name is not None:
            with self._lock:
                self._owners.setdefault(name, set()).add(owner)

    def may_read(self, owner: str, path: str) -> bool:
        """Whether `path` lies in a folder of `owner`'s, or in a public one."""
        with self._lock:
            return bool(self._owners.get(self._top(path) or "", set()) & {owner, PUBLIC})

    def remove(self, folder: Path) -> None:
        """Remove a folder that `new_folder` made."""
        with self._lock:
            self._owners.pop(folder.name, None)
        shutil.rmtree(folder, ignore_errors=True)

    def forget(self, owner: str) -> None:
        """Remove all that only `owner` may read."""
        with self._lock:
            for name in [name for name, owners in self._owners.items() if owner in owners]:
                self._owners[name].discard(owner)
                if not self._owners[name]:
                    del self._owners[name]
                    shutil.rmtree(self.root / name, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _top(self, path: str) -> str | None:
        """Name of the folder right under the root in which `path` lies, links and dots followed."""
        try:
            parts = Path(path).resolve().relative_to(self.root).parts
        except (ValueError, OSError):
            return None
        return parts[0] if parts else None


def owner_of(cookies: str) -> str | None:
    """The owner that a request's cookies name, if any."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and re.fullmatch(r"[0-9a-f]{64}", found.value) else None


class OwnerGate:
    """ASGI middleware: gives each browser its cookie, notes uploads, and answers for files only to their owner.

    Addresses elsewhere, which Gradio would fetch for whoever asks or names one as a file, are refused as well.
    """

    def __init__(self, app: ASGIApp, files: PageFiles) -> None:
        self._app = app
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        known = owner_of(headers.get(b"cookie", b"").decode("latin-1"))
        owner = known or secrets.token_hex(32)
        asked = re.search(r"/(?:file[=/]|(proxy)=)(.*)", scope["path"], flags=re.DOTALL)
        if asked and (asked[1] or not self._files.may_read(owner, asked[2])):
            await _refuse(send)
            return
        upload = scope["path"].endswith("/upload")
        if scope["method"] == "POST" and not upload:
            body = await _read(receive)
            if names_address(body):
                await _refuse(send)
                return
            receive = _replay(body, receive)
        await self._app(scope, receive, _Answer(send, self._files, owner, new=known is None, upload=upload))


def names_address(body: bytes) -> bool:
    """Whether a JSON body has a file in it, `{"path": ...}`, that is an address instead."""
    try:
        waiting = [json.loads(body)]
    except ValueError:
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if str(value.get("path", "")).strip().lower().startswith(("http:", "https:")):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


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

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff")]
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


async def _refuse(send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"not found"})
