"""The HTTP side of one tracking server: every request is sent once, counted, and its Retry-After kept.

MLflow's own session repeats any request blindly, also a POST whose answer was lost, which makes a model
twice; and it drops the headers of an answer 429. So for the server's address only, its session gets an
adapter of ours. Where a version of MLflow has no such session, its repeats are switched off and pauses go
without Retry-After.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

_watched: dict[str, Transport] = {}
_lock = threading.Lock()


class Transport(HTTPAdapter):
    """Sends each request once; remembers, by thread, how many went out and the last Retry-After."""

    def __init__(self, connections: int = 16) -> None:
        """Keep up to so many connections open."""
        once = Retry(
            total=0, redirect=0, status_forcelist=(), raise_on_status=False, respect_retry_after_header=False
        )
        super().__init__(pool_connections=connections, pool_maxsize=connections, max_retries=once)
        self._thread = threading.local()

    def begin(self) -> None:
        """Forget what this thread sent before."""
        self._thread.sent, self._thread.retry_after = 0, None

    @property
    def sent(self) -> int:
        """Requests that this thread sent since `begin`."""
        return int(getattr(self._thread, "sent", 0))

    @property
    def retry_after(self) -> str | None:
        """The Retry-After header of this thread's last answer."""
        return getattr(self._thread, "retry_after", None)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request."""
        self._thread.sent = self.sent + 1
        self._thread.retry_after = None
        response = super().send(request, *args, **kwargs)
        self._thread.retry_after = response.headers.get("Retry-After")
        return response


def watch(uri: str) -> Transport | None:
    """Put our transport in front of an HTTP tracking server; None for any other kind of URI."""
    if not uri.startswith(("http://", "https://")):
        return None
    with _lock:
        transport = _watched.setdefault(uri, Transport())
    session = _session()
    if session is None:
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        return None
    session.mount(uri.rstrip("/") + "/", transport)
    return transport


def _session() -> requests.Session | None:
    """The session that MLflow uses for calls with its default settings, which it keeps for the process."""
    try:
        settings: Any = import_module("mlflow.environment_variables")
        requesting: Any = import_module("mlflow.utils.request_utils")
        found: requests.Session = requesting._get_request_session(
            settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(),
            settings.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get(),
            settings.MLFLOW_HTTP_REQUEST_BACKOFF_JITTER.get(),
            requesting._TRANSIENT_FAILURE_RESPONSE_CODES,
            True,
            settings.MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER.get(),
        )
    except (ImportError, AttributeError, TypeError):
        return None
    return found
