"""Does anybody listen at an address? Asked before a library that would wait for minutes."""

from __future__ import annotations

import socket
import time
from urllib.request import getproxies, proxy_bypass

CONNECT_SECONDS = 3.0
_PAUSE = 0.5


def listens(host: str, port: int) -> str | None:
    """What is wrong with a connection to host and port, or None.
    Tried twice: a server may be starting again.
    """
    wrong = ""
    for pause in (_PAUSE, 0.0):
        try:
            with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
                return None
        except OSError as error:
            wrong = f"{host}:{port} does not answer ({error.strerror or error})"
        time.sleep(pause)
    return wrong


def by_proxy(scheme: str, host: str) -> bool:
    """Whether requests to a host go through a proxy, so that a direct connection says nothing."""
    return scheme in getproxies() and not proxy_bypass(host)
