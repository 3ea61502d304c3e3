"""All that a user can say in a spec, as pydantic models: names, types, bounds and defaults.

The models know what a valid spec is; reading YAML, collecting mistakes and looking into data is done
elsewhere. Options of a model family are checked by the family itself (`manymodels_spark.families`), not here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from manymodels_spark.display import html_table
from manymodels_spark.spec.defaults import with_candidates
from manymodels_spark.spec.reserved import clashes
from manymodels_spark.spec.source import Environ, Source, Stream

Task = Literal["forecast", "regression", "classification"]
Identifier = Annotated[str, Field(min_length=1, max_length=255)]

FREQUENCIES = ("min", "15min", "30min", "h", "D", "B", "W", "MS", "ME", "QS", "QE", "YS", "YE")
PLACE = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
METRICS = (
    "smape",
    "mase",
    "wape",
    "mae",
    "rmse",
    "rmsse",
    "bias",
    "pinball",
    "accuracy",
    "f1",
    "auc",
    "logloss",
    "r2",
)
HIGHER_IS_BETTER = frozenset({"accuracy", "f1", "auc", "r2"})
TASK_METRICS: dict[str, tuple[str, ...]] = {
    "forecast": ("wape", "smape", "mase", "mae", "rmse", "rmsse", "bias", "pinball"),
    "regression": ("rmse", "mae", "wape", "smape", "bias", "r2"),
    "classification": ("logloss", "accuracy", "f1", "auc"),
}


class Part(BaseModel):
    """Base of all parts of a spec: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _percent(value: object) -> object:
    """`2%` as 0.02; numbers pass unchanged."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


def _megabytes(value: object) -> object:
    """`512m`, `2g` as megabytes; numbers pass unchanged."""
    units = {"m": 1, "mb": 1, "g": 1024, "gb": 1024}
    if isinstance(value, str):
        text = value.strip().lower()
        for unit in sorted(units, key=len, reverse=True):
            if text.endswith(unit) and text.removesuffix(unit).strip().isdigit():
                return int(text.removesuffix(unit)) * units[unit]
    return value


def _frequency(value: str) -> str:
    aliases = {
        "H": "h",
        "T": "min",
        "M": "MS",
        "Q": "QS",
        "Y": "YS",
        "A": "YS",
        "day": "D",
        "week": "W",
        "hour": "h",
    }
    value = aliases.get(value, value)
    if value in FREQUENCIES or (
        value.startswith("W-") and value[2:] in ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
    ):
        return value
    raise ValueError(
        f"unknown frequency {value!r}. Expected one of {', '.join(FREQUENCIES)}, or W-MON to W-SUN"
    )


def _one_key(value: object) -> object:
    """A candidate as `{family: {options}}` from `family`, `{family: null}` or itself."""
    if isinstance(value, str):
        return {"family": value, "options": {}}
    if isinstance(value, dict) and len(value) == 1 and "family" not in value:
        ((name, options),) = value.items()
        return {"family": name, "options": options or {}}
    return value


Fraction = Annotated[float, BeforeValidator(_percent), Field(ge=0, le=1)]
Megabytes = Annotated[int, BeforeValidator(_megabytes), Field(ge=64)]
Frequency = Annotated[str, AfterValidator(_frequency)]
Metric = Literal[
    "smape",
    "mase",
    "wape",
    "mae",
    "rmse",
    "rmsse",
    "bias",
    "pinball",
    "accuracy",
    "f1",
    "auc",
    "logloss",
    "r2",
]


def _place(value: Any) -> Any:
    """One mistake where neither form was meant."""
    if (isinstance(value, str) and not re.fullmatch(PLACE, value)) or not isinstance(
        value, str | dict | PlaceColumn | None
    ):
        raise ValueError(
            "expected a country, e.g. ES, a region of it, e.g. ES-MD, or {column: NAME} with the column "
            "that says it"
        )
    return PlaceColumn.model_validate(value) if isinstance(value, dict) else value


class PlaceColumn(Part):
    """The column that says in which country or region a partition is."""

    column: Identifier


class Columns(Part):
    """The roles of the source's columns."""

    target: Identifier
    time: Identifier | None = None
    frequency: Frequency = "D"
    known_future: list[Identifier] = []
    features: list[Identifier] = []
    static: list[Identifier] = []
    holidays: Annotated[
        Annotated[str, Field(pattern=PLACE)] | PlaceColumn | None, BeforeValidator(_place)
    ] = None

    @property
    def inputs(self) -> list[str]:
        """All columns that a family may use to predict, in the order of the spec."""
        return list(dict.fromkeys([*self.known_future, *self.features, *self.static]))


class Prepare(Part):
    """What may be done to the rows before a fit; nothing is touched that is not asked for here."""

    duplicates: Literal["last", "sum", "mean", "error"] = "last"
    gaps: Literal["zero", "forward", "leave"] = "leave"
    not_finite: Literal["quarantine", "drop"] = "quarantine"
    bad_times: Literal["quarantine", "drop"] = "quarantine"
    null_keys: Literal["quarantine", "keep"] = "quarantine"
    negatives: Literal["keep", "zero", "drop"] = "keep"
    outliers: Annotated[float, Field(gt=0)] | None = None
    timezone: str = "UTC"
    history: Annotated[int, Field(ge=2)] | None = None
    calendar: Source | None = None


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


