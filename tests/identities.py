"""Stand-ins for what gives tokens on the platforms; a test says how long each token lives.

Tokens are JSON Web Tokens without a signature; whoever takes one looks at its end.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


def token(number: int, lives: float, audience: str = "") -> str:
    """The number-th token, ending in so many seconds."""
    body = json.dumps({"jti": number, "aud": audience, "exp": int(time.time() + lives)}).encode()
    return ".".join(["e30", base64.urlsafe_b64encode(body).rstrip(b"=").decode(), "none"])


def claims(text: str) -> dict[str, Any]:
    """What a token says."""
    body = text.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def takes(text: str) -> bool:
    """Whether a service would take the token now."""
    return bool(claims(text)["exp"] > time.time())


def synapse(monkeypatch: pytest.MonkeyPatch, lives: float) -> list[str]:
    """A driver of a Synapse pool, with its `mssparkutils`. Gives the list of audiences asked for."""
    asked: list[str] = []

    def get_token(audience: str) -> str:
        if audience.startswith("https:"):
            raise ValueError("400: Audience has invalid characters")
        asked.append(audience)
        return token(len(asked), lives, audience)

    utilities = ModuleType("notebookutils")
    utilities.mssparkutils = SimpleNamespace(  # type: ignore[attr-defined]
        credentials=SimpleNamespace(getToken=get_token)
    )
    monkeypatch.setitem(sys.modules, "notebookutils", utilities)
    monkeypatch.setenv("AZURE_SERVICE", "Microsoft.ProjectArcadia")
    return asked


@dataclass
class Issuer:
    """A server that issues tokens: the metadata endpoint, Entra's token endpoint or GitHub's."""

    lives: int
    url: str = ""
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)

    def answer(self, method: str, address: str, headers: dict[str, str], body: str) -> dict[str, Any]:
        """The JSON of one request: (path, what was sent, headers) is noted."""
        parts = urlsplit(address)
        sent = {name: values[0] for name, values in parse_qs(parts.query or body).items()}
        self.requests.append((parts.path, sent, headers))
        made = token(len(self.requests), self.lives, sent.get("resource") or sent.get("scope", ""))
        if parts.path.endswith("/github"):
            return {"value": made}
        ends = int(time.time() + self.lives)
        return {
            "access_token": made,
            "expires_in": self.lives,
            "expires_on": str(ends),
            "resource": sent.get("resource", ""),
            "token_type": "Bearer",
        }


@contextmanager
def issuer(lives: int, secure_in: Path | None = None) -> Iterator[Issuer]:
    """A running issuer; with a folder over TLS, whose certificate is `issuer.pem` there."""
    issuing = Issuer(lives)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            found = issuing.answer(self.command, self.path, dict(self.headers), body)
            data = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if secure_in is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(secure_in))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    issuing.url = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuing
    finally:
        server.shutdown()
        server.server_close()


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(local, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "issuer.pem"
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + plain)
    return path
