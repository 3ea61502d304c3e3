"""What machines are told: JSON lines with run, stage and partition; spans and counters in a real
OpenTelemetry SDK.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from manymodels_spark import observe
from manymodels_spark.cli import main
from manymodels_spark.stages.runs.progress import Events


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Events as JSON lines in a buffer; the logger is as before afterwards."""
    before = (list(observe.LOGGER.handlers), observe.LOGGER.level, observe.LOGGER.propagate)
    stream = io.StringIO()
    observe.configure(True, stream)
    yield stream
    observe.LOGGER.handlers[:], observe.LOGGER.level, observe.LOGGER.propagate = before


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr("opentelemetry.metrics._internal.get_meter_provider", lambda: provider)
    return reader


def test_a_stage_s_events_carry_spec_run_stage_and_partition(lines: io.StringIO) -> None:
    counts: dict[str, int] = {}
    with observe.stage("sales", "train", "r1", counts):
        counts["fitted"] = 3
        observe.log_event(
            "partition_quarantined",
            logging.WARNING,
            partition_id="p7",
            reason="too_short",
            message='a "quote"\nand é',
        )
    started, partition, ended = read(lines)
    common = {"spec": "sales", "stage": "train", "run_id": "r1"}
    assert all(line.items() >= common.items() and line["at"] for line in (started, partition, ended))
    assert [line["event"] for line in (started, partition, ended)] == [
        "stage_started",
        "partition_quarantined",
        "stage_ended",
    ]
    assert (partition["level"], partition["partition_id"], partition["message"]) == (
        "warning",
        "p7",
        'a "quote"\nand é',
    )
    assert (ended["status"], ended["counts"]) == ("done", {"fitted": 3})


def test_a_stage_that_fails_says_so_and_lets_the_error_through(lines: io.StringIO) -> None:
    with pytest.raises(ValueError, match="wrong"), observe.stage("sales", "score", "r2", {}):
        raise ValueError("wrong")
    ended = read(lines)[-1]
    assert (ended["event"], ended["status"], ended["level"]) == ("stage_ended", "failed", "error")
    observe.log_event("after")
    assert "stage" not in read(lines)[-1]


def test_nothing_is_written_and_nobody_listens_unless_asked() -> None:
    assert not observe.is_json()
    assert not observe.is_enabled(logging.WARNING) or observe.LOGGER.handlers[1:]


def test_an_error_of_the_command_line_is_a_line_of_json(lines: io.StringIO, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--log-json", "check", str(tmp_path / "nowhere.yaml")])
    assert result.exit_code == 2
    (line,) = read(lines)
    assert (line["event"], line["kind"]) == ("error", "SpecError")
    assert "nowhere.yaml" in str(line["message"])


def test_progress_is_an_event_now_and_then(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 20.0, 21.0])
    monkeypatch.setattr("manymodels_spark.stages.runs.progress.time.monotonic", lambda: next(now))
    progress = Events()
    progress.start("train", 100)
    for done in (1, 40, 41):
        progress.update(done, failed=2)
    assert [(line["event"], line["done"], line["total"], line["failed"]) for line in read(lines)] == [
        ("progress", 40, 100, 2)
    ]


def test_waves_in_other_threads_are_spans_below_their_stage(spans: InMemorySpanExporter) -> None:
    @observe.traced("wave", lambda number: {"number": number})
    def wave(number: int) -> int:
        return number

    with observe.stage("sales", "train", "r1", {}), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(wave, [1, 2])) == [1, 2]
    *waves, stage = sorted(spans.get_finished_spans(), key=lambda span: span.name, reverse=True)
    assert stage.name == "manymodels.stage"
    assert dict(stage.attributes or {}) == {
        "manymodels.spec": "sales",
        "manymodels.stage": "train",
        "manymodels.run_id": "r1",
    }
    assert [span.name for span in waves] == ["manymodels.wave"] * 2
    assert {span.parent.span_id for span in waves if span.parent} == {stage.context.span_id}
    assert {(span.attributes or {})["manymodels.number"] for span in waves} == {1, 2}


def test_an_error_within_a_span_is_recorded_in_it(spans: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), observe.stage("sales", "train", "r1", {}):
        raise KeyError("x")
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok
    assert span.events[0].name == "exception"


def test_counts_and_seconds_of_a_stage_are_metrics(meter: InMemoryMetricReader) -> None:
    for _ in range(2):
        with observe.stage("sales", "train", "r1", {"fitted": 3, "quarantined": 1, "unchanged": 0}):
            pass
    data = meter.get_metrics_data()
    assert data is not None
    found = {
        metric.name: metric.data.data_points
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
    }
    counts = {point.attributes["count"]: point.value for point in found["manymodels.counts"]}
    assert counts == {"fitted": 6, "quarantined": 2}
    (seconds,) = found["manymodels.stage.seconds"]
    assert (seconds.count, seconds.attributes["status"]) == (2, "done")
