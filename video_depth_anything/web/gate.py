"""The one door to the page: who asks, from where, for what, how often and with how much; all else is refused.

Gradio has many more addresses than this page needs, and serves files to anyone who knows their names.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from .bounds import Body, Rates
from .visitors import Visitors

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

COOKIE = "depth_page"
# What the page may load: from this server only.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; font-src 'self' data:; form-action 'self'; base-uri 'self'; frame-ancestors 'self'"
)
# The addresses that the page uses.
PRESS, UPLOAD, PICTURE, LOGIN = "/gradio_api/run/predict", "/gradio_api/upload", "/camera", "/login"
PROGRESS, ALIVE = "/gradio_api/upload_progress", "/alive"
READS = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?|alive|logout)/?|"
    r"/(assets|static|svelte)/.*|/gradio_api/(info|app_id|user|login_check|startup-events|upload_progress|theme\.css)/?|"
    r"/gradio_api/file=.*",
    flags=re.DOTALL,
)
FILE = "/gradio_api/file="
# Bytes of a request: the whole form of an upload has its own limit.
MOST_BODY = {PRESS: 50_000, PICTURE: 3_000_000, LOGIN: 10_000}
# An answer is given up when nobody takes its next part for so many seconds.
STALLED_SECONDS = 60.0
# Requests that do something: in `SPAN` seconds and at the same time, of a visitor and of an address; logins.
OF_VISITOR, OF_ADDRESS, LOGINS = (400, 8), (2000, 40), (20, 4)


def cookies_of(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def owner_of(header: str) -> str | None:
    """The visitor's own cookie, if it is in the header."""
    found = cookies_of(header).get(COOKIE, "")
    return found if re.fullmatch(r"[0-9a-f]{64}", found) else None


class Hosts:
    """The names under which this page may be opened: other names are other sites' that point here."""

    def __init__(self, server_name: str, allowed: tuple[str, ...]) -> None:
        self.names = {"localhost", server_name.lower(), *(name.lower() for name in allowed)}
        own = socket.gethostname().lower()
        self.names |= {own, f"{own.partition('.')[0]}.local"}

    def known(self, host: str) -> bool:
        """Whether a Host header names this page. Addresses in digits do: no other site's name can stand for them."""
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
        check: Callable[[Any], dict[str, Any]],
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
        elif scope["type"] == "http":  # the page uses no other protocol
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        known = owner_of(headers.get("cookie", ""))
        owner = known or secrets.token_hex(32)
        scope["state"] = {**scope.get("state", {}), "owner": owner}
        path = scope["path"].rstrip("/") or "/"
        answer = _Answer(send, None if known else owner)
        body = Body(receive, self._most_body.get(path, 0))
        try:
            self._check_request(scope, path, headers, owner)
            if scope["method"] != "POST":
                await self._pass_on(scope, path, body, answer)
                return
            with self._rates.counted(self._limits(scope, path, owner)):
                if path == PRESS:
                    body.replay(self._checked(await body.all(), owner))
                await self._pass_on(scope, path, body, answer)
        except HTTPException as refusal:
            logger.info("refused: %r %r: %s", scope["method"], scope["path"], refusal.detail)
            if path == UPLOAD:
                await body.drain()
            await answer.refuse(refusal, as_json=path in (PRESS, LOGIN))
        except (TimeoutError, asyncio.TimeoutError):
            # uvicorn ends the connection when the application returns in the midst of an answer.
            logger.info("a response was dropped: the client stopped reading")
        except Exception:
            logger.exception("a request failed: %r %r", scope["method"], scope["path"])
            await answer.refuse(HTTPException(500, "Something went wrong on the server."), as_json=path == PRESS)

    async def _pass_on(self, scope: Scope, path: str, body: Body, answer: _Answer) -> None:
        own = self._own.get(path)
        if own is None:
            await self._app(scope, body.next, answer)
        else:
            await (await own(Request(scope, body.next)))(scope, body.next, answer)

    def _check_request(self, scope: Scope, path: str, headers: dict[str, str], owner: str) -> None:
        """Raise where it does not come from this page, or asks for what the page does not have."""
        # Gradio puts the forwarded name into the page.
        host = headers.get("host", "")
        if not (self._hosts.known(host) and self._hosts.known(headers.get("x-forwarded-host", host))):
            raise HTTPException(421, "This page is not served under that name; --allowed_hosts adds names.")
        reading = scope["method"] in ("GET", "HEAD")
        if not (READS.fullmatch(scope["path"]) if reading else scope["method"] == "POST" and path in self._most_body):
            raise HTTPException(404, "Not found.")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        linked = reading and path == "/" and headers.get("sec-fetch-dest", "document") == "document"
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or (site not in ("same-origin", "none") and not linked):
            raise HTTPException(403, "Other sites may not use this page.")
        if path in (UPLOAD, PICTURE, PROGRESS, ALIVE) and not self._signed_in(cookies_of(headers.get("cookie", ""))):
            raise HTTPException(401, "Log in first: reload this page.")
        if scope["path"].startswith(FILE) and not self._visitors.may_read(owner, scope["path"][len(FILE) :]):
            raise HTTPException(404, "Not found.")

    def _limits(self, scope: Scope, path: str, owner: str) -> dict[str, tuple[int, int]]:
        address = scope["client"][0] if scope.get("client") else ""
        if path == LOGIN:
            return {f"login {address}": LOGINS}
        return {owner: OF_VISITOR, f"from {address}": OF_ADDRESS}

    def _checked(self, body: bytes, owner: str) -> bytes:
        """The body of a press, whose files are the visitor's and whose values its components can have."""
        try:
            content = json.loads(body, parse_constant=_refuse_constant)
            paths = [value["path"] for value in _dictionaries(content) if "path" in value]
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "This is not a request of this page.") from error
        if not all(isinstance(path, str) and self._visitors.may_read(owner, path) for path in paths):
            raise HTTPException(404, "This video is no longer on the server. Upload it again.")
        return json.dumps(self._check(content)).encode()


class _Answer:
    """Passes an answer on, with the page's headers; a new visitor gets their cookie."""

    def __init__(self, send: Send, new_owner: str | None) -> None:
        self._send = send
        self._new_owner = new_owner
        self._begun = False

    async def __call__(self, message: Message) -> None:
        self._begun = True
        if message["type"] == "http.response.start":
            added = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff")]
            added.append((b"referrer-policy", b"same-origin"))
            if self._new_owner is not None:
                cookie = f"{COOKIE}={self._new_owner}; Path=/; HttpOnly; SameSite=Lax"
                added.append((b"set-cookie", cookie.encode()))
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await asyncio.wait_for(self._send(message), STALLED_SECONDS)

    async def refuse(self, refusal: HTTPException, as_json: bool) -> None:
        """Say why, as the page's script wants to hear it; nothing where an answer has begun."""
        if self._begun:
            return
        text = json.dumps({"error": refusal.detail}) if as_json else refusal.detail
        kind = b"application/json" if as_json else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"connection", b"close")]
        await self({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
        await self({"type": "http.response.body", "body": text.encode()})


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _dictionaries(content: Any) -> Iterator[dict[str, Any]]:
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
