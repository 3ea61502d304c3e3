"""All that a user can say in a spec, as pydantic models: names, types, bounds and defaults.

The models know what a valid spec is; reading YAML, collecting mistakes and looking into data is done
elsewhere. Options of a model family are checked by the family itself (`manymodels_spark.families`), not here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from manymodels_spark.display import html_table
from manymodels_spark.spec.data import Columns, Prepare
from manymodels_spark.spec.defaults import with_candidates
from manymodels_spark.spec.frequency import step_of
from manymodels_spark.spec.metric_names import TASK_METRICS, Metric
from manymodels_spark.spec.parts import Identifier, Part
from manymodels_spark.spec.places import DuckDB, Mlflow, Warehouse, warehouse_part
from manymodels_spark.spec.reserved import clashes
from manymodels_spark.spec.rules import Limits, Monitor, Promote
from manymodels_spark.spec.source import Environ, Source, Stream

Task = Literal["forecast", "regression", "classification"]


def _one_key(value: object) -> object:
    """A candidate as `{family: {options}}` from `family`, `{family: null}` or itself."""
    if isinstance(value, str):
        return {"family": value, "options": {}}
    if isinstance(value, dict) and len(value) == 1 and "family" not in value:
        ((name, options),) = value.items()
        return {"family": name, "options": options or {}}
    return value


class Candidate(Part):
    """One family with its options, tried on every partition."""

    family: str
    options: dict[str, Any] = {}


class Backtest(Part):
    """How candidates are judged: rolling-origin folds for forecasts, shuffled folds for tabular tasks."""

    folds: Annotated[int, Field(ge=1, le=50)] = 3
    step: Annotated[int, Field(ge=1)] | None = None
    gap: Annotated[int, Field(ge=0)] = 0
    metric: Metric | None = None
    intervals: list[Annotated[int, Field(ge=1, le=99)]] = [80, 95]
    rule_out: bool = False


def percent(probability: float) -> str:
    """A probability as names of columns and metrics have it: 0.1 is `10`, 0.975 is `97_5`."""
    return f"{probability * 100:.10g}".replace(".", "_")


class Predict(Part):
    """The shape of predictions: bounds, whole numbers, and quantiles to write beside the intervals.

    Bounds and rounding apply before a candidate is judged and before intervals are calibrated.
    """

    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] = []

    @property
    def quantile_columns(self) -> dict[str, float]:
        """The column of each quantile and its probability: `quantile_10` is that of 0.1."""
        return {f"quantile_{percent(one)}": one for one in self.quantiles}

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        if twice := [one for one in self.quantiles if self.quantiles.count(one) > 1]:
            raise ValueError(f"quantile {twice[0]:g} stands twice. Name each once")
        return self


class Spec(Part):
    """One many-models job. Five lines are enough: name, source, partition_by, columns and horizon."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    task: Task = "forecast"
    partition_by: Annotated[list[Identifier], Field(min_length=1)]
    source: Source
    columns: Columns
    prepare: Prepare = Prepare()
    horizon: Annotated[int, Field(ge=1, le=100_000)] = 1
    season: Annotated[int, Field(ge=1)] | None = None
    candidates: list[Annotated[Candidate, BeforeValidator(_one_key)]] = []
    combine: Annotated[str, Field(pattern=r"^(best|(mean|median|weighted)_best_[2-9]|best_[2-9])$")] = "best"
    refit: bool = True
    fallback: Annotated[Candidate | None, BeforeValidator(_one_key)] = None
    backtest: Backtest = Backtest()
    predict: Predict = Predict()
    promote: Promote = Promote()
    limits: Limits = Limits()
    monitor: Monitor = Monitor()
    mlflow: Mlflow = Mlflow()
    lake: Environ = ".manymodels/lake"
    warehouse: Annotated[Warehouse, BeforeValidator(warehouse_part)] = DuckDB()
    stream: Stream | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_candidates(cls, data: Any) -> Any:
        return with_candidates(data) if isinstance(data, dict) and not data.get("candidates") else data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys = [*self.partition_by, *([self.columns.time] if self.columns.time else [])]
        roles = [*keys, self.columns.target]
        repeated = sorted({name for name in roles if roles.count(name) > 1})
        if repeated:
            raise ValueError(
                f"column {', '.join(repeated)} stands in two roles among partition_by, time and target"
            )
        keys += [self.columns.id] if self.columns.id else []
        if taken := clashes(keys, [self.columns.target, *self.columns.inputs]):
            raise ValueError(
                f"column {', '.join(taken)}: tables of this package have a column of that name. Give it "
                "another one where the rows "
                f"are read: `rename: {{{taken[0]}: {taken[0]}_name}}` below the kind of the source, and "
                f"use that in the spec"
            )
        if self.task == "forecast" and self.columns.time is None:
            raise ValueError("columns.time: a forecast requires the column with the time of each row")
        if self.task == "classification" and self.predict != Predict():
            raise ValueError("predict: classes have neither bounds nor quantiles. Remove this part")
        if self.backtest.metric and self.backtest.metric not in TASK_METRICS[self.task]:
            allowed = ", ".join(TASK_METRICS[self.task])
            raise ValueError(
                f"backtest.metric: {self.backtest.metric!r} does not fit task {self.task}. Use one of "
                f"{allowed}"
            )
        return self

    def _repr_html_(self) -> str:
        candidates = ", ".join(candidate.family for candidate in self.candidates)
        facts = [
            (
                "task",
                f"{self.task} of {self.columns.target}, {self.horizon} ahead"
                if self.task == "forecast"
                else self.task,
            ),
            ("partition by", ", ".join(self.partition_by)),
            ("candidates", candidates),
            ("combine", self.combine),
            ("metric", f"{self.metric} over {self.backtest.folds} folds"),
            ("gates", len(self.promote.all) + len(self.promote.any)),
            ("lake", self.lake),
            ("warehouse", self.warehouse.kind),
        ]
        return html_table(self.name, facts)

    @property
    def metric(self) -> str:
        """The metric by which a champion is chosen."""
        return self.backtest.metric or TASK_METRICS[self.task][0]

    @property
    def season_length(self) -> int:
        """Steps in the main season: as given, else the frequency's."""
        return self.season or step_of(self.columns.frequency).season
