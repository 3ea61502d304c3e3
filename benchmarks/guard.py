"""The regression guard: counts, bytes and shares that no machine's load changes, held to stored bounds.

    make bench-guard  measures, prints the line of JSON, fails where a bound is crossed

All of it is in CI, too, as tests/unit/test_guard.py and tests/spark/test_guard*.py. The bounds are in
benchmarks/bounds.json, each with what it counts, a tenth or two beyond what was measured; a change that means
to cross one moves it there and says why.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks import life
from benchmarks.common import bytes_of, emit, scratch, spec_in
from benchmarks.common_attack import hostile_requests
from manymodels_spark import ManyModels, Spec
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.models.sources import MemoryChampions
from manymodels_spark.serving.service import ScoringService
from manymodels_spark.serving.settings import ServingSettings
from manymodels_spark.serving.work import Answer
from manymodels_spark.simulate import sales_of, write_parquet

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BOUNDS = Path(__file__).parent / "bounds.json"
PARTITIONS, DAYS, HORIZON, WAVE = 24, 160, 14, 12
NIGHTS, SHAPE = 10, {"seed": 7, "stores": 3, "items": 5, "history": 150}
LIFE = (
    "scored_share",
    "promised_over_realised",
    "coverage_80",
    "coverage_95",
    "inactive_found",
    "inactive_wrong",
    "negative",
)
STAGES = ("ingest", "prepare", "train", "promote", "score", "load")
PAYLOADS: dict[str, dict[str, Any]] = {
    "prophet": {"weekly": True, "yearly": False},
    "auto_ets": {"season": 7},
    "theta": {"season": 7},
    "linear": {"lags": [1, 7]},
}


def main() -> int:
    """Measure on a session of its own; 1 where a bound is crossed."""
    from manymodels_spark.spark.session import get_session

    with scratch() as folder:
        found = measure(get_session("bench-guard"), folder)
    broken = crossed(found)
    print("\n".join(broken) or "all within their bounds", flush=True)
    emit("guard", workload={"partitions": PARTITIONS, "days": DAYS, "waves": PARTITIONS // WAVE}, **found)
    return 1 if broken else 0


def measure(spark: SparkSession, folder: Path) -> dict[str, float]:
    """Every figure of the guard by name: a small job run twice, ten nights, and fits in this process."""
    return {
        **of_a_job(spark, folder),
        **of_nights(spark, folder / "life"),
        **of_payloads(),
        **of_python(),
        **of_hostile(),
    }


def crossed(found: dict[str, float]) -> list[str]:
    """A line for each figure beyond its bound. Raises ValueError for a figure without one."""
    bounds = json.loads(BOUNDS.read_text())
    if unbounded := sorted(found.keys() - bounds.keys()):
        raise ValueError(f"no bound for {', '.join(unbounded)} in {BOUNDS}")
    return [line for name, value in found.items() for line in _judged(name, value, bounds[name])]


def of_a_job(spark: SparkSession, folder: Path) -> dict[str, float]:
    """Calls, bytes and commits of a job, and those of a second run in which nothing changed."""
    write_parquet(folder / "in", partitions=PARTITIONS, days=DAYS, files=2)
    mm = ManyModels(_spec(folder), spark)
    first = _run(mm)
    commits = _commits(folder / "lake")
    fits = mm.last_training().fits().agg({"family_seconds": "sum", "seconds": "sum"}).first()
    again = _run(mm)
    assert fits is not None
    return {
        "calls_per_model_train": first["train"].calls / PARTITIONS,
        "calls_per_model_promote": first["promote"].calls / PARTITIONS,
        "calls_score": first["score"].calls,
        "calls_when_nothing_changed": sum(report.calls for report in again.values()),
        "commits": commits,
        "commits_when_nothing_changed": _commits(folder / "lake") - commits,
        "lake_bytes_per_partition": bytes_of(folder / "lake") / PARTITIONS,
        "mlflow_bytes_per_model": bytes_of(folder / "dev") / PARTITIONS,
        "share_of_fit_inside_families": fits["sum(family_seconds)"] / fits["sum(seconds)"],
    }


def of_nights(spark: SparkSession, folder: Path) -> dict[str, float]:
    """What ten nights of a small chain's life come to, as `benchmarks.life` counts it: shares, no times."""
    folder.mkdir(parents=True)
    nights = life.Nights(spark, folder, life.chain_of(NIGHTS, **SHAPE), life.WEEK)
    nights.live(NIGHTS)
    found = nights.figures()
    return {f"life_{name}": float(found[name]) for name in LIFE}


