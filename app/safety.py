"""What the server adds to every answer, and which requests it refuses, before any page is run.

The framework sends no security headers of its own, answers a plain request under any host name, and shows figures about
its sessions to whoever asks; see `SecureHeaders` and `Unlisted`. Host names are checked by Starlette's own middleware.
"""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK: Final = ("localhost", "127.0.0.1")
_POLICY: Final = {
    "default-src": "'self'",
    # The framework's own page starts with a script in the page, and its components style themselves as they go.
    # The code of a component of ours, such as the editor of rules, comes to the page as a blob.
    "script-src": "'self' 'unsafe-inline' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' ws: wss: data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
HEADERS: Final = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # an address names projects and runs
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
UNLISTED: Final = ("/_stcore/metrics",)
"""Paths that the framework answers without asking who it is."""


class SecureHeaders:
    """Adds `HEADERS` to every answer: nothing is loaded from another host, and no other page may frame this one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; add the headers to what comes back."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class Unlisted:
    """Answers 404 where the framework would tell about its sessions."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on unless its path is among `UNLISTED`."""
        refused = scope["type"] == "http" and scope["path"].rstrip("/").endswith(UNLISTED)
        answer = PlainTextResponse("Not found", status_code=404) if refused else self.app
        await answer(scope, receive, send)


def guards(allowed_hosts: Sequence[str]) -> list[Middleware]:
    """The middleware of the server, outermost first.

    Args:
        allowed_hosts: names under which the dashboard may be reached besides those of this machine; a name that
            another page made point here (DNS rebinding) is refused.
    """
    hosts = [*LOOPBACK, *allowed_hosts]
    return [
        Middleware(SecureHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(Unlisted),
    ]
