"""What a run reports to machines: log lines with run, stage and partition; OpenTelemetry spans and counters.

Events go to the logger `manymodels`, which is silent until `configure()` writes JSON lines or a
platform adds handlers of its own. Spans and counters go to whatever OpenTelemetry provider the
process has; without one they cost nothing. This module must know no stage.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TextIO, TypeVar

import orjson

LOGGER = logging.getLogger("manymodels")
LOGGER.addHandler(logging.NullHandler())
JSON_VARIABLE, ENDPOINT_VARIABLE = "MANYMODELS_LOG_JSON", "OTEL_EXPORTER_OTLP_ENDPOINT"
_SCOPE = "manymodels"
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(eq=False)
class _Stage:
    """A stage under way. A process works on one at a time, in as many threads as it likes:
    they all find it here.
    """

    facts: Mapping[str, object]
    context: Any = None


_stages: list[_Stage] = []


class JsonLines(logging.Handler):
    """One JSON object a line: at, level, event, and the facts (spec, run, stage, partition, counts)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a value that JSON does not know is written as text."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "at": at,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        stream = self._stream or sys.stderr
        stream.write(orjson.dumps(line, default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode() + "\n")
        stream.flush()


def configure(as_json: bool = False, stream: TextIO | None = None) -> None:
    """Write events as JSON lines to `stream` (standard error) where asked here or by `MANYMODELS_LOG_JSON`;
    and send traces and metrics where `OTEL_EXPORTER_OTLP_ENDPOINT` is set and the extra `otel` is installed.
    """
    enabled = as_json or os.environ.get(JSON_VARIABLE, "").lower() in ("1", "true", "yes")
    if enabled and not is_json():
        LOGGER.addHandler(JsonLines(stream))
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
    if os.environ.get(ENDPOINT_VARIABLE):
        _export()


def is_json() -> bool:
    """Whether events are written as JSON lines."""
    return any(isinstance(handler, JsonLines) for handler in LOGGER.handlers)


def is_enabled(level: int = logging.INFO) -> bool:
    """Whether anybody listens to events of this level:
    what is costly to find out need not be found out for nobody.
    """
    return LOGGER.isEnabledFor(level) and any(
        not isinstance(handler, logging.NullHandler) for handler in LOGGER.handlers
    )


def log_event(event: str, level: int = logging.INFO, **facts: object) -> None:
    """One event, with the facts of the stage that it happens in and its own."""
    LOGGER.log(level, event, extra={"facts": {**(_stages[-1].facts if _stages else {}), **facts}})


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """A span around a piece of work, below the one that is open,
    or in another thread below that of the stage.

    What it raises is recorded in it.
    """
    tracer = _tracer()
    if tracer is None:
        yield
        return
    named = {f"{_SCOPE}.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(f"{_SCOPE}.{name}", context=_parent(), attributes=named):
        yield


def _parent() -> Any:
    """The context to open a span in: this thread's, or the stage's where this thread has none;
    None is the former.
    """
    from opentelemetry import trace

    if trace.get_current_span().get_span_context().is_valid or not _stages:
        return None
    return _stages[-1].context


@contextmanager
def stage(spec: str, name: str, run_id: str, counts: Mapping[str, int]) -> Iterator[None]:
    """A stage's events, span and counters; `counts` is read when it ends."""
    opened = _Stage({"spec": spec, "stage": name, "run_id": run_id})
    _stages.append(opened)
    began, status = time.perf_counter(), "failed"
    try:
        with span("stage", spec=spec, stage=name, run_id=run_id):
            opened.context = _current()
            log_event("stage_started")
            yield
            status = "done"
    finally:
        seconds = time.perf_counter() - began
        level = logging.INFO if status == "done" else logging.ERROR
        log_event("stage_ended", level, status=status, seconds=round(seconds, 3), counts=dict(counts))
        _measure(spec, name, status, seconds, counts)
        _stages.remove(opened)


def _current() -> Any:
    try:
        from opentelemetry import context
    except ImportError:
        return None
    return context.get_current()


def traced(
    name: str, attributes: Callable[P, Mapping[str, str | int | float]]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: every call in a span, with what `attributes` makes of its arguments."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with span(name, **attributes(*args, **kwargs)):
                return function(*args, **kwargs)

        return called

    return decorate


def _measure(spec: str, name: str, status: str, seconds: float, counts: Mapping[str, int]) -> None:
    meter = _meter()
    if meter is None:
        return
    common = {"spec": spec, "stage": name}
    meter.create_histogram(f"{_SCOPE}.stage.seconds", unit="s").record(seconds, {**common, "status": status})
    counter = meter.create_counter(f"{_SCOPE}.counts")
    for count, value in counts.items():
        if value > 0:
            counter.add(value, {**common, "count": count})


def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer(_SCOPE)


def _meter() -> Any:
    try:
        from opentelemetry import metrics
    except ImportError:
        return None
    return metrics.get_meter(_SCOPE)


def _export() -> None:
    """Providers that send to the OTLP endpoint of OpenTelemetry's own variables;
    they flush when the process ends.
    """
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log_event(
            "telemetry_off",
            logging.WARNING,
            why=f"{ENDPOINT_VARIABLE} is set, but pip install 'manymodels-spark[otel]' was not run",
        )
        return
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
