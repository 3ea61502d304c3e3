"""Serve: thousands of champions in MLflow behind one worker with a small cache, and MLflow's own server
behind one model.

Everything runs on this machine: the server, the load maker (this process) and, one after the other, the
server that it is compared with. `rss_growth` is the largest resident memory after the first tenth of the
Zipf-distributed requests over that at its end, minus 1. The overhead of a request is what the client waited
minus the model's own predict, at a steady rate. Cold requests are the first ever for their partition, one
after the other; their models come from the tracking store (SQLite) and its folder of artifacts.
`throughput_ratio` is requests per second of the server's processor time, ours (rows for the table models, the
most popular first, misses included) over MLflow's (the same scikit-learn pipeline, saved as users do);
`wall_ratio` the same per second of wall time. Both servers have one worker, the same connections, the same
rows, and the same environment, in which uvicorn finds uvloop and httptools for both. `hostile` is the steady
rate once in peace and once next to attackers (see `common_attack`): the healthy requests' p99 and its ratio,
the server's peak memory, and answers of 5xx that say no reason. Run: `make bench-serve`, or small with
CHAMPIONS, REQUESTS and STEADY (requests at the steady rate): `make bench-serve ARGS="400 2000 250"`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import yaml

from benchmarks.common import clock, emit, scratch
from benchmarks.common_attack import attacked, hostile_requests
from manymodels_spark.families.checked_spec import load_spec
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.spec import Spec
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository
from manymodels_spark.tracking.repository import ModelRecord

CACHE = 500
CONNECTIONS = 4
RATE = 50
COLD = 300
ZIPF = 1.1
ROW = {"columns": ["temperature", "age", "load"], "data": [[71.5, 4.0, 0.7]]}


@dataclass
class Seen:
    """What the load maker saw: milliseconds per request, those inside the model, and how long all took."""

    total: list[float] = field(default_factory=list)
    model: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def overhead(self) -> list[float]:
        """Milliseconds of each request that are not the model's own predict."""
        return [total - model for total, model in zip(self.total, self.model, strict=True)]