def of_payloads() -> dict[str, float]:
    """The payload's bytes of a family each."""
    rows, key = sales_of(7, 1, 1, DAYS), PartitionKey.of({"store": 1, "item": 1})
    found = {}
    for family, options in PAYLOADS.items():
        result = fit_partition(rows, _spec(Path("unused"), candidates=[{family: options}]), key)
        found[f"payload_bytes_{family}"] = float(len(result.payload or b""))
    return found


def of_python() -> dict[str, float]:
    """Python calls of one fit with the cheapest family, of opening a payload and of predicting with it, once
    warm.
    """
    rows, key, spec = (
        sales_of(7, 1, 1, DAYS),
        PartitionKey.of({"store": 1, "item": 1}),
        _spec(Path("unused"), candidates=["naive"]),
    )
    payload = fit_partition(rows, spec, key).payload or b""
    loaded = LoadedPartition(payload)
    return {
        "python_calls_fit": _python_calls(lambda: fit_partition(rows, spec, key)),
        "python_calls_open": _python_calls(lambda: LoadedPartition(payload)),
        "python_calls_predict": _python_calls(lambda: loaded.predict(horizon=HORIZON)),
    }


def of_hostile() -> dict[str, float]:
    """What the requests of `common_attack` cost an endpoint that refuses them: models that are loaded for
    them, Python calls of the costliest, and refusals without a code.
    """
    source, keys = MemoryChampions(), [PartitionKey.of({"store": 1, "item": n}) for n in range(1000)]
    rows = sales_of(7, 1, 1, DAYS)
    payload = fit_partition(rows, _spec(Path("unused"), candidates=["naive"]), keys[0]).payload or b""
    for number, key in enumerate(keys):
        source.put(key, payload, f"m-{number}")
    settings = ServingSettings()
    cache = ModelCache(source, settings)
    service = ScoringService(cache, settings)
    service.learn_columns()
    row = {"columns": ["price"], "data": [[1.0]]}
    requests = hostile_requests([key.as_dict() for key in keys], row)
    bodies = [body for method, path, body in requests if (method, path) == ("POST", "/v1/score")]
    calls, loaded, unexplained = list[float](), 0, 0
    for body in bodies:
        before = cache.counts["misses"]
        answers: list[Answer] = []
        spent = _python_calls(partial(_answered, service, body, answers), warm=0)
        if answers[0].status not in (200, 404):
            calls.append(spent)
            loaded += cache.counts["misses"] - before
            unexplained += not orjson.loads(answers[0].body)["error"]["code"]
    cache.close()
    return {
        "hostile_refused": len(calls),
        "hostile_loads": loaded,
        "hostile_python_calls": max(calls),
        "hostile_unexplained": unexplained,
    }


def _spec(folder: Path, **parts: Any) -> Spec:
    candidates = [{"auto_ets": {"season": 7}}, {"seasonal_naive": {}}]
    parts = {
        "candidates": candidates,
        "backtest": {"folds": 2},
        "limits": {"partitions_per_wave": WAVE},
        **parts,
    }
    return spec_in(
        folder,
        name="guard",
        partition_by=["store", "item"],
        source={"parquet": str(folder / "in")},
        columns={"time": "date", "target": "units"},
        horizon=HORIZON,
        **parts,
    )


def _run(mm: ManyModels) -> dict[str, Any]:
    reports = {name: getattr(mm, name)() for name in STAGES}
    return {name: getattr(report, "report", report) for name, report in reports.items()}


def _commits(lake: Path) -> int:
    """Delta commits of all tables but `runs`, which keeps a row a stage."""
    return sum(1 for log in lake.rglob("_delta_log/*.json") if log.parent.parent.name != "runs")


def _answered(service: ScoringService, body: bytes, answers: list[Answer]) -> None:
    answers.append(service.score(body))


def _python_calls(work: Callable[[], Any], warm: int = 2) -> float:
    for _ in range(warm):
        work()
    with cProfile.Profile() as watched:
        work()
    return float(pstats.Stats(watched).total_calls)  # type: ignore[attr-defined]


def _judged(name: str, value: float, bound: dict[str, Any]) -> Iterable[str]:
    if value > bound.get("most", value):
        yield f"{name} is {value:.4g}, at most {bound['most']} is allowed: {bound['counts']}"
    if value < bound.get("least", value):
        yield f"{name} is {value:.4g}, at least {bound['least']} is expected: {bound['counts']}"


if __name__ == "__main__":
    sys.exit(main())
