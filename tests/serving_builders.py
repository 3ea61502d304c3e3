"""Builders for the tests of serving: small fitted models, champions in memory, and a running server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import uvicorn
from builders import make_spec

from manymodels_spark.keys import PartitionKey, Value
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.serving.http.app import create_app
from manymodels_spark.serving.models.sources import Champion, MemoryChampions
from manymodels_spark.serving.settings import ServingSettings

WEEK = (10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0)
CUTOFF = "2026-03-11T00:00:00"


def key_of(store: int = 1, item: Value = "a") -> PartitionKey:
    """The key of one partition."""
    return PartitionKey.of({"store": store, "item": item})


def forecast_payload(add: float = 0.0, candidate: Any = "seasonal_naive", **columns: Any) -> bytes:
    """A daily model of 70 days up to CUTOFF, a Wednesday;
    by default it repeats the week 10 ... 16, plus `add`.
    """
    dates = pd.date_range("2026-01-01", periods=70, freq="D")
    rows = pd.DataFrame({"date": dates, "units": np.resize(WEEK, 70) + add, "promotion": np.arange(70) % 2})
    parts = {"time": "date", "target": "units", **columns}
    return _payload(rows, columns=parts, candidates=[candidate], backtest={"folds": 2})


def regression_payload() -> bytes:
    """A linear model of y = 3 age + temperature, without noise."""
    generator = np.random.default_rng(3)
    rows = pd.DataFrame({"age": generator.random(80), "temperature": generator.random(80)})
    rows["y"] = 3 * rows["age"] + rows["temperature"]
    columns = {"target": "y", "features": ["age", "temperature"]}
    return _payload(rows, task="regression", columns=columns, candidates=[{"linear": {"alpha": 0.0001}}])


def classification_payload() -> bytes:
    """Fails (class yes) where the age is above a half."""
    age = np.linspace(0, 1, 80)
    rows = pd.DataFrame({"age": age, "failed": np.where(age > 0.5, "yes", "no")})
    columns = {"target": "failed", "features": ["age"]}
    return _payload(rows, task="classification", columns=columns, candidates=["linear"])


def champions(count: int, payload: bytes | None = None) -> tuple[MemoryChampions, list[Champion]]:
    """A source with `count` partitions (store 0 ... count - 1, item a), all with one payload."""
    source, payload = MemoryChampions(), payload or forecast_payload()
    return source, [
        source.put(key_of(store), payload, f"m-{store}", family="seasonal_naive") for store in range(count)
    ]


class Running(uvicorn.Server):
    """A server on a free port of this machine, in a thread."""

    def __init__(self, source: MemoryChampions, **settings: object) -> None:
        app = create_app(source, ServingSettings.model_validate(settings))
        super().__init__(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        self.up = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.up.wait(30)
        self.server.readiness.wait()

    async def startup(self, sockets: object = None) -> None:
        await super().startup(None)
        self.up.set()

    @property
    def server(self) -> Any:
        """The app's own Server object: its cache and settings."""
        return self.config.app.state.server  # type: ignore[union-attr]

    @property
    def url(self) -> str:
        port = self.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/"

    def end(self) -> None:
        self.should_exit = True
        self.thread.join(20)


def _payload(rows: pd.DataFrame, **changes: Any) -> bytes:
    result = fit_partition(rows, make_spec(Path("unused"), **changes), key_of())
    assert result.payload is not None, result.failure
    return result.payload
