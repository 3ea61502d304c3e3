"""Hostile requests for `bench-serve`: what attackers and broken clients send, from a process of its own."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from multiprocessing import get_context
from typing import Any

Hostile = tuple[str, str, bytes]
PAUSE = 0.05
ATTACKERS = 2


@dataclass
class Attack:
    """What the attackers saw: answers by status, and those of 5xx that say no reason."""

    statuses: Counter[int] = field(default_factory=Counter)
    unexplained: int = 0
    seconds: float = 0.0


def hostile_requests(partitions: list[dict[str, Any]], row: dict[str, Any]) -> list[Hostile]:
    """One request of each kind, for partitions that exist: the first a forecast, the second a table model."""
    forecast, table = partitions[:2]
    wide = {"horizon": 10_000, "intervals": list(range(1, 21))}
    rows = {"columns": row["columns"], "data": [[71.123456, 4.5, 0.71234]] * 250_000}
    score = [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"items": []}',
        b'{"a": NaN}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"partition":' * 5000,
        b'"' + b"x" * 7_000_000 + b'"',
        b" " * 9_000_000,
        _json({"items": [{"partition": one, **wide} for one in partitions]}),
        _json({"partition": forecast, **wide}),
        _json({"partition": forecast, "horizon": 10**9}),
        _json({"partition": forecast, "horizon": 10_000}),
        _json({"partition": forecast, "intervals": [0, -1, 1000]}),
        _json({"partition": table, "dataframe_split": rows}),
        _json({"partition": table, "dataframe_split": {"columns": ["a"] * 5000, "data": [[1] * 5000]}}),
        _json({"partition": table, "dataframe_records": [{"x" * 50_000: {"a": 1}}]}),
        _json({"partition": dict.fromkeys(forecast, "sNaN")}),
        _json({"partition": dict.fromkeys(forecast, "../../etc/passwd\x00")}),
        _json({"items": [{"partition": {"store": n, "item": -n}} for n in range(10**6, 10**6 + 1000)]}),
        _json({"items": [{"partition_id": "a" * 20}] * 1001}),
    ]
    others = ["/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/%7B%22store%22:", f"/v1/models?q={'%25' * 60}"]
    return [("POST", "/v1/score", body) for body in score] + [
        *(("GET", path, b"") for path in others),
        ("DELETE", "/v1/score", b""),
        ("PUT", "/nowhere", b"{}"),
    ]


@contextmanager
def attacked(port: int, requests: list[Hostile]) -> Iterator[Attack]:
    """Attackers at work until the end of the block; what they saw is filled in then."""
    context, seen = get_context("spawn"), Attack()
    stop, answers = context.Event(), context.Queue()
    parts = [requests[number::ATTACKERS] for number in range(ATTACKERS)]
    attackers = [context.Process(target=_attack, args=(port, part, stop, answers)) for part in parts]
    for one in attackers:
        one.start()
    begin = time.perf_counter()
    try:
        yield seen
    finally:
        stop.set()
        for _ in attackers:
            statuses, unexplained = answers.get(timeout=120)
            seen.statuses.update(statuses)
            seen.unexplained += unexplained
        seen.seconds = time.perf_counter() - begin
        for one in attackers:
            one.join(10)


def _attack(port: int, requests: list[Hostile], stop: Any, answers: Any) -> None:
    statuses: Counter[int] = Counter()
    unexplained = 0
    for method, path, body in cycle(requests):
        if stop.is_set():
            break
        status, answer = _one(port, method, path, body)
        statuses[status] += 1
        if status >= 500 and not _has_reason(answer):
            unexplained += 1
        _half(port)
        time.sleep(PAUSE)
    answers.put((statuses, unexplained))


def _one(port: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of one request; 0 where the server closed the connection without an answer."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _half(port: int) -> None:
    """A request that ends in the middle of its body."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")


def _has_reason(answer: bytes) -> bool:
    try:
        return bool(json.loads(answer)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return False


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
