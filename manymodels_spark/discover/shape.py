"""The figures of a sample's series, for the picture in the terminal: lengths, gaps, zeros, and the course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manymodels_spark.discover.frequency import Rhythm
from manymodels_spark.discover.sample import Sample

BINS, POINTS = 12, 60


@dataclass(frozen=True)
class Lengths:
    """Rows of a partition, of a forecast its different times; `bins` counts partitions in equal ranges from
    the shortest to the longest.
    """

    shortest: int
    median: int
    longest: int
    bins: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """Figures of all series together; `course` is the sum of the target over equal spans of time."""

    rows: int
    lengths: Lengths
    first: Any = None
    last: Any = None
    zeros: float = 0.0
    negatives: int = 0
    missing: int = 0
    gaps: int = 0
    mean: float = 0.0
    whole: bool = False
    course: tuple[float, ...] = ()


def shape_of(sample: Sample, rhythm: Rhythm | None, *, by_time: bool) -> Shape:
    """The shape of table `series`, or of the sample's rows where it has no time; `by_time` counts rows of
    the same time once.
    """
    if rhythm is None:
        return Shape(sample.rows, Lengths(sample.rows, sample.rows, sample.rows, ()))
    keys = ", ".join(name for name in _series_columns(sample) if name.startswith("k"))
    first, last, zeros, negatives, missing, mean, whole = sample.one(
        "SELECT min(t), max(t), avg(CAST(y = 0 AS INTEGER)), count(*) FILTER (y < 0), count(*) - count(y), "
        "avg(y), bool_and(y = round(y)) FROM series"
    )
    counting = "count(DISTINCT t)" if by_time else "count(*)"
    lengths = _lengths(sample, f"GROUP BY {keys}" if keys else "", counting)
    return Shape(
        sample.rows, lengths, first, last, float(zeros or 0), int(negatives), int(missing), rhythm.gaps,
        float(mean or 0), bool(whole), _course(sample),
    )  # fmt: skip


def _series_columns(sample: Sample) -> list[str]:
    return [str(row[0]) for row in sample.all("DESCRIBE series")]


def _lengths(sample: Sample, by: str, counting: str) -> Lengths:
    counted = f"(SELECT {counting} AS n FROM series {by})"
    low, middle, high = (
        int(value or 0) for value in sample.one(f"SELECT min(n), median(n), max(n) FROM {counted}")
    )
    width = max((high - low) / BINS, 1e-9)
    rows = sample.all(
        f"SELECT least(floor((n - {low}) / {width}), {BINS - 1}), count(*) FROM {counted} GROUP BY 1"
    )
    found = {int(place): int(count) for place, count in rows}
    return Lengths(
        low, middle, high, tuple(found.get(place, 0) for place in range(BINS if high > low else 1))
    )


def _course(sample: Sample) -> tuple[float, ...]:
    """The mean of the target in equal spans of time, empty spans left out."""
    rows = sample.all(
        f"SELECT floor((epoch(t) - a) / greatest(b - a, 1) * {POINTS - 1}) AS p, avg(y) FROM series, (SELECT "
        "min(epoch(t)) AS a, max(epoch(t)) AS b FROM series) GROUP BY p ORDER BY p"
    )
    return tuple(float(value) for _, value in rows if value is not None)
