"""The frequency of times, how regular they are, and on which weekdays nothing ever is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manymodels_spark.discover.sample import Sample
from manymodels_spark.spec.frequency import step_of

DAY = 86_400
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Names of frequencies in a sentence.
EVERY = {
    "min": "minute", "15min": "15 minutes", "30min": "half hour", "h": "hour", "D": "day", "B": "working day",
    "W": "week", "MS": "month", "ME": "month", "QS": "quarter", "QE": "quarter", "YS": "year", "YE": "year",
}  # fmt: skip
HORIZONS = {
    "min": 60, "15min": 96, "30min": 48, "h": 24, "D": 28, "B": 20, "W": 13,
    "MS": 12, "ME": 12, "QS": 8, "QE": 8, "YS": 4, "YE": 4,
}  # fmt: skip
_BOUNDS = (
    ("min", 30, 120), ("15min", 840, 960), ("30min", 1740, 1860), ("h", 3500, 3700),
    ("D", DAY * 0.95, DAY * 1.05), ("W", DAY * 6.5, DAY * 7.5), ("MS", DAY * 27.5, DAY * 31.5),
    ("QS", DAY * 89, DAY * 93), ("YS", DAY * 364, DAY * 367),
)  # fmt: skip


@dataclass(frozen=True)
class Rhythm:
    """The steps between neighbouring times of a partition.

    `regular` is the share of steps that are one of the frequency, `gaps` the number of missing times
    between the first and last of each partition (closed weekdays aside); `seconds` is the most frequent
    step, and `known` says whether a frequency has it.
    """

    frequency: str
    regular: float
    gaps: int
    seconds: float
    known: bool
    closed: tuple[str, ...] = ()
    closed_by_partition: bool = False

    @property
    def horizon(self) -> int:
        """How far ahead such data are commonly forecast."""
        return HORIZONS[self.frequency]


def rhythm_of(sample: Sample, keys: Sequence[str]) -> Rhythm:
    """The rhythm of table `series` (columns `keys` and `t`) in each combination of keys."""
    by = f"PARTITION BY {', '.join(keys)} " if keys else ""
    steps = sample.all(
        f"SELECT d, count(*) FROM (SELECT epoch(t) - epoch(lag(t) OVER ({by}ORDER BY t)) AS d FROM (SELECT "
        f"DISTINCT {', '.join([*keys, 't'])} FROM series)) WHERE d > 0 GROUP BY d ORDER BY 2 DESC, 1"
    )
    if not steps:
        return Rhythm("D", 0.0, 0, 0.0, known=False)
    usual = float(steps[0][0])
    frequency = next((name for name, low, high in _BOUNDS if low <= usual <= high), None)
    if frequency is None:
        return Rhythm(_nearest(usual), 0.0, 0, usual, known=False)
    frequency = _at_the_end(sample, frequency)
    closed, own = _closed(sample, keys) if frequency == "D" else ((), False)
    if len(closed) > 4:  # one or two days of a week: a week's rhythm on other days
        closed = ()
    length = step_of(frequency).seconds
    lengths = [(round(float(step) / length), int(count), float(step) / length) for step, count in steps]
    total = sum(count for _, count, _ in lengths)
    missing = sum((number - 1) * count for number, count, _ in lengths if number > 1)
    missing -= _closed_steps(sample, keys, closed) if closed else 0
    fitting = sum(
        count for number, count, exact in lengths if number >= 1 and abs(exact - number) < 0.1 * number
    )
    single = sum(count for number, count, _ in lengths if number == 1)
    regular = (fitting if closed else single) / total
    return Rhythm(frequency, regular, max(missing, 0), usual, True, closed, own)


def steadiness(sample: Sample, moment: str) -> float:
    """The share of the steps between distinct times that one frequency has; `moment` is SQL of the time."""
    times = f"SELECT DISTINCT {moment} AS t FROM sample"
    steps = sample.all(
        f"SELECT d, count(*) FROM (SELECT epoch(t) - epoch(lag(t) OVER (ORDER BY t)) AS d FROM ({times})) "
        "WHERE d > 0 GROUP BY d"
    )
    total = sum(count for _, count in steps)
    fitting = (sum(count for step, count in steps if low <= step <= high) for _, low, high in _BOUNDS)
    return max(fitting) / total if total else 0.0


def _nearest(seconds: float) -> str:
    """The frequency whose step is nearest."""
    return min(HORIZONS, key=lambda name: abs(step_of(name).seconds - seconds))


def _at_the_end(sample: Sample, frequency: str) -> str:
    """`ME` for `MS` and so on, where times are the last days of their months."""
    if frequency not in ("MS", "QS", "YS"):
        return frequency
    row = sample.one("SELECT avg(CAST(t = last_day(t) AS INTEGER)) FROM series")
    return f"{frequency[0]}E" if float(row[0] or 0) > 0.9 else frequency


def _closed(sample: Sample, keys: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """The weekdays on which no partition has rows, and whether single partitions have others of their own.

    Only partitions of four weeks and more count.
    """
    by = f"GROUP BY {', '.join(keys)} " if keys else ""
    patterns = sample.all(
        "SELECT p, count(*) FROM (SELECT list_sort(list_distinct(list(isodow(t)))) AS p FROM series "
        f"{by}HAVING date_diff('day', min(t), max(t)) >= 27) GROUP BY p ORDER BY 2 DESC"
    )
    if not patterns:
        return (), False
    present = {day for days, _ in patterns for day in days}
    absent = tuple(name for number, name in enumerate(WEEKDAYS, 1) if number not in present)
    own = sum(count for days, count in patterns if len(days) < len(present))
    total = sum(count for _, count in patterns)
    return absent, own / total > 0 and own / total >= 0.05


def _closed_steps(sample: Sample, keys: Sequence[str], closed: Sequence[str]) -> int:
    """The days between first and last of each partition that fall on closed weekdays.

    Day 0 is a Thursday: weekday n (1 is Monday) is on the days that leave n - 4 when divided by 7.
    """
    counts = " + ".join(
        f"floor((b - {shift}) / 7) - floor((a - 1 - {shift}) / 7)"
        for shift in (WEEKDAYS.index(name) + 1 - 4 for name in closed)
    )
    by = f"GROUP BY {', '.join(keys)}" if keys else ""
    day = f"floor(epoch({{}}) / {DAY})"
    spans = f"SELECT {day.format('min(t)')} AS a, {day.format('max(t)')} AS b FROM series {by}"
    return int(sample.one(f"SELECT sum({counts}) FROM ({spans})")[0] or 0)
