"""Checks every request before Gradio sees it: visitor, origin, path, rate and size. All others are refused.

Gradio has many more routes than this page needs, and serves files to anyone who knows their paths.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..errors import UserError
from .bounds import Body, Rates
from .messages import Refusal, message_of
from .visitors import Visitors

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

COOKIE = "depth_page"
# Content security policy: the page may load from this server only.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; font-src 'self' data:; form-action 'self'; base-uri 'self'; frame-ancestors 'self'"
)
# The routes that the page uses.
PRESS, UPLOAD, PICTURE, LOGIN = "/gradio_api/run/predict", "/gradio_api/upload", "/camera", "/login"
PROGRESS, ALIVE = "/gradio_api/upload_progress", "/alive"
READS = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?|alive|logout)/?|"
    r"/(assets|static|svelte)/.{1,200}|/gradio_api/file=.*|"
    r"/gradio_api/(info|app_id|user|login_check|startup-events|upload_progress|theme\.css)/?",
    flags=re.DOTALL,
)
FILE = "/gradio_api/file="
# Maximum size of a body in bytes; that of an upload is an option.
MOST_BODY = {PRESS: 50_000, PICTURE: 3_000_000, LOGIN: 10_000}
# Time-out in seconds for sending one part of a response.
STALLED_SECONDS = 60.0
# Maximum number of POST requests in `SPAN` seconds, and at the same time: per visitor, per address; of logins.
OF_VISITOR, OF_ADDRESS, LOGINS = (400, 8), (2000, 40), (20, 4)


class Hosts:
    """Host names under which this page may be opened. Others may belong to another site (DNS rebinding)."""

    def __init__(self, server_name: str, allowed: tuple[str, ...]) -> None:
        self.names = {"localhost", server_name.lower(), *(name.lower() for name in allowed)}
        own = socket.gethostname().lower()
        self.names |= {own, f"{own.partition('.')[0]}.local"}

    def known(self, host: str) -> bool:
        """Whether a Host header names this page. Numeric addresses do: they cannot be rebound."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self.names or bool(ipaddress.ip_address(name))
        except ValueError:
            return False


class Gate:
    def __init__(
        self,
        app: ASGIApp,
        own: Mapping[str, Callable[[Request], Awaitable[Response]]],
        visitors: Visitors,
        hosts: Hosts,
        check: Callable[[bytes, Callable[[str], bool]], bytes],
        signed_in: Callable[[Mapping[str, str]], bool],
        max_upload: int,
    ) -> None:
        self._app = app
        self._own = own
        self._visitors = visitors
        self._hosts = hosts
        self._check = check
        self._signed_in = signed_in
        self._most_body = {**MOST_BODY, UPLOAD: max_upload}
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":  # the page uses no other protocol
            return
        request, path = Request(scope), scope["path"].rstrip("/") or "/"
        known = request.cookies.get(COOKIE, "")
        stranger = request.state.stranger = re.fullmatch(r"[0-9a-f]{64}", known) is None
        owner = request.state.owner = secrets.token_hex(32) if stranger else known
        request.state.address = request.client.host if request.client else ""
        body, answer = Body(receive, self._most_body.get(path, 0)), _Answer(send, owner if stranger else None)
        try:
            self._check_request(request, path)
            with self._rates.counted(self._limits(request, path)):
                await self._answer(request, path, body, answer)
            return
        except HTTPException as error:
            refusal = error
        except UserError as error:
            refusal = HTTPException(429 if isinstance(error, Refusal) else 400, message_of(error))
        except (TimeoutError, asyncio.TimeoutError, ClientDisconnect):
            # uvicorn closes the connection if the application returns in mid-response.
            logger.info("a response was dropped: the client stopped reading or left")
            return
        except Exception:
            refusal = HTTPException(500, "Something went wrong on the server.")
            logger.exception("a request failed: %r %r", scope["method"], scope["path"])
        logger.info("refused: %r %r: %s", scope["method"], scope["path"], refusal.detail)
        if path == UPLOAD:
            await body.drain()
        if not answer.begun:
            code, text, headers = refusal.status_code, refusal.detail, {"connection": "close"}
            # Gradio's script reads errors of these routes as JSON.
            as_json = path in (PRESS, LOGIN)
            said = JSONResponse({"error": text}, code, headers) if as_json else PlainTextResponse(text, code, headers)
            await said(scope, receive, answer)

    async def _answer(self, request: Request, path: str, body: Body, answer: _Answer) -> None:
        receive: Receive = body.next
        if path == PRESS:
            sent = await Request(request.scope, body.next).body()
            checked = self._check(sent, lambda file: self._visitors.may_read(request.state.owner, file))
            parts = iter([{"type": "http.request", "body": checked, "more_body": False}])

            async def replay() -> Message:
                return next(parts, None) or await body.next()

            receive = replay
        own = self._own.get(path)
        app = self._app if own is None else await own(Request(request.scope, receive))
        await app(request.scope, receive, answer)

    def _check_request(self, request: Request, path: str) -> None:
        """Raise HTTPException if the request does not come from this page, or its path is not open to this visitor."""
        headers, method, whole = request.headers, request.method, request.scope["path"]
        # Gradio writes the forwarded name into the page.
        host = headers.get("host", "")
        if not (self._hosts.known(host) and self._hosts.known(headers.get("x-forwarded-host", host))):
            raise HTTPException(421, "This page is not served under that name; --allowed_hosts adds names.")
        reading = method in ("GET", "HEAD")
        if not (READS.fullmatch(whole) if reading else method == "POST" and path in self._most_body):
            raise HTTPException(404, "Not found.")
        if not re.fullmatch(r"bytes=\d*-\d*", headers.get("range", "bytes=-")):  # browsers ask for one
            raise HTTPException(416, "Ask for one range of bytes.")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        linked = reading and path == "/" and headers.get("sec-fetch-dest", "document") == "document"
        foreign = origin is not None and origin.lower().partition("://")[2] != host.lower()
        if foreign or (site not in ("same-origin", "none") and not linked):
            raise HTTPException(403, "Other sites may not use this page.")
        if path in self._own and not self._signed_in(request.cookies):
            raise HTTPException(401, "Log in first: reload this page.")
        if whole.startswith(FILE) and not self._visitors.may_read(request.state.owner, whole[len(FILE) :]):
            raise HTTPException(404, "Not found.")

    def _limits(self, request: Request, path: str) -> dict[str, tuple[int, int]]:
        address = request.state.address
        if request.method != "POST":
            return {}
        if path == LOGIN:
            return {f"login {address}": LOGINS}
        return {request.state.owner: OF_VISITOR, f"from {address}": OF_ADDRESS}


class _Answer:
    """Sends a response with the page's headers, and a new visitor's cookie."""

    def __init__(self, send: Send, new_owner: str | None) -> None:
        self._send = send
        self._new_owner = new_owner
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            added = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff")]
            added.append((b"referrer-policy", b"same-origin"))
            if self._new_owner is not None:
                cookie = f"{COOKIE}={self._new_owner}; Path=/; HttpOnly; SameSite=Lax"
                added.append((b"set-cookie", cookie.encode()))
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await asyncio.wait_for(self._send(message), STALLED_SECONDS)
