"""A small OpenID provider: signs in whoever the address asks for, and signs what it says."""

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "jebm"


class Provider:
    """Its pages. Codes are used once."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict[str, str]] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.metadata),
                Route("/authorize", self.authorize),
                Route("/signed", self.signed),
                Route("/token", self.token, methods=["POST"]),
                Route("/jwks", self.jwks),
                Route("/favicon.ico", lambda _request: Response(status_code=204)),
            ]
        )

    def metadata(self, _request: Request) -> Response:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return JSONResponse(
            {name: f"{self.address}/{path}" for name, path in ends.items()}
            | {
                "issuer": self.address,
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    def authorize(self, request: Request) -> Response:
        asked = urlencode(dict(request.query_params))
        links = "".join(
            f'<p><a href="/signed?{asked}&who={name}@example.com">{name}</a></p>' for name in ("aoi", "ren")
        )
        return HTMLResponse(f"<title>Provider</title><h1>Who are you?</h1>{links}")

    def signed(self, request: Request) -> Response:
        asked, code = request.query_params, secrets.token_urlsafe(16)
        self.codes[code] = {"who": asked["who"], "nonce": asked.get("nonce", "")}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def token(self, request: Request) -> Response:
        form = await request.form()
        known = self.codes.pop(str(form["code"]), None)
        if known is None:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT, "sub": known["who"], "email": known["who"], "iat": now}
        claims |= {"exp": now + 600, "nonce": known["nonce"]}
        told = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return JSONResponse({"access_token": "unused", "token_type": "Bearer", "expires_in": 600, "id_token": told})

    def jwks(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})


@contextmanager
def identity_provider() -> Iterator[str]:
    """The address of a provider that is ended on leaving."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(Provider(address).app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(20)
