"""A star schema over what a load brought, as views for Power BI and other tools:
dimensions, facts, nothing stored.

One definition for all warehouses; a `Dialect` holds the few things that their SQL says differently. What a
view needs and was not loaded (alerts before the first monitoring, say) leaves that view out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from manymodels_spark.warehouse.base import quote as quote_standard

TEXT, NUMBER, WHOLE, FLAG, MOMENT, DAY = "string", "double", "int64", "boolean", "dateTime", "date"


@dataclass(frozen=True)
class Dialect:
    """What differs: identifiers, flags, days between two times, parts of a date."""

    name: str
    quote: Callable[[str], str]
    days: str
    part: str
    weekday: str

    def day(self, value: str) -> str:
        """The date of a time."""
        return f"CAST({value} AS DATE)"

    def flag(self, condition: str) -> str:
        """A condition as a column of flags."""
        return (
            f"CAST(CASE WHEN {condition} THEN 1 ELSE 0 END AS BIT)"
            if self.name == "synapse"
            else f"({condition})"
        )


DUCKDB = Dialect(
    "duckdb", quote_standard, "date_diff('day', {0}, {1})", "EXTRACT({0} FROM {1})", "isodow({0})"
)
POSTGRES = Dialect(
    "postgres",
    quote_standard,
    "(CAST({1} AS DATE) - CAST({0} AS DATE))",
    "CAST(EXTRACT({0} FROM {1}) AS INTEGER)",
    "CAST(EXTRACT(ISODOW FROM {0}) AS INTEGER)",
)
# Days since a Monday: DATEPART(WEEKDAY) depends on a setting of the session.
SYNAPSE = Dialect(
    "synapse",
    lambda name: "[" + name.replace("]", "]]") + "]",
    "DATEDIFF(DAY, {0}, {1})",
    "DATEPART({0}, {1})",
    "(DATEDIFF(DAY, '1900-01-01', {0}) % 7) + 1",
)


@dataclass(frozen=True)
class Star:
    """What the views of one spec are made of."""

    spec: str
    partition_by: Sequence[str]
    time: str | None
    intervals: Sequence[int]
    predictions: str
    labels: bool = False

    def table(self, name: str) -> str:
        """The loaded table of one lake table."""
        return self.predictions if name == "predictions" else f"{self.spec}_{name}"


@dataclass(frozen=True)
class View:
    """One view: its name, the lake tables that it needs, its columns as (name, kind,
    expression), and FROM and after.
    """

    name: str
    needs: tuple[str, ...]
    columns: tuple[tuple[str, str, str], ...]
    source: str

    def select(self, dialect: Dialect) -> str:
        """The query."""
        cells = ",\n    ".join(
            f"{expression} AS {dialect.quote(name)}" for name, _, expression in self.columns
        )
        return f"SELECT\n    {cells}\n{self.source}"


def star(spec: Star, dialect: Dialect, schema: str | None = None) -> list[View]:
    """All views of a spec, dimensions first."""
    build = _Builder(spec, dialect, schema)
    views = [build.partition(), build.model(), build.predictions(), build.metrics(), build.runs()]
    return [*views, build.date(), build.actuals(), build.alerts()] if spec.time else views


def available(views: Sequence[View], spec: Star, present: Mapping[str, object] | Sequence[str]) -> list[View]:
    """The views whose tables are there."""
    return [view for view in views if all(spec.table(name) in present for name in view.needs)]


class _Builder:
    """Writes the views of one spec in one dialect."""

    def __init__(self, star: Star, dialect: Dialect, schema: str | None) -> None:
        self.star, self.d, self.schema = star, dialect, schema

    def partition(self) -> View:
        """A row per partition: its columns, how it stands, its champion, or why it has none."""
        keys = [(name, TEXT, self._of("p", name)) for name in self.star.partition_by]
        state = (
            "CASE WHEN q.{0} IS NOT NULL THEN 'quarantined' WHEN c.{0} IS NULL THEN 'no champion' "
            "ELSE 'in production' END"
        ).format(self.d.quote("partition_id"))
        columns = (
            ("partition_id", TEXT, self._of("p", "partition_id")),
            *keys,
            ("rows", WHOLE, self._of("p", "rows")),
            ("first_time", MOMENT, self._of("p", "start")),
            ("last_time", MOMENT, self._of("p", "end")),
            ("state", TEXT, state),
            ("family", TEXT, self._of("c", "family")),
            ("promoted_at", MOMENT, self._of("c", "promoted_at")),
            ("reason", TEXT, self._of("q", "reason")),
            ("what_to_do", TEXT, self._of("q", "advice")),
        )
        joined = [self._join("champions", "c", "p"), self._join("quarantine", "q", "p")]
        source = "\n".join([f"FROM {self._from('partitions', 'p')}", *joined])
        return self._view("dim_partition", ("partitions", "champions", "quarantine"), columns, source)

    def model(self) -> View:
        """A row per model that predicted something, and whether it is a champion now."""
        champion = self.d.flag(f"MAX({self._of('c', 'model_id')}) IS NOT NULL")
        columns = (
            ("model_id", TEXT, self._of("p", "model_id")),
            ("partition_id", TEXT, f"MAX({self._of('p', 'partition_id')})"),
            ("family", TEXT, f"MAX({self._of('p', 'family')})"),
            ("first_scored", MOMENT, f"MIN({self._of('p', 'scored_at')})"),
            ("last_scored", MOMENT, f"MAX({self._of('p', 'scored_at')})"),
            ("is_champion", FLAG, champion),
        )
        on = (
            f"LEFT JOIN {self._from('champions', 'c')} ON {self._of('c', 'model_id')} = "
            f"{self._of('p', 'model_id')}"
        )
        ends = f"WHERE {self._of('p', 'model_id')} IS NOT NULL\nGROUP BY {self._of('p', 'model_id')}"
        return self._view(
            "dim_model",
            ("predictions", "champions"),
            columns,
            f"FROM {self._from('predictions', 'p')}\n{on}\n{ends}",
        )

    def date(self) -> View:
        """A row per day that has predictions or actuals; weekday 1 is Monday."""
        day, time = self.d.quote("day"), self.d.day(self.d.quote(str(self.star.time)))
        days = [f"SELECT {time} AS {day} FROM {self._name(table)}" for table in ("predictions", "actuals")]

        def part(name: str) -> str:
            return self.d.part.format(name, f"d.{day}")

        columns = (
            ("date", DAY, f"d.{day}"),
            ("year", WHOLE, part("YEAR")),
            ("quarter", WHOLE, part("QUARTER")),
            ("month", WHOLE, part("MONTH")),
            ("day_of_month", WHOLE, part("DAY")),
            ("weekday", WHOLE, self.d.weekday.format(f"d.{day}")),
        )
        return self._view(
            "dim_date",
            ("predictions", "actuals"),
            columns,
            f"FROM ({' UNION '.join(days)}) AS d\nWHERE d.{day} IS NOT NULL",
        )

    def predictions(self) -> View:
        """A row per predicted step; of a forecast with its actual where that has come,
        and errors ready to be summed.
        """
        time, kind = self._of("p", self.star.time or "row"), TEXT if self.star.labels else NUMBER
        newest = self.d.flag(f"{self._of('p', 'cutoff')} = n.{self.d.quote('newest')}")
        columns = [
            ("partition_id", TEXT, self._of("p", "partition_id")),
            ("model_id", TEXT, self._of("p", "model_id")),
            ("cutoff", MOMENT, self._of("p", "cutoff")),
            *self._when(time, "p"),
            ("prediction", kind, self._of("p", "prediction")),
            ("fallback", FLAG, self._of("p", "fallback")),
            ("is_newest", FLAG, newest),
        ]
        cutoff, key = self.d.quote("cutoff"), self.d.quote("partition_id")
        latest = (
            f"SELECT {key}, MAX({cutoff}) AS {self.d.quote('newest')} FROM {self._name('predictions')} "
            f"GROUP BY {key}"
        )
        source = (
            f"FROM {self._from('predictions', 'p')}\nINNER JOIN ({latest}) AS n ON n.{key} = "
            f"{self._of('p', 'partition_id')}"
        )
        if self.star.time is None:
            return self._view("fact_predictions", ("predictions",), columns, source)
        source += f"\n{self._join('actuals', 'a', 'p')} AND {self._of('a', self.star.time)} = {time}"
        return self._view("fact_predictions", ("predictions", "actuals"), [*columns, *self._judged()], source)

    def _judged(self) -> list[tuple[str, str, str]]:
        """Bounds, actual, errors, and whether the actual lies within each interval (1,
        0, or null before it has come).
        """
        actual, wrong = self._of("a", "actual"), f"{self._of('p', 'prediction')} - {self._of('a', 'actual')}"
        columns = [
            (f"{side}_{n}", NUMBER, self._of("p", f"{side}_{n}"))
            for n in self.star.intervals
            for side in ("lower", "upper")
        ]
        columns += [
            ("actual", NUMBER, actual),
            ("error", NUMBER, wrong),
            ("abs_error", NUMBER, f"ABS({wrong})"),
        ]
        for n in self.star.intervals:
            low, high = self._of("p", f"lower_{n}"), self._of("p", f"upper_{n}")
            within = (
                f"CASE WHEN {actual} IS NULL THEN NULL "
                f"WHEN {actual} >= {low} AND {actual} <= {high} THEN 1 ELSE 0 END"
            )
            columns.append((f"inside_{n}", WHOLE, within))
        return columns

    def actuals(self) -> View:
        """A row per step that has happened."""
        columns = (
            ("partition_id", TEXT, self._of("a", "partition_id")),
            *self._when(self._of("a", str(self.star.time)))[:2],
            ("actual", NUMBER, self._of("a", "actual")),
        )
        return self._view("fact_actuals", ("actuals",), columns, f"FROM {self._from('actuals', 'a')}")

    def metrics(self) -> View:
        """A row per partition and metric of its newest fit's backtest."""
        columns = [
            (name, kind, self._of("m", name))
            for name, kind in (
                ("partition_id", TEXT),
                ("run_id", TEXT),
                ("family", TEXT),
                ("metric", TEXT),
                ("value", NUMBER),
                ("fitted_at", MOMENT),
            )
        ]
        return self._view("fact_metrics", ("metrics",), columns, f"FROM {self._from('metrics', 'm')}")

    def runs(self) -> View:
        """A row per stage that ended."""
        kinds = (
            ("run_id", TEXT),
            ("stage", TEXT),
            ("status", TEXT),
            ("started_at", MOMENT),
            ("ended_at", MOMENT),
            ("seconds", NUMBER),
            ("calls", WHOLE),
            ("note", TEXT),
        )
        columns = [(name, kind, self._of("r", name)) for name, kind in kinds]
        source = f"FROM {self._from('runs', 'r')}\nWHERE {self._of('r', 'status')} <> 'running'"
        return self._view("fact_runs", ("runs",), columns, source)

    def alerts(self) -> View:
        """A row per alert of the newest monitoring."""
        kinds = (
            ("partition_id", TEXT),
            ("check", TEXT),
            ("subject", TEXT),
            ("value", NUMBER),
            ("reference", NUMBER),
            ("shift", NUMBER),
            ("advice", TEXT),
            ("at", MOMENT),
        )
        columns = [(name, kind, self._of("t", name)) for name, kind in kinds]
        return self._view("fact_alerts", ("alerts",), columns, f"FROM {self._from('alerts', 't')}")

    def _when(self, time: str, alias: str | None = None) -> list[tuple[str, str, str]]:
        """Date and time of a step, and how many days after the cutoff it lies."""
        if self.star.time is None:
            return [("row", WHOLE, time)]
        ahead = self.d.days.format(self._of(alias or "p", "cutoff"), time)
        return [("date", DAY, self.d.day(time)), ("time", MOMENT, time), ("days_ahead", WHOLE, ahead)]

    def _view(
        self, name: str, needs: tuple[str, ...], columns: Sequence[tuple[str, str, str]], source: str
    ) -> View:
        return View(f"{self.star.spec}_{name}", needs, tuple(columns), source)

    def _of(self, alias: str, column: str) -> str:
        return f"{alias}.{self.d.quote(column)}"

    def _name(self, table: str) -> str:
        name = self.d.quote(self.star.table(table))
        return f"{self.d.quote(self.schema)}.{name}" if self.schema else name

    def _from(self, table: str, alias: str) -> str:
        return f"{self._name(table)} AS {alias}"

    def _join(self, table: str, alias: str, to: str) -> str:
        return (
            f"LEFT JOIN {self._from(table, alias)} ON {self._of(alias, 'partition_id')} = "
            f"{self._of(to, 'partition_id')}"
        )
