"""Does anybody listen at an address? Asked before a library that would wait for minutes."""

from __future__ import annotations

import socket

CONNECT_SECONDS = 3.0


def listens(host: str, port: int) -> str | None:
    """What is wrong with a connection to host and port, or None."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return None
    except OSError as error:
        return f"{host}:{port} does not answer ({error.strerror or error})"
