"""What a server counts, for Prometheus; and its log: one JSON line a request, without payloads."""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from functools import lru_cache
from typing import TextIO

import orjson
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from manymodels_spark.serving.models import sizes
from manymodels_spark.serving.models.cache import ModelCache

access = logging.getLogger("manymodels_spark.serving.access")
WRITE_SECONDS = 0.25
_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_HELP = {
    "hits": "Requests answered with a model in memory",
    "misses": "Loads begun",
    "joined": "Requests that waited for a load already begun",
    "negative_hits": "Requests for partitions known to have no usable model",
    "loads": "Models opened",
    "load_failures": "Models that could not be opened",
    "evictions": "Models dropped to stay within bounds",
    "pressure": "Times that the process's memory was over its bound",
    "refreshes": "Champions asked for again",
    "refresh_failures": "Champions that could not be asked for again",
    "swaps": "Models replaced by a new champion",
    "busy": "Requests refused because too many models were being loaded",
}


class Telemetry:
    """The metrics of one app; every app has a registry of its own."""

    def __init__(self, cache: ModelCache) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "manymodels_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "manymodels_request_seconds",
            "Seconds of a request",
            ["route"],
            buckets=_FAST,
            registry=self.registry,
        )
        self.items = Counter(
            "manymodels_items", "Scored items by outcome", ["outcome"], registry=self.registry
        )
        self.model_seconds = Histogram(
            "manymodels_model_seconds",
            "Seconds inside the models' own predict",
            buckets=_FAST,
            registry=self.registry,
        )
        loads = Histogram(
            "manymodels_load_seconds",
            "Seconds to open a model",
            ["origin"],
            buckets=_FAST,
            registry=self.registry,
        )
        cache.loader.observe = lambda origin, seconds: loads.labels(origin).observe(seconds)
        self.registry.register(_CacheCollector(cache))
        # Looking a child up by its labels takes as long as counting: routes, statuses and outcomes are few.
        self._request = lru_cache(1024)(lambda route, status: self.requests.labels(route, str(status)))
        self._seconds = lru_cache(256)(self.seconds.labels)
        self._item = lru_cache(256)(self.items.labels)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def request(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Count and log one request. `route` is the route's pattern, never the URL, which may name a
        partition.
        """
        self._request(route, status).inc()
        self._seconds(route).observe(seconds)
        if access.isEnabledFor(logging.INFO):
            line = {
                "request_id": request_id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1e3, 2),
            }
            access.info(orjson.dumps(line).decode())

    def scored(self, outcomes: Iterable[str], model_seconds: float) -> None:
        """Count the items of one score request."""
        for outcome, count in collections.Counter(outcomes).items():
            self._item(outcome).inc(count)
        self.model_seconds.observe(model_seconds)


class Gathered(logging.Handler):
    """Writes lines to a stream together, a few times a second: a write for each would cost as much as an
    answer.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self._lines, self._waiting = stream, list[str](), False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line; the first one sets the time of the next write."""
        self._lines.append(self.format(record))
        if not self._waiting:
            self._waiting = True
            timer = threading.Timer(WRITE_SECONDS, self.flush)
            timer.daemon = True
            timer.start()

    def flush(self) -> None:
        """Write what there is; a stream that is gone is no reason to fail."""
        with self.lock or nullcontext():
            lines, self._lines, self._waiting = self._lines, [], False
        if lines:
            with suppress(OSError, ValueError):
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()


class _CacheCollector:
    """The cache's own counts, read when Prometheus asks: nothing is paid for them in a request."""

    def __init__(self, cache: ModelCache) -> None:
        self._cache = cache

    def collect(self) -> Iterable[Metric]:
        cache = self._cache
        for name, text in _HELP.items():
            yield CounterMetricFamily(f"manymodels_cache_{name}", text, value=cache.counts[name])
        up = 0 if cache.loader.trouble else 1
        gauges = {
            "cache_models": ("Models in memory", len(cache)),
            "cache_bytes": ("Measured bytes of the models in memory", cache.bytes),
            "disk_models": ("Models on disk", len(cache.disk) if cache.disk else 0),
            "disk_bytes": ("Bytes on disk", cache.disk.bytes if cache.disk else 0),
            "source_up": ("Whether the source answered when last asked", up),
            "resident_bytes": ("Memory of the process", sizes.resident()),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"manymodels_{name}", text, value=value)
