"""How soon an endpoint with very many models in memory answers by new champions, and what that costs MLflow.

    make bench-freshness                     20,000 models in memory, 200 of them replaced
    make bench-freshness ARGS="2000 20"      the same, sooner

The champions are records in an SQLite MLflow: one is logged, the others are its copies in the database, which
share its payload. `find_seconds` and `find_calls` are those of asking for all champions in bulk, as a sweep
does; `stale_seconds` passes from the first request after the time-to-live until every replaced model has been
swapped, and `sweep_calls` are the calls meanwhile.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path

from benchmarks.common import clock, emit, peak_memory, scratch, spec_in
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.models.mlflow_source import MlflowChampions
from manymodels_spark.serving.settings import ServingSettings
from manymodels_spark.simulate import sales_of
from manymodels_spark.spec import Spec
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production
from manymodels_spark.tracking.repository import ModelRecord

TTL = 3600.0
PATIENCE_SECONDS = 600


def main(hot: int = 20_000, replaced: int = 200) -> None:
    """Fill MLflow and a cache, replace some champions, and print the line of JSON."""
    now = [0.0]
    with scratch() as folder:
        spec = _spec(folder)
        with clock(f"{hot} champions in MLflow"):
            model_id, key = _log_one(spec)
            _copy(folder, model_id, [f"{n:020d}" for n in range(hot)], "hot")
        source = MlflowChampions.of(spec)
        with clock("found in bulk") as finding:
            found = source.find_many([key.id, *(f"{n:020d}" for n in range(hot))])
        client = next(one.client for one in source._repositories.values() if one is not None)
        find_calls = client.total
        cache = ModelCache(source, ServingSettings(ttl=TTL, cache_mb=100_000), clock=lambda: now[0])
        with clock("in memory"):
            for champion in found.values():
                cache._insert(cache._entry(cache.loader._opened(champion, None, 0.0)[0]))
        _copy(
            folder, model_id, [f"{n:020d}" for n in range(replaced)], "new", time.time_ns() // 10**6 + 10**6
        )
        now[0], before = TTL + 1, client.total
        with clock("swapped") as swapping:
            for champion in found.values():
                cache.get(champion.partition_id)
            _wait(cache, replaced)
        emit(
            "freshness",
            workload={"hot": len(cache), "replaced": replaced},
            find_seconds=finding.seconds,
            find_calls=find_calls,
            stale_seconds=swapping.seconds,
            sweep_calls=client.total - before,
            peak_mib=peak_memory(),
        )
        cache.close()


def _wait(cache: ModelCache, replaced: int) -> None:
    """Until so many models were swapped. Raises SystemExit where that takes too long."""
    end = time.monotonic() + PATIENCE_SECONDS
    while cache.counts["swaps"] < replaced:
        if time.monotonic() > end:
            raise SystemExit(f"only {cache.counts['swaps']} of {replaced} models were swapped")
        time.sleep(0.01)


def _spec(folder: Path) -> Spec:
    return spec_in(
        folder,
        name="bench",
        partition_by=["store", "item"],
        source={"csv": "none.csv"},
        columns={"time": "date", "target": "units"},
        horizon=7,
        candidates=["seasonal_naive"],
        backtest={"folds": 1},
    )


def _log_one(spec: Spec) -> tuple[str, PartitionKey]:
    """One champion with its payload; the id of its model."""
    key = PartitionKey.of({"store": 1, "item": 1})
    payload = fit_partition(sales_of(7, 1, 1, 60), spec, key).payload or b""
    repository = open_production(spec)
    facts = {t.SPEC: spec.name, t.ROLE: t.CHAMPION, t.SHA256: sha256(payload), t.FAMILY: "seasonal_naive"}
    record = ModelRecord(key.id, f"{key.slug}--{key.id}", {**t.partition_tags(key), **facts})
    model = repository.create([record], None)[key.id]
    artifacts.write(model.location, {t.PAYLOAD_FILE: payload})
    repository.finalize([model.model_id])
    return model.model_id, key


def _copy(folder: Path, model_id: str, ids: list[str], prefix: str, created: int | None = None) -> None:
    """Copies of a logged model's record, each under a partition id of its own."""
    with sqlite3.connect(folder / "prod.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(logged_models)")]
        kept = ", ".join(
            {"model_id": "?", "creation_timestamp_ms": "coalesce(?, creation_timestamp_ms)"}.get(name, name)
            for name in columns
        )
        where = "FROM logged_models WHERE model_id = ?"
        models = [(f"m-{prefix}-{one}", created, model_id) for one in ids]
        if columns.index("creation_timestamp_ms") < columns.index("model_id"):
            models = [(moment, copy, source) for copy, moment, source in models]
        database.executemany(f"INSERT INTO logged_models SELECT {kept} {where}", models)
        tags = database.execute(
            "SELECT experiment_id, tag_key, tag_value FROM logged_model_tags WHERE model_id = ?", [model_id]
        ).fetchall()
        database.executemany(
            "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?, ?, ?, ?)",
            (
                (f"m-{prefix}-{one}", experiment, name, one if name == t.PARTITION else value)
                for one in ids
                for experiment, name, value in tags
            ),
        )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
