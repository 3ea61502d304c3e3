"""A small HTTP proxy with bad moods: some answers are
429 with Retry-After, some connections break, by a seed.

A broken connection comes in both kinds: before the request reached the server, and after the server did the
work, when only the answer is lost. `count` says how often each happened.
"""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DROPPED_HEADERS = {"connection", "transfer-encoding", "keep-alive", "content-length", "host"}


@dataclass
class Moods:
    """How often what goes wrong: shares of all requests."""

    refuse: float = 0.10
    drop: float = 0.02
    retry_after: str = "0.2"
    seed: int = 1
    count: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Seed the dice."""
        self._random = random.Random(self.seed)

    def next(self, method: str, path: str) -> str:
        """What happens to the next request: `pass`, `refuse`, `drop before` or `drop after`."""
        with self._lock:
            number, side = self._random.random(), self._random.random()
            mood = "pass"
            if number < self.refuse:
                mood = "refuse"
            elif number < self.refuse + self.drop:
                mood = "drop after" if side < 0.5 else "drop before"
            self.count[mood] += 1
            if mood in ("pass", "drop after"):
                self.posts[f"{method} {path.partition('?')[0]}"] += 1
            return mood


@contextmanager
def proxy(port: int, moods: Moods) -> Iterator[str]:
    """A proxy on loopback in front of the server at `port`; its URL."""
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (_Handler,), {"port": port, "moods": moods})
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port: int
    moods: Moods

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mood = self.moods.next(self.command, self.path)
        if mood == "refuse":
            self._answer(
                429, {"Retry-After": self.moods.retry_after, "Content-Type": "text/plain"}, b"slow down"
            )
            return
        answer = self._forward(body) if mood != "drop before" else None
        if mood == "pass" and answer is not None:
            self._answer(*answer)
        else:
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {key: value for key, value in self.headers.items() if key.lower() not in DROPPED_HEADERS}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in DROPPED_HEADERS:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
