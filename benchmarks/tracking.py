"""Tracking: thousands of fitted models into MLflow, promoted and found again, against the way of the
tutorials.

Half of the models are Prophet's, half scikit-learn's. They are fitted before any clock runs; then each is
logged with tags, parameters, metrics and files: in-process (SQLite) and over HTTP to `mlflow server` (2
workers, SQLite that writes ahead, a reachable artifact root) on the same cores, once as it starts by default
and once under gunicorn, as docs/mlflow.md advises. The tutorials' way (`start_run`, tags, parameters,
metrics, `log_model` with a registered name and an input example, as MLflow's own quickstart has it) logs the
same kinds of models to the same places in the same run; ours have a signature and an input example, too.
Speed-ups are ratios of seconds per model. Then all models are promoted over HTTP, each in place of a former
champion; as registered models, of which the calls are the figure, a part of them twice. At last the champions
of many partitions are found over HTTP. Those are put into the server's database by SQL, as copies of one that
came there as promotion writes it: making them is not what is measured. Run: `python -m benchmarks.tracking
[MODELS] [TUTORIAL_MODELS] [CHAMPIONS]`, by default 2000 20 10000; `100 2 1000` is a look at it.
"""

from __future__ import annotations

import gc
import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import clock, cores, emit, scratch
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.places import Repository
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.stages.promote.champions_index import current_champions
from manymodels_spark.stages.promote.copying import champion_record
from manymodels_spark.stages.train.wave_flow import LOGGING
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.embedded import keep_a_log
from manymodels_spark.tracking.opening import open_repository
from manymodels_spark.tracking.registry import RegistryRepository
from manymodels_spark.tracking.repository import ModelRecord, ModelRepository, Registered
from tests.integration import mlflow_server

DAYS = 180
BATCH = 1000
TIMES = 5
GUNICORN = ("--gunicorn-opts", "--worker-class gthread --threads 8")
EXAMPLE = str(
    pd.DataFrame({"date": pd.date_range("2026-06-30", periods=5)}).to_json(
        orient="split", index=False, date_format="iso"
    )
)
CANDIDATES: tuple[dict[str, Any], ...] = (
    {"prophet": {"weekly": True, "yearly": False}},
    {"gradient_boosting": {"iterations": 30, "lags": [1, 7]}},
)
Fitted = tuple[PartitionKey, FitResult]


def main(models: int = 2000, tutorial: int = 20, champions: int = 10_000) -> None:
    """Fit, log, promote and find, each way, and print the figures."""
    with scratch() as folder, ProcessPoolExecutor(cores()) as executors:
        with clock(f"{models} models fitted"):
            fitted = fit_all(models, executors)
        figures = compare("in_process", f"sqlite:///{folder}/embedded.db", fitted, tutorial, executors)
        with serving(folder / "gunicorn", *GUNICORN) as server:
            figures |= compare("http_gunicorn", server.url, fitted, tutorial, executors)
        with serving(folder / "server") as server:
            figures |= compare("http", server.url, fitted, tutorial, executors)
            figures |= promote(server.url, fitted, executors)
            figures |= find(server.url, server.store, champions, executors)
    figures["calls_per_model_train"] = max(
        figures.pop(name) for name in [*figures] if name.startswith("calls_per_model_train")
    )
    emit(
        "tracking",
        workload={"models": models, "tutorial_models": tutorial, "champions": champions, "days": DAYS},
        **figures,
    )


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[mlflow_server.MlflowServer]:
    """`mlflow server` over an SQLite file that writes ahead, for as long as it is needed."""
    server = mlflow_server.start(folder, workers=2, options=options)
    keep_a_log(server.store)
    try:
        yield server
    finally:
        server.stop()


def fit_all(count: int, executors: Executor) -> list[Fitted]:
    """`count` real models, one a partition; a partition that cannot be fitted ends the benchmark."""
    fitted = list(executors.map(fit_one, range(count), chunksize=20))
    if bad := [key for key, result in fitted if result.payload is None]:
        raise SystemExit(f"{len(bad)} partitions were not fitted, first {bad[0]}")
    return fitted


