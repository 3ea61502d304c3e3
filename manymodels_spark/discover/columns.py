"""What each column of a sample holds: numbers, text, truth values or times, and how text writes them.

Text is looked at by its distinct values; a form counts where nearly all of them have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from manymodels_spark.discover.sample import Sample
from manymodels_spark.discover.time_forms import EPOCHS, FORMS, ISO, NANOSECONDS, ZONED, moment

Kind = Literal["integer", "decimal", "text", "bool", "time"]
NEARLY_ALL = 0.98
DISTINCT_LOOKED_AT = 20_000
_EPOCH_RANGE = {"epoch_seconds": (4e8, 4.2e9), "epoch_milliseconds": (4e11, 4.2e12)}
_TIME_WORDS = (
    "date", "time", "day", "week", "month", "year", "quarter", "hour", "period", "timestamp",
    "datum", "fecha", "zeit",
    "tag", "woche", "monat", "jahr", "data", "jour", "mois", "ds", "ts", "epoch",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column; `sql` gives its typed value (times as TIMESTAMP: of text with a zone, in UTC).

    `form` is how text or a number writes a time: `iso`, a pattern as Spark has it, `epoch_seconds`,
    `epoch_milliseconds`, and for Parquet files `nanoseconds`; `others` are forms that its values have just
    as well. `bad` counts values that do not have the form.
    """

    name: str
    kind: Kind
    sql: str
    distinct: int
    nulls: int
    low: Any = None
    high: Any = None
    form: str = ""
    others: tuple[str, ...] = ()
    comma: bool = False
    zoned: bool = False
    bad: int = 0

    @property
    def quoted(self) -> str:
        """The name as SQL has it."""
        return quote(self.name)

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers."""
        return self.kind in ("integer", "decimal")


def quote(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def sounds_like_time(name: str) -> bool:
    """Whether a name says that the column holds times."""
    return any(part in _TIME_WORDS for part in words_of(name)) or name.lower().endswith(
        ("date", "time", "datum")
    )


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: `unitsSold` and `units_sold` are two."""
    spaced = "".join(
        f" {c}" if c.isupper() and i and name[i - 1].islower() else c for i, c in enumerate(name)
    )
    return "".join(c if c.isalnum() else " " for c in spaced).lower().split()


def columns_of(sample: Sample) -> list[Column]:
    """Every column of the sample in its order; those of structs, lists and bytes are left out."""
    found = []
    for name, kind in sample.columns.items():
        column = _text(sample, name) if kind == "VARCHAR" else _typed(sample, name, kind)
        if column is not None:
            found.append(column)
    return found


def _typed(sample: Sample, name: str, kind: str) -> Column | None:
    quoted = quote(name)
    if kind.startswith(("TIMESTAMP", "DATE")):
        zoned = "TIME ZONE" in kind
        sql = f"make_timestamp(epoch_us({quoted}))" if zoned else f"CAST({quoted} AS TIMESTAMP)"
        form = NANOSECONDS if kind == "TIMESTAMP_NS" and sample.kind == "parquet" else ""
        return _finished(sample, name, "time", sql, zoned=zoned, form=form)
    if kind == "BOOLEAN":
        return _finished(sample, name, "bool", quoted)
    if kind.startswith(("DOUBLE", "FLOAT", "DECIMAL", "REAL")):
        return _finished(sample, name, "decimal", f"CAST({quoted} AS DOUBLE)")
    if kind.endswith(("INT", "INTEGER")):
        return _integer(sample, name)
    return _finished(sample, name, "text", f"CAST({quoted} AS VARCHAR)") if kind in ("UUID",) else None


def _integer(sample: Sample, name: str) -> Column:
    """Whole numbers, which may be times: seconds since 1970, `20240131`, years."""
    quoted = quote(name)
    low, high = sample.one(
        f"SELECT min(try_cast({quoted} AS BIGINT)), max(try_cast({quoted} AS BIGINT)) FROM sample"
    )
    form = _number_form(sample, name, low, high) if low is not None else ""
    if form:
        return _finished(sample, name, "time", moment(quoted, form), form=form, zoned=form in EPOCHS)
    return _finished(sample, name, "integer", f"try_cast({quoted} AS BIGINT)")


