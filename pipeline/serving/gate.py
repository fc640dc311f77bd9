"""What every request has to pass: API key, number in flight, size and speed of its body. And headers for every answer.

Plain ASGI: what is refused here costs neither parsing nor a thread.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serving.metrics import Metrics
from pipeline.serving.refusals import refuse, refuse_busy
from pipeline.serving.settings import Settings

PROTECTED = ("/v1/", "/v2/models", "/metrics", "/version")  # to read; open: health, the page, the schema
KEY_HEADER = "X-API-Key"
DISCARD = 8  # an oversized body is read to its end, up to so many times the limit, so that its sender gets to read the refusal

HEADERS = {
    # the page's own files and nothing else; data: for pictures inside the style sheet
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Adds the security headers, and ``Connection: close`` while the service is ending."""

    def __init__(self, app: ASGIApp, ending: Callable[[], bool]) -> None:
        self.app = app
        self.ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self.ending():
                    headers["Connection"] = "close"
            await send(message)

        await self.app(scope, receive, with_headers)


class Gate:
    """Lets in who has the key, so many at a time, with bodies that are not too large or too slow."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        reads = scope["method"] in ("GET", "HEAD")  # health, page, metrics: no bodies, never shed
        if (scope["path"].startswith(PROTECTED) or not reads) and not self._has_key(Headers(scope=scope)):
            await refuse(401, f"{KEY_HEADER}: missing or wrong")(scope, receive, send)
        elif reads:
            await self.app(scope, receive, send)
        elif self.in_flight >= self.settings.max_in_flight:
            await refuse_busy()(scope, receive, send)
        else:
            self.in_flight += 1
            self.metrics.in_flight.inc()
            try:
                await self._let_in(scope, receive, send)
            finally:
                self.in_flight -= 1
                self.metrics.in_flight.dec()

    def _has_key(self, headers: Headers) -> bool:
        key = self.settings.api_key
        return key is None or hmac.compare_digest(headers.get(KEY_HEADER, "").encode("latin-1"), key.get_secret_value().encode())

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        close = {"Connection": "close"}  # what else comes of the body must not be taken for a request
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                body = await self._read_body(Headers(scope=scope), receive)
        except TimeoutError:
            await refuse(408, f"body: did not come within {self.settings.body_timeout_s:g} s", close)(scope, receive, send)
            return
        except _TooLargeError:
            await refuse(413, f"body: larger than {self.settings.max_body_bytes} bytes", close)(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, _replay(body, receive), send)

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body, or None if the client has gone.

        What the head says of its length is only believed where it says too much.
        """
        limit = self.settings.max_body_bytes
        declared = headers.get("content-length", "")
        too_large = declared.isdecimal() and int(declared[:20]) > limit
        if too_large and "expect" in headers:  # the client waits for leave to send
            raise _TooLargeError
        body, size, more = bytearray(), 0, True
        while more and size <= DISCARD * limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            too_large = too_large or size > limit
            if not too_large:
                body += chunk
        if too_large:
            raise _TooLargeError
        return bytes(body)


class _TooLargeError(Exception):
    pass


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hands on a body that was read already."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal message
        first, message = message, None
        return first or await receive()

    return replay