class Gate(Part):
    """One business rule of a promotion: a metric's bound, better than the champion, enough rows, or a
    function.
    """

    metric: Metric | None = None
    below: float | None = None
    above: float | None = None
    better_than: Literal["champion", "seasonal_naive"] | None = None
    by: Fraction = 0.0
    rows: Annotated[int, Field(ge=1)] | None = None
    folds: Annotated[int, Field(ge=1)] | None = None
    coverage: Annotated[int, Field(ge=1, le=99)] | None = None
    within: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    max_age_days: Annotated[int, Field(ge=1)] | None = None
    function: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        kinds = [
            self.metric,
            self.better_than,
            self.rows,
            self.folds,
            self.coverage,
            self.max_age_days,
            self.function,
        ]
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(
                "a gate is exactly one of: metric with below or above, better_than, rows, folds, "
                "coverage with within, max_age_days, function"
            )
        if self.metric is not None and (self.below is None) == (self.above is None):
            raise ValueError(
                "a metric's gate wants either `below` or `above`, e.g. {metric: wape, below: 0.35}"
            )
        if self.coverage is not None and self.within is None:
            raise ValueError("a coverage gate wants its bounds, e.g. {coverage: 80, within: [0.7, 0.95]}")
        return self


class Promote(Part):
    """Which models may go to production, how they are registered there and whose approval they need."""

    all: list[Gate] = []
    any: list[Gate] = []
    form: Literal["logged_models", "registered_models"] = "logged_models"
    approval: str | None = None
    route: bool | Annotated[str, Field(min_length=1, max_length=255)] = True


class Limits(Part):
    """Bounds for one fit and for a run."""

    seconds_per_fit: Annotated[float, Field(gt=0)] = 300
    memory_per_fit: Megabytes | None = None
    failures: Fraction = 1.0
    partitions_per_wave: Annotated[int, Field(ge=1)] = 1000


class Monitor(Part):
    """When live forecasts call for a person: how large a change must be, how sure, and how many partitions
    may have one.
    """

    window: Annotated[int, Field(ge=7)] | None = None
    worse_by: Annotated[float, BeforeValidator(_percent), Field(gt=0)] = 0.5
    bias: Annotated[float, BeforeValidator(_percent), Field(gt=0)] = 0.25
    coverage: Fraction = 0.15
    stability: Annotated[float, Field(gt=0)] = 0.25
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
    alerts: Fraction = 0.05


class Repository(Part):
    """One MLflow: where runs, models and artifacts go."""

    tracking: Environ
    registry: Environ | None = None
    artifacts: Environ | None = None
    experiment: str | None = None


class Mlflow(Part):
    """The development MLflow and the separate production one."""

    development: Repository = Repository(tracking="sqlite:///.manymodels/dev.db")
    production: Repository = Repository(tracking="sqlite:///.manymodels/prod.db")
    keep: Annotated[int, Field(ge=1)] | None = None


class DuckDB(Part):
    """The embedded warehouse: one file."""

    kind: Literal["duckdb"] = "duckdb"
    path: Environ = ".manymodels/warehouse.duckdb"
    table: str | None = None
    memory: Megabytes = 2048
    staging: Environ | None = None


class Postgres(Part):
    """A Postgres database."""

    kind: Literal["postgres"] = "postgres"
    url: Environ
    schema_name: Annotated[str, Field(alias="schema")] = "public"
    table: str | None = None
    staging: Environ | None = None


class Synapse(Part):
    """A Synapse dedicated SQL pool, or the serverless endpoint where no load is needed."""

    kind: Literal["synapse"] = "synapse"
    server: Environ
    database: str
    schema_name: Annotated[str, Field(alias="schema")] = "dbo"
    table: str | None = None
    staging: Environ | None = None
    serverless: bool = False
    distribution: str | None = None
    load: Literal["delete_insert", "switch", "rename"] = "delete_insert"


def _warehouse(value: object) -> object:
    """`{duckdb: path}` or `{postgres: {...}}` as the part that it names."""
    if isinstance(value, dict) and len(value) == 1 and "kind" not in value:
        ((kind, options),) = value.items()
        if isinstance(options, str):
            options = {"path" if kind == "duckdb" else "url": options}
        return {"kind": kind, **(options or {})}
    return value


Warehouse = Annotated[DuckDB | Postgres | Synapse, Field(discriminator="kind")]


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
    promote: Promote = Promote()
    limits: Limits = Limits()
    monitor: Monitor = Monitor()
    mlflow: Mlflow = Mlflow()
    lake: Environ = ".manymodels/lake"
    warehouse: Annotated[Warehouse, BeforeValidator(_warehouse)] = DuckDB()
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
        if taken := clashes(keys, [self.columns.target, *self.columns.inputs]):
            raise ValueError(
                f"column {', '.join(taken)}: tables of this package have a column of that name. Give it "
                "another one where the rows "
                f"are read: `rename: {{{taken[0]}: {taken[0]}_name}}` below the kind of the source, and "
                f"use that in the spec"
            )
        if self.task == "forecast" and self.columns.time is None:
            raise ValueError("columns.time: a forecast wants the column with the time of each row")
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
        """Steps in the main season: as given, else by the frequency (7 for days, 24 for hours, 52, 12, 4,
        1).
        """
        by_frequency = {
            "min": 60,
            "15min": 96,
            "30min": 48,
            "h": 24,
            "D": 7,
            "B": 5,
            "W": 52,
            "M": 12,
            "Q": 4,
            "Y": 1,
        }
        frequency = self.columns.frequency
        head = frequency if frequency in by_frequency else frequency[0]
        return self.season or by_frequency[head]