def fit_one(number: int) -> Fitted:
    """One partition's model."""
    key = PartitionKey.of({"store": number // 50, "item": number % 50})
    return key, fit_partition(series(number), spec(number % 2), key)


def series(number: int) -> pd.DataFrame:
    """Half a year of daily units: a level, a week and noise."""
    noise = np.random.default_rng(number).normal(0, 2, DAYS)
    units = 20 + number % 10 + 5 * np.sin(np.arange(DAYS) * 2 * np.pi / 7) + noise
    return pd.DataFrame({"date": pd.date_range("2026-01-01", periods=DAYS), "units": units})


def spec(family: int, **changes: Any) -> Spec:
    """The spec of one family's half."""
    return Spec.model_validate(
        {
            "name": "bench",
            "partition_by": ["store", "item"],
            "source": {"csv": "none.csv"},
            "horizon": 14,
            "columns": {"target": "units", "time": "date"},
            "candidates": [CANDIDATES[family]],
            "backtest": {"folds": 1},
            **changes,
        }
    )


def compare(
    name: str, uri: str, fitted: Sequence[Fitted], tutorial: int, executors: Executor
) -> dict[str, float]:
    """Log all models our way and a few the tutorials' way, to the same place."""
    repository = open_repository(Repository(tracking=uri), spec(0))
    repository.client.calls.clear()
    with clock(f"{len(fitted)} models logged, {name}") as ours:
        log_all(repository, fitted, "train", executors)
    calls = repository.client.total / len(fitted)
    fits = [tutorial_model(number) for number in range(tutorial)]
    seconds = []
    for number, (flavor, model, example) in enumerate(fits):
        with clock() as one:
            log_as_tutorials_do(uri, name, number, flavor, model, example)
        seconds.append(one.seconds)
    theirs = statistics.mean(seconds)
    print(f"{tutorial} models logged as tutorials do, {name}  {sum(seconds):.2f} s", flush=True)
    each = ours.seconds / len(fitted)
    found = {
        "seconds_per_model": each,
        "tutorial_seconds_per_model": theirs,
        "speedup": theirs / each,
        "calls_per_model_train": calls,
    }
    return {f"{key}_{name}": value for key, value in found.items()}


def log_all(
    repository: ModelRepository,
    fitted: Sequence[Fitted],
    job: str,
    executors: Executor,
    former: Sequence[Registered] = (),
    make: Callable[[PartitionKey, FitResult, str], ModelRecord] | None = None,
) -> list[Registered]:
    """One job: a run, and the models in batches, in the order of the stages `train` (which has two batches
    under way) and `promote` (which has one); executors write files.
    """
    template = template_of(spec(0), EXAMPLE)
    run = repository.start_run(f"bench {job}", {t.SPEC: "bench", t.JOB: job})
    turn: AbstractContextManager[object] = Lock() if repository.client.limits.threads == 1 else nullcontext()

    def log(batch: Sequence[Fitted]) -> list[Registered]:
        records = [(make or record)(key, result, job) for key, result in batch]
        with turn:
            models = repository.create(records, run)
        payloads = [(models[key.id], result.payload or b"") for key, result in batch]
        written = executors.map(partial(write_files, template), payloads, chunksize=50)
        with turn:
            repository.log_metrics(run, [(models[one.partition_id].model_id, one.metrics) for one in records])
        list(written)
        with turn:
            repository.finalize(model.model_id for model in models.values())
        return list(models.values())

    with ThreadPoolExecutor(LOGGING if make is None else 1) as waves:
        batches = [fitted[start : start + BATCH] for start in range(0, len(fitted), BATCH)]
        logged = [model for models in waves.map(log, batches) for model in models]
    repository.client.map(lambda model: repository.set_tags(model.model_id, {t.ROLE: t.PREVIOUS}), former)
    repository.end_run(run, {"models": float(len(logged))})
    return logged


def write_files(template: artifacts.Template, one: tuple[Registered, bytes]) -> None:
    """The files of one model, as an executor writes them."""
    model, payload = one
    artifacts.write(model.location, template.files(model.model_id, payload))


def record(key: PartitionKey, result: FitResult, job: str) -> ModelRecord:
    """What is logged of one model, as much as a training run logs."""
    params = {"family": str(result.family), "options": "{}", "candidates": str(result.family)}
    return ModelRecord(
        key.id,
        f"{key.slug}--{key.id}",
        {**t.partition_tags(key), **tags_of(result, job)},
        params,
        dict(result.metrics),
    )


def promoted(key: PartitionKey, result: FitResult, job: str) -> ModelRecord:
    """What is logged of one model that is promoted in place of another."""
    tags = {
        **tags_of(result, job),
        t.ROLE: t.CHAMPION,
        t.SOURCE_MODEL: "m-" + "0" * 32,
        t.REPLACES: "m-" + "1" * 32,
    }
    return champion_record(key, tags, result.metrics, "wape")


def tags_of(result: FitResult, job: str) -> dict[str, str]:
    """The tags beside those of the partition."""
    return {
        t.SPEC: "bench",
        t.SPEC_HASH: "0" * 16,
        t.JOB: job,
        t.DATA_VERSION: "1",
        t.WAVE: "1",
        t.VERSION: "1",
        t.COMMIT: "0" * 40,
        t.FAMILY: str(result.family),
        t.FINGERPRINT: "0" * 64,
        t.STATUS: "fitted",
        t.SHA256: sha256(result.payload or b""),
    }


def tutorial_model(number: int) -> tuple[str, Any, pd.DataFrame]:
    """A fitted model of the library itself, of the family that the partition of that number has, and rows
    that it takes.
    """
    rows = series(number)
    if number % 2 == 0:
        from prophet import Prophet

        rows = rows.set_axis(["ds", "y"], axis=1)
        return "prophet", Prophet(yearly_seasonality=False).fit(rows), rows[["ds"]].head()
    from sklearn.linear_model import Ridge

    lags = pd.DataFrame({"lag_1": rows["units"].shift(1), "lag_7": rows["units"].shift(7)}).iloc[7:]
    return "sklearn", Ridge().fit(lags, rows["units"].iloc[7:]), lags.head()


def log_as_tutorials_do(
    uri: str, place: str, number: int, flavor: str, model: Any, example: pd.DataFrame
) -> None:
    """One run per model: tags, parameters, metrics, `log_model` with a registered name and an input
    example.
    """
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("tutorial")
    log: Callable[..., Any] = getattr(mlflow, flavor).log_model
    with mlflow.start_run(run_name=f"store {number}"):
        mlflow.set_tags({"store": number // 50, "item": number % 50, "family": flavor})
        mlflow.log_params({"family": flavor, "horizon": 14})
        mlflow.log_metrics({"wape": 0.1, "smape": 0.1, "mase": 0.9})
        log(model, name="model", registered_model_name=f"tutorial-{place}-{number}", input_example=example)


def promote(uri: str, fitted: Sequence[Fitted], executors: Executor) -> dict[str, float]:
    """Promote all models in place of others, and a part of them as registered models."""
    figures = {}
    forms = {
        "": (ModelRepository, fitted),
        "_registered": (RegistryRepository, fitted[: max(1, len(fitted) // 8)]),
    }
    for name, (form, models) in forms.items():
        where = Repository(tracking=uri, experiment=f"production{name}")
        repository = form.open(where, spec(0))
        former = log_all(repository, models, "promotion-1", executors, make=promoted)
        repository.client.calls.clear()
        with clock(f"{len(models)} models promoted{name}") as measured:
            log_all(repository, models, "promotion-2", executors, former, make=promoted)
        figures[f"calls_per_model_promote{name}"] = repository.client.total / len(models)
        figures[f"seconds_per_model_promote{name}"] = measured.seconds / len(models)
        gc.collect()
    return figures


def find(uri: str, store: str, count: int, executors: Executor) -> dict[str, float]:
    """Find the champions of `count` partitions over HTTP: the median of `TIMES`, and the first, which finds
    nothing ready.
    """
    repository = open_repository(Repository(tracking=uri, experiment="found"), spec(0))
    result, keys = (
        fit_one(1)[1],
        [PartitionKey.of({"store": number // 50, "item": number % 50}) for number in range(count)],
    )
    first = log_all(repository, [(keys[0], result)], "seed", executors, make=promoted)[0]
    copy_model(
        store.removeprefix("sqlite:///"), first.model_id, [promoted(key, result, "seed") for key in keys[1:]]
    )
    seconds = []
    for _ in range(TIMES):
        repository.client.calls.clear()
        with clock(f"champions of {count} partitions found") as measured:
            found = current_champions(repository)
        seconds.append(measured.seconds)
    if found.keys() != {key.id for key in keys} or any(
        model.metrics["wape"] != result.metrics["wape"] for model in found.values()
    ):
        raise SystemExit(f"{len(found)} champions were found, {count} expected, each with its metrics")
    calls = repository.client.total
    return {
        "champions_seconds": statistics.median(seconds),
        "champions_seconds_first": seconds[0],
        "champions_calls": calls,
    }


def copy_model(database: str, model_id: str, records: Sequence[ModelRecord]) -> None:
    """Copies of a logged model in MLflow's database, each with the name and tags of a record."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table in ("logged_models", "logged_model_tags", "logged_model_metrics"):
            cursor = connection.execute(f"SELECT * FROM {table} WHERE model_id = ?", [model_id])
            columns, rows = [column[0] for column in cursor.description], cursor.fetchall()
            marks = ", ".join("?" * len(columns))
            copies = (
                copy for number, one in enumerate(records) for copy in _copies(columns, rows, number, one)
            )
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", copies)


def _copies(
    columns: list[str], rows: list[tuple[Any, ...]], number: int, record: ModelRecord
) -> list[list[Any]]:
    copies = []
    for row in rows:
        cells = dict(zip(columns, row, strict=True))
        cells["model_id"] = f"m-{number:032x}"
        if "creation_timestamp_ms" in cells:
            cells |= {"name": record.name, "creation_timestamp_ms": cells["creation_timestamp_ms"] + number}
        if "tag_key" in cells:
            cells["tag_value"] = record.tags.get(cells["tag_key"], cells["tag_value"])
        copies.append(list(cells.values()))
    return copies


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