def _number_form(sample: Sample, name: str, low: int, high: int) -> str:
    named = sounds_like_time(name)
    for form, (least, most) in _EPOCH_RANGE.items():
        if named and least <= low and high <= most:
            return form
    if low >= 1800_01_01 and high <= 2199_12_31 and _share(sample, name, "yyyyMMdd") == 1:
        return "yyyyMMdd"
    if named and low >= 1800_01 and high <= 2199_12 and _share(sample, name, "yyyyMM") == 1:
        return "yyyyMM"
    return "yyyy" if named and low >= 1800 and high <= 2199 else ""


def _share(sample: Sample, name: str, form: str) -> float:
    """The share of a column's distinct values that have a form."""
    sql = moment(quote(name), form)
    row = sample.one(
        f"SELECT count({sql}) / count(*) FROM (SELECT DISTINCT {quote(name)} FROM sample WHERE {quote(name)} "
        f"IS NOT NULL LIMIT {DISTINCT_LOOKED_AT})"
    )
    return float(row[0] or 0)


_SHAPES = {
    "integer": r"^\s*[+-]?(0|[1-9]\d{0,17})\s*$",
    "decimal": r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$",
    "comma": r"^\s*[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?\s*$",
    "bool": r"^(?i:true|false|yes|no)$",
}


def _text(sample: Sample, name: str) -> Column | None:
    """A column of text: what nearly all of its distinct values are."""
    quoted = quote(name)
    tests = ", ".join(f"avg(CAST(regexp_matches(v, '{shape}') AS INTEGER))" for shape in _SHAPES.values())
    dots = "avg(CAST(contains(v, ',') AS INTEGER))"
    row = sample.one(
        f"SELECT count(*), {tests}, {dots} FROM (SELECT DISTINCT {quoted} AS v FROM sample WHERE {quoted} IS "
        f"NOT NULL LIMIT {DISTINCT_LOOKED_AT})"
    )
    if not row[0]:
        return _finished(sample, name, "text", quoted)
    whole, decimal, comma, truth, dotted = (float(value) for value in row[1:])
    if whole >= NEARLY_ALL:
        return _integer(sample, name)
    if comma >= NEARLY_ALL and dotted > 0:
        sql = f"try_cast(replace(replace({quoted}, '.', ''), ',', '.') AS DOUBLE)"
        return _finished(sample, name, "decimal", sql, comma=True)
    if decimal >= NEARLY_ALL and not _is_dotted_time(sample, name):
        return _finished(sample, name, "decimal", f"try_cast({quoted} AS DOUBLE)")
    if truth == 1:
        return _finished(sample, name, "bool", f"lower({quoted}) IN ('true', 'yes')")
    return _time(sample, name) or _finished(sample, name, "text", quoted)


def _is_dotted_time(sample: Sample, name: str) -> bool:
    """Whether decimals are months such as 2024.01, which hardly any measurement is."""
    return sounds_like_time(name) and _share(sample, name, "yyyy.MM") >= NEARLY_ALL


def _time(sample: Sample, name: str) -> Column | None:
    quoted = quote(name)
    for form in (ZONED, ISO):
        if _share(sample, name, form) >= NEARLY_ALL:
            return _finished(sample, name, "time", moment(quoted, form), form=ISO, zoned=form == ZONED)
    shares = {form: _share(sample, name, form) for form in FORMS}
    best = max(shares, key=lambda form: shares[form])
    if shares[best] < NEARLY_ALL:
        return None
    others = tuple(form for form in shares if form != best and shares[form] == shares[best])
    return _finished(sample, name, "time", moment(quoted, best), form=best, others=others)


def _finished(sample: Sample, name: str, kind: Kind, sql: str, **more: Any) -> Column:
    extent = f"min({sql}), max({sql})" if kind != "text" else "NULL, NULL"
    row = sample.one(
        f"SELECT count(DISTINCT {quote(name)}), count(*) - count({quote(name)}), {extent}, "
        f"count({quote(name)}) - count({sql}) FROM sample"
    )
    return Column(name, kind, sql, int(row[0]), int(row[1]), row[2], row[3], bad=int(row[4]), **more)
