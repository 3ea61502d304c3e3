"""Files with one column per series, or per time: recognised, and unrolled to a row per value.

A lone series is such a file, too: one column of values, whose name becomes the series' name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manymodels_spark.discover.columns import Column, quote
from manymodels_spark.discover.questions import Answers, Question
from manymodels_spark.discover.sample import Sample
from manymodels_spark.discover.time_forms import FORMS, ISO, moment
from manymodels_spark.errors import SourceError

# Fewer columns of numbers beside a time are more likely a series with its inputs.
LEAST_SERIES = 4
LEAST_TIMES, LEAST_STEPS = 4, 8
_LIKE_TIMES = 0.9
_DIGITS = "0123456789"


@dataclass(frozen=True)
class Melt:
    """How columns become rows: those in `keep` stay, each other one becomes a row with its name in column
    `name` and its value in column `values`.
    """

    keep: tuple[str, ...]
    name: str
    values: str

    def as_dict(self) -> dict[str, Any]:
        """As a spec has it."""
        return {"keep": list(self.keep), "name": self.name, "values": self.values}


def times_in_header(sample: Sample, columns: Sequence[Column]) -> Melt | None:
    """Where most names of columns are times, the file has a column per time."""
    names = [one.name for one in columns]
    if len(names) < LEAST_TIMES:
        return None
    sample.db.execute("CREATE OR REPLACE TEMP TABLE header AS SELECT unnest($1) AS n", [names])
    for form in (ISO, *FORMS):
        said = {
            str(row[0]) for row in sample.all(f"SELECT n FROM header WHERE {moment('n', form)} IS NOT NULL")
        }
        numbers = {one.name for one in columns if one.is_number}
        if len(said) >= LEAST_TIMES and said <= numbers and len(said) >= _LIKE_TIMES * len(numbers):
            keep = tuple(name for name in names if name not in said)
            return Melt(keep, _free("date", names), _free("value", names))
    return None


def series_in_columns(time: Column, columns: Sequence[Column], answers: Answers) -> Melt | None:
    """Where nothing but numbers stands beside the time, and many of them, each column may be a series."""
    others = [one for one in columns if one is not time]
    names = [one.name for one in others if one.is_number]
    numbered = len({name.rstrip(_DIGITS) for name in names}) == 1
    least = 2 if numbered else LEAST_SERIES
    if len(names) < least or len(names) < len(others) or answers.given.get("target") in names:
        return None
    alike = numbered or len(names) >= 12
    shape = answers.get(
        Question(
            "shape",
            f"Is each of the {len(names)} columns {', '.join(names[:3])}, ... a series of its own?",
            "wide" if alike else "long",
            "one time and only numbers beside it" + (", with names alike" if alike else ""),
            ("wide", "long"),
        )
    )
    return Melt((time.name,), "series", "value") if shape == "wide" else None


def refuse_steps_in_columns(name: str, columns: Sequence[Column]) -> None:
    """Raise SourceError for a row per series with a column per step, whose times nothing says."""
    texts = [one.name for one in columns if one.kind == "text" and one.nulls == 0]
    numbers = [one.name for one in columns if one.is_number]
    if len(texts) == 1 and len(numbers) >= LEAST_STEPS and len({one.rstrip(_DIGITS) for one in numbers}) == 1:
        raise SourceError(
            f"{name} is wide: a row for each {texts[0]}, a column for each step, and nothing says when they "
            f"are. Write the spec with `wide: {{id: {texts[0]}, start: 2020-01-01, frequency: W}}` below the "
            "source's path, with the first step's time and the frequency (docs/spec.md)"
        )


def lone_series(time: Column, target: Column, columns: Sequence[Column]) -> Melt:
    """The melt of a single series, which gives it a column that says its name."""
    keep = tuple(one.name for one in columns if one is not target)
    return Melt((time.name, *(name for name in keep if name != time.name)), "series", _free("value", keep))


def unroll(sample: Sample, melt: Melt) -> None:
    """Do to table `sample` what the spec's `melt` does to the source."""
    others = [quote(name) for name in sample.columns if name not in melt.keep]
    keep = [quote(name) for name in melt.keep]
    selected = ", ".join([*keep, *(f"CAST({name} AS VARCHAR) AS {name}" for name in others)])
    sample.db.execute(
        f"CREATE TABLE unrolled AS UNPIVOT (SELECT {selected} FROM sample) ON {', '.join(others)} INTO NAME "
        f"{quote(melt.name)} VALUE {quote(melt.values)}"
    )
    sample.db.execute("DROP TABLE sample; ALTER TABLE unrolled RENAME TO sample")
    sample.options["melt"] = melt.as_dict()


def _free(name: str, taken: Sequence[str]) -> str:
    return name if name not in taken else f"{name}_"
