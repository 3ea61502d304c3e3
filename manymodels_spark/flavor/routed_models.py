"""All partitions of a spec behind one MLflow model: `mlflow.pyfunc.load_model("models:/SPEC@champion")`.

It takes rows with the partition columns, loads each partition's champion when it is first asked for,
keeps what fits into its memory bound, and answers. It needs its routes and the champions' artifacts:
no lake, no Spark, no tracking server (unless that server is the only one to reach the artifacts).
Nothing is ever unpickled.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.flavor.route_table import Routes
from manymodels_spark.modeling.memory import LruBytes
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.tracking import artifacts

MIB = 1024 * 1024
MEMORY = "MANYMODELS_ROUTE_MB"
ERROR = "error"
Read = Callable[[str, str], bytes]


@dataclass(frozen=True)
class _Asked:
    """What a request asks for: steps `ahead` of each partition's rows, or a prediction for each row;
    and the intervals.
    """

    ahead: bool
    horizon: int
    levels: list[int]


class RoutedModels:
    """The champions of a spec behind MLflow's `predict`. `memory` bounds the loaded models, in bytes."""

    def __init__(
        self, routes: Routes, memory: int | None = None, read: Read = artifacts.read_payload
    ) -> None:
        self.routes = routes
        mib = float(os.environ.get(MEMORY, routes.shape.memory_mb))
        self.models: LruBytes[LoadedPartition] = LruBytes(memory or int(mib * MIB))
        self._read = read

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predictions of rows of any partitions: what the partition's model says, then `error` (empty where
        all is well, else why there is no prediction: one partition does not harm another), the time and the
        partition columns.

        Rows with a time (and known-future columns), or with features for other tasks than a forecast, get a
        prediction each, in their order. A forecast's rows without times get `params["horizon"]` steps for
        each partition that they name. `params["levels"]` are the intervals in percent. Raises ManyModelsError
        where a partition column is missing.
        """
        shape, options = self.routes.shape, params or {}
        if missing := [name for name in shape.columns if name not in rows]:
            raise ManyModelsError(
                f"column {', '.join(missing)} is missing. Rows of {shape.spec} name "
                f"{', '.join(shape.columns)}"
            )
        rows = rows.reset_index(drop=True)
        ahead = shape.task == "forecast" and (shape.time not in rows or bool(rows[shape.time].isna().all()))
        given = options.get("levels")
        levels = [int(level) for level in (shape.levels if given is None else given)]
        asked = _Asked(ahead, int(options.get("horizon") or shape.horizon), levels)
        tables = [self._answer(found, rows.iloc[positions], asked) for found, positions in self._groups(rows)]
        # The prediction comes first: `spark_udf` without a result type takes the first number.
        names = [
            *_predicted_columns(shape.task, levels),
            ERROR,
            *([shape.time] if shape.time else []),
            *shape.columns,
        ]
        if not tables:
            return pd.DataFrame(columns=names)
        table = pd.concat([table.reindex(columns=names) for table in tables])
        return table.reset_index(drop=True) if ahead else table.sort_index()

    def _groups(self, rows: pd.DataFrame) -> list[tuple[str | ValueError, list[int]]]:
        """The rows' positions by partition id, in the order of appearance;
        a key that cannot be read stands for itself.
        """
        known: dict[tuple[Any, ...], str | ValueError] = {}
        groups: dict[Any, tuple[str | ValueError, list[int]]] = {}
        for position, values in enumerate(
            zip(*(rows[name] for name in self.routes.shape.columns), strict=True)
        ):
            # True, 1 and 1.0 are equal to a dict, but three keys; and a value may be something that no dict
            # takes.
            cell = tuple((type(value), str(value)) for value in values)
            if cell not in known:
                known[cell] = self._id_of(values)
            found = known[cell]
            groups.setdefault(found if isinstance(found, str) else cell, (found, []))[1].append(position)
        return list(groups.values())

    def _id_of(self, values: tuple[Any, ...]) -> str | ValueError:
        try:
            return self.routes.key_of(values).id
        except (ValueError, TypeError, ArithmeticError) as error:
            return ValueError(str(error) or type(error).__name__)

    def _answer(self, partition: str | ValueError, rows: pd.DataFrame, asked: _Asked) -> pd.DataFrame:
        shape = self.routes.shape
        own = rows[[name for name in (*shape.columns, shape.time) if name in rows]]
        try:
            predicted = self._predicted(partition, rows, asked)
        except Exception as error:
            # Whatever went wrong with this partition, the others in the same request are to be answered.
            failed = own.head(1) if asked.ahead else own
            nothing = None if shape.task == "classification" else math.nan
            return failed.assign(prediction=nothing, error=f"{type(error).__name__}: {error}")
        if asked.ahead:
            values = {name: [own[name].iloc[0]] * len(predicted) for name in shape.columns}
            return pd.concat([pd.DataFrame(values), predicted.assign(error="")], axis=1)
        aligned = predicted.drop(columns=[name for name in own if name in predicted]).set_axis(
            rows.index, axis=0
        )
        return pd.concat([own, aligned.assign(error="")], axis=1)

    def _predicted(self, partition: str | ValueError, rows: pd.DataFrame, asked: _Asked) -> pd.DataFrame:
        if isinstance(partition, ValueError):
            raise partition
        model = self.model(partition)
        if asked.ahead:
            return model.predict(horizon=asked.horizon, levels=asked.levels or None)
        return model.predict(
            future=rows.drop(columns=list(self.routes.shape.columns)), levels=asked.levels or None
        )

    def model(self, partition_id: str) -> LoadedPartition:
        """The open champion of a partition, from memory or from its artifacts.

        Raises ManyModelsError where it has none, PayloadError where its payload
        is gone or not what was promoted.
        """
        model = self.models.get(partition_id)
        if model is None:
            route = self.routes.find(partition_id)
            if route is None:
                raise ManyModelsError(f"this partition has no champion in {self.routes.shape.spec}")
            payload = self._read(route.location, route.sha256)
            # As in `pyfunc`: the routes come with the model's own files and state this payload's checksum.
            model = LoadedPartition(payload, route.sha256, families=None).lighten()
            self.models.put(partition_id, model)
        return model


def _predicted_columns(task: str, levels: Sequence[int]) -> list[str]:
    if task == "classification":
        return ["prediction", "probability"]
    return ["prediction", *(f"{side}_{level}" for level in levels for side in ("lower", "upper"))]


def _load_pyfunc(path: str) -> RoutedModels:
    """Called by MLflow with the folder of the model's files."""
    return RoutedModels(Routes.read(Path(path)))
