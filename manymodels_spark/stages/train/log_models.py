"""One committed wave into MLflow: a logged model per fitted partition, with tags, parameters, metrics and
files.

May be called again after any interruption: what is already in MLflow is adopted, only what is missing is
made.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark import observe
from manymodels_spark.errors import PayloadError
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, MODELS, Lake
from manymodels_spark.stages.packaging.model_files import write_files
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.artifacts import Template
from manymodels_spark.tracking.repository import ModelRecord, ModelRepository, Registered

MODELS_SCHEMA = (
    "run_id string, wave int, partition_id string, model_id string, location string, sha256 string, family "
    "string, "
    "mlflow_run string, data_version bigint, logged_at timestamp, spec_hash string, git_commit string"
)
_META = (
    "partition_id",
    "key",
    "status",
    "family",
    "rows",
    "seconds",
    "fingerprint",
    "sha256",
    "metrics",
    "start",
    "cutoff",
    "options",
    "scores",
    "started_from",
    "fitted_at",
)


@dataclass(frozen=True)
class Recorder:
    """Logs the waves of one training job.

    `write_lock` is held during calls to MLflow: a lock where MLflow is a file, which has one writer.
    """

    lake: Lake
    template: Template
    repository: ModelRepository
    origin: t.Origin
    mlflow_run: str
    write_lock: AbstractContextManager[object] = field(default_factory=nullcontext)

    @observe.traced("log", lambda self, wave, *, resumed=False: {"wave": wave, "resumed": resumed})
    def record(self, wave: int, *, resumed: bool = False) -> int:
        """Log the fitted partitions of a committed wave; their number. Raises PayloadError where one was
        altered since.
        """
        fits = self._fits(wave)
        fitted = fits.select(*_META).toPandas().sort_values("partition_id")
        if fitted.empty:
            return 0
        with self.write_lock:
            models = self._create(fitted, wave, resumed)
        with ThreadPoolExecutor(1, "metrics") as pool:
            logged = pool.submit(self._log_metrics, fitted, models)
            damaged = write_files(fits, models, self.template, self.repository)
            logged.result()
        if damaged:
            raise PayloadError(
                f"{len(damaged)} payloads of wave {wave} in table {FITS} do not match their checksums "
                "(first: partition "
                f"{min(damaged)}): they were altered or damaged and are not logged. Train these partitions "
                "again with --force"
            )
        with self.write_lock:
            self.repository.finalize(model.model_id for model in models.values())
        self._commit(fitted, models, wave)
        return len(fitted)

    def _fits(self, wave: int) -> DataFrame:
        mine = (F.col("run_id") == self.origin.job) & (F.col("wave") == wave) & F.col("payload").isNotNull()
        return self.lake.read(FITS).filter(mine)

    def _create(self, fitted: pd.DataFrame, wave: int, resumed: bool) -> dict[str, Registered]:
        all_records = [self._record(row, wave) for row in records(fitted)]
        present = self.repository.adopt(self.origin.job, wave) if resumed else {}
        missing = [record for record in all_records if record.partition_id not in present]
        try:
            return {**present, **self.repository.create(missing, self.mlflow_run)}
        except Exception:
            # A lost answer leaves a model that nobody knows of: look, then make what is missing, once.
            if resumed:
                raise
            return self._create(fitted, wave, resumed=True)

    def _record(self, row: dict[str, Any], wave: int) -> ModelRecord:
        key = PartitionKey.parse(row["key"])
        tags = {
            **t.partition_tags(key),
            **self.origin.tags(),
            t.FAMILY: row["family"],
            t.FINGERPRINT: row["fingerprint"],
            t.SHA256: row["sha256"],
            t.STATUS: row["status"],
            t.WAVE: str(wave),
        }
        return ModelRecord(key.id, f"{key.slug}--{key.id}", tags, _params(row), _metrics(row))

    def _log_metrics(self, fitted: pd.DataFrame, models: dict[str, Registered]) -> None:
        """Metrics are of the moment of the fits: a server takes them once, however often an interrupted wave
        is logged.
        """
        values = [(models[row["partition_id"]].model_id, _metrics(row)) for row in records(fitted)]
        with self.write_lock:
            self.repository.log_metrics(
                self.mlflow_run, values, pd.Timestamp(fitted["fitted_at"].max()).value // 1_000_000
            )

    def _commit(self, fitted: pd.DataFrame, models: dict[str, Registered], wave: int) -> None:
        now = datetime.now(UTC)
        rows = [
            (
                self.origin.job,
                wave,
                row["partition_id"],
                models[row["partition_id"]].model_id,
                models[row["partition_id"]].location,
                row["sha256"],
                row["family"],
                self.mlflow_run,
                self.origin.data_version,
                now,
                self.origin.spec_hash,
                self.origin.commit,
            )
            for row in records(fitted)
        ]
        frame = self.lake.spark.createDataFrame(rows, MODELS_SCHEMA)
        self.lake.append(MODELS, frame, once=f"{self.origin.job}-models-{wave}")


def _params(row: dict[str, Any]) -> dict[str, str]:
    started = {"started_from": row["started_from"]} if row["started_from"] else {}
    return {
        **started,
        "family": row["family"],
        "options": row["options"][:5000],
        "start": str(row["start"]),
        "cutoff": str(row["cutoff"]),
        "candidates": ", ".join(score["candidate"] for score in orjson.loads(row["scores"])),
    }


def _metrics(row: dict[str, Any]) -> dict[str, float]:
    """A model's test metrics: the means over the folds, each fold's own where there are several, and what the
    fit took.
    """
    metrics = {name: float(value) for name, value in dict(row["metrics"]).items() if value is not None}
    champion = next((s for s in orjson.loads(row["scores"]) if s["candidate"] == row["family"]), None)
    folds = champion["folds"] if champion and len(champion["folds"]) > 1 else []
    for number, fold in enumerate(folds, start=1):
        metrics.update({f"{name}_fold_{number}": value for name, value in fold.items() if value is not None})
    return {**metrics, "fit_seconds": float(row["seconds"]), "rows": float(row["rows"])}