def main(champions: int = 5000, requests: int = 50_000, steady: int = 1500) -> None:
    """Log the champions, put the load on the server, then on MLflow's, and print the figures."""
    with scratch() as folder:
        spec = _spec(folder)
        forecast, table = _payloads(spec)
        with clock(f"{champions} champions logged to MLflow"):
            keys = _log(spec, champions, forecast, table)
        bodies = [_body(key, number) for number, key in enumerate(keys)]
        # The last champions are never asked for by the other parts: they are cold.
        first_cold = champions - min(COLD, champions // 4)
        popular, cold = bodies[:first_cold], bodies[first_cold:]
        with _serving(folder / "spec.yaml", folder) as (port, process):
            seen_cold = asyncio.run(_closed(port, cold, 1))
            rss = _zipf(port, process, popular, requests)
            with clock(f"{steady} requests at {RATE} a second"):
                seen_steady = asyncio.run(_steady(port, popular[: CACHE // 2], steady))
            tables = popular[1::2]
            hostile = _under_attack(port, process, keys, popular[: CACHE // 2], steady)
            ours = _throughput(port, process, [tables[i] for i in _ranks(len(tables), min(8000, requests))])
        theirs = _mlflow_throughput(table, folder, min(4000, requests))
    reference, growth = _growth(rss)
    workload = {"champions": champions, "requests": requests, "steady": steady, "cold": len(cold)}
    emit(
        "serve",
        workload={**workload, "cache_models": CACHE, "zipf": ZIPF, "connections": CONNECTIONS, "rate": RATE},
        rss_growth=growth,
        rss_mib=reference,
        **_percentiles("overhead", seen_steady.overhead),
        **_percentiles("steady", seen_steady.total),
        **_percentiles("cold", seen_cold.total),
        throughput_ratio=ours["per_cpu_second"] / theirs["per_cpu_second"],
        wall_ratio=ours["per_second"] / theirs["per_second"],
        ours=ours,
        mlflow=theirs,
        hostile=hostile,
    )


def _percentiles(name: str, milliseconds: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p{percent}_ms": _percentile(milliseconds, percent) for percent in (50, 99)}


def _mlflow_throughput(table: bytes, folder: Path, requests: int) -> dict[str, float]:
    bodies = [json.dumps({"dataframe_split": ROW}).encode()] * requests
    with _mlflow(table, folder) as (port, process):
        return _throughput(port, process, bodies, "/invocations")


def _spec(folder: Path) -> Spec:
    raw = {
        "name": "bench",
        "partition_by": ["store", "item"],
        "source": {"csv": "none.csv"},
        "horizon": 28,
        "columns": {"target": "units", "time": "date"},
        "candidates": ["theta"],
        "lake": str(folder / "lake"),
        "mlflow": {
            "production": {"tracking": f"sqlite:///{folder}/prod.db", "artifacts": str(folder / "artifacts")}
        },
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(raw))
    return load_spec(folder / "spec.yaml")


def _payloads(spec: Spec) -> tuple[bytes, bytes]:
    """A statistical forecast of 400 days, and a scikit-learn regression of three columns."""
    generator = np.random.default_rng(7)
    days = pd.date_range("2025-01-01", periods=400)
    series = pd.DataFrame(
        {"date": days, "units": 20 + 5 * np.sin(np.arange(400) * 2 * np.pi / 7) + generator.random(400)}
    )
    rows = pd.DataFrame(generator.random((400, 3)), columns=ROW["columns"])
    rows["hours"] = rows.sum(axis=1) + generator.random(400)
    columns = {"target": "hours", "features": list(ROW["columns"])}
    tabular = {
        **spec.model_dump(exclude_unset=True),
        "task": "regression",
        "columns": columns,
        "candidates": ["linear"],
    }
    made = [
        fit_partition(series, spec, _key(0)).payload,
        fit_partition(rows, Spec.model_validate(tabular), _key(1)).payload,
    ]
    forecast, table = (payload for payload in made if payload is not None)
    return forecast, table


def _key(number: int) -> PartitionKey:
    return PartitionKey.of({"store": number // 100, "item": number % 100})


def _log(spec: Spec, champions: int, forecast: bytes, table: bytes) -> list[PartitionKey]:
    """Champions as promotion leaves them, forecasts and table models by turns."""
    repository, template = open_repository(spec.mlflow.production, spec), template_of(spec)
    keys, payloads = [_key(number) for number in range(champions)], (forecast, table)
    records = [
        _record(spec, key, payloads[number % 2], ("theta", "linear")[number % 2])
        for number, key in enumerate(keys)
    ]
    models = repository.create(records, None)
    for number, key in enumerate(keys):
        model = models[key.id]
        artifacts.write(model.location, template.files(model.model_id, payloads[number % 2]))
    repository.finalize(model.model_id for model in models.values())
    return keys


def _record(spec: Spec, key: PartitionKey, payload: bytes, family: str) -> ModelRecord:
    tags = {
        **t.partition_tags(key),
        t.SPEC: spec.name,
        t.ROLE: t.CHAMPION,
        t.SHA256: sha256(payload),
        t.FAMILY: family,
    }
    return ModelRecord(key.id, f"{key.slug}--{key.id}", tags)


def _body(key: PartitionKey, number: int) -> bytes:
    asked: dict[str, Any] = (
        {"horizon": 28, "intervals": [80]} if number % 2 == 0 else {"dataframe_split": ROW}
    )
    return json.dumps({"partition": key.as_dict(), **asked}).encode()


@contextmanager
def _serving(spec: Path, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Our server: one worker, a cache of `CACHE` models, a disk tier."""
    settings = {"SPEC": str(spec), "CACHE_MODELS": str(CACHE), "DISK": str(folder / "disk"), "TTL": "3600"}
    settings |= {"OPEN": "true"}  # uvicorn is started without us: it listens on the loopback address
    environment = {**os.environ, **{f"MANYMODELS_SERVE_{name}": value for name, value in settings.items()}}
    port = _free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "manymodels_spark.serving.launch:from_environment",
        "--factory",
        "--port",
        str(port),
        "--no-access-log",
        "--log-level",
        "warning",
    ]
    with _running(command, environment, folder / "serve.log", f"http://127.0.0.1:{port}/readyz") as process:
        yield port, process


@contextmanager
def _mlflow(table: bytes, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """`mlflow models serve` with one worker and the table model's own scikit-learn pipeline."""
    import mlflow.sklearn

    ((_, fitted),) = LoadedPartition(table)._members
    mlflow.sklearn.save_model(
        fitted.estimator, folder / "one", pip_requirements=[], serialization_format="cloudpickle"
    )
    port = _free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(folder / "one"),
        "--env-manager",
        "local",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    # It starts uvicorn by name, which lies beside this Python.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with _running(command, environment, folder / "mlflow.log", f"http://127.0.0.1:{port}/ping") as process:
        yield port, process


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str], log: Path, url: str
) -> Iterator[psutil.Process]:
    with log.open("w") as file:
        started = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    process = psutil.Process(started.pid)
    try:
        _wait(url, started, log)
        yield process
    finally:
        if started.poll() is None:
            for child in [*process.children(recursive=True), process]:
                child.terminate()
            started.wait(30)


def _wait(url: str, started: subprocess.Popen[bytes], log: Path) -> None:
    while started.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(log.read_text()[-3000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _zipf(port: int, process: psutil.Process, bodies: Sequence[bytes], requests: int) -> list[float]:
    """Resident MiB of the server after each fiftieth of the requests, which fall on partitions by Zipf's
    law.
    """
    ranks, rss = _ranks(len(bodies), requests), []
    with clock(f"{requests} Zipf-distributed requests"):
        for part in np.array_split(ranks, 50):
            asyncio.run(_closed(port, [bodies[rank] for rank in part], CONNECTIONS))
            rss.append(process.memory_info().rss / 2**20)
    return rss


def _ranks(count: int, requests: int) -> Any:
    """Shape (requests,): rank r is drawn with a probability in proportion to 1 / (r + 1) ** ZIPF."""
    weights = 1 / np.arange(1, count + 1) ** ZIPF
    return np.random.default_rng(11).choice(count, requests, p=weights / weights.sum())


def _under_attack(
    port: int, process: psutil.Process, keys: Sequence[PartitionKey], bodies: Sequence[bytes], steady: int
) -> dict[str, Any]:
    """Healthy requests at the steady rate in peace and then next to attackers, and what these saw."""
    peace = asyncio.run(_steady(port, bodies, steady))
    requests = hostile_requests([key.as_dict() for key in keys[:1000]], ROW)
    before = process.memory_info().rss / 2**20
    with clock(f"{steady} requests at {RATE} a second under attack"), attacked(port, requests) as attack:
        healthy, peak = asyncio.run(_watched(_steady(port, bodies, steady), process))
    in_peace, under = _percentile(peace.total, 99), _percentile(healthy.total, 99)
    return {
        "bad_inputs": len(requests),
        "requests": sum(attack.statuses.values()),
        "per_second": round(sum(attack.statuses.values()) / attack.seconds, 1),
        "statuses": dict(sorted(attack.statuses.items())),
        "unexplained_5xx": attack.unexplained,
        "rss_mib_before": before,
        "peak_rss_mib": peak,
        "peace_p99_ms": in_peace,
        "healthy_p99_ms": under,
        "p99_ratio": under / in_peace,
    }


async def _watched(load: Coroutine[Any, Any, Seen], process: psutil.Process) -> tuple[Seen, float]:
    """What a load saw, and the server's largest resident MiB meanwhile."""
    running, peak = asyncio.ensure_future(load), 0.0
    while not running.done():
        peak = max(peak, process.memory_info().rss / 2**20)
        await asyncio.sleep(0.02)
    return await running, peak


def _growth(rss: Sequence[float]) -> tuple[float, float]:
    start = len(rss) // 10
    return rss[start - 1], max(rss[start:]) / rss[start - 1] - 1


def _throughput(
    port: int, process: psutil.Process, bodies: Sequence[bytes], path: str = "/v1/score"
) -> dict[str, float]:
    """Requests per second of wall time and of the server's processor time, all its processes together."""
    asyncio.run(_closed(port, bodies[:500], CONNECTIONS, path))
    before = _cpu(process)
    seen = asyncio.run(_closed(port, bodies, CONNECTIONS, path))
    used = _cpu(process) - before
    return {
        "per_second": round(len(bodies) / seen.seconds, 1),
        "per_cpu_second": round(len(bodies) / used, 1),
        "p50_ms": round(_percentile(seen.total, 50), 2),
        "p99_ms": round(_percentile(seen.total, 99), 2),
    }


def _cpu(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
    return sum(one.user + one.system for one in times)


async def _closed(port: int, bodies: Sequence[bytes], connections: int, path: str = "/v1/score") -> Seen:
    """All bodies over a few connections, each sending its next when it has its answer."""
    seen, begin = Seen(), time.perf_counter()
    queue = iter(bodies)
    await asyncio.gather(*(_client(port, path, queue, seen) for _ in range(connections)))
    seen.seconds = time.perf_counter() - begin
    return seen


async def _client(port: int, path: str, bodies: Iterable[bytes], seen: Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        await _ask(reader, writer, path, body, seen, time.perf_counter())
    writer.close()


async def _steady(port: int, bodies: Sequence[bytes], requests: int) -> Seen:
    """`RATE` requests a second on warm partitions; a late answer delays nothing but itself."""
    await _closed(port, bodies, CONNECTIONS)
    seen, connections = Seen(), asyncio.Queue[Any]()
    for _ in range(8):
        connections.put_nowait(await asyncio.open_connection("127.0.0.1", port))

    async def one(body: bytes, due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        connection = await connections.get()
        await _ask(*connection, "/v1/score", body, seen, time.perf_counter())
        connections.put_nowait(connection)

    begin = time.perf_counter() + 0.1
    await asyncio.gather(*(one(bodies[n % len(bodies)], begin + n / RATE) for n in range(requests)))
    return seen


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    path: str,
    body: bytes,
    seen: Seen,
    begin: float,
) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "
        f"{len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    answer = await reader.readexactly(int(headers["content-length"]))
    if " 200 " not in f"{lines[0]} ":
        raise SystemExit(f"{lines[0]}: {answer[:300].decode()}")
    seen.total.append((time.perf_counter() - begin) * 1e3)
    seen.model.append(float(headers.get("server-timing", "dur=0").partition("dur=")[2]))


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
