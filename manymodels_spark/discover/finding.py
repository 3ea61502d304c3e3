"""What a source is, worked out step by step from its sample: `discover` and the `Finding` that it makes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from manymodels_spark.discover import frequency, roles, wide
from manymodels_spark.discover.columns import Column, columns_of
from manymodels_spark.discover.keys import Keys, forecast_keys, named_series, table_keys
from manymodels_spark.discover.questions import Answers, Question
from manymodels_spark.discover.sample import Sample
from manymodels_spark.discover.shape import Shape, shape_of
from manymodels_spark.discover.time_forms import moment
from manymodels_spark.discover.zones import zone_of
from manymodels_spark.errors import SourceError
from manymodels_spark.spec.frequency import STEPS, WEEKDAYS

_FOLDS = 3


@dataclass(frozen=True)
class Finding:
    """All that a spec says of a source, and what a picture of it shows."""

    name: str
    task: str
    sample: Sample
    columns: list[Column]
    time: Column | None
    target: Column
    keys: Keys
    rhythm: frequency.Rhythm | None
    shape: Shape
    static: list[Column]
    varying: list[Column]
    place: tuple[Column, list[str]] | None
    horizon: int
    timezone: str
    answers: Answers
    is_wide: bool = False
    is_lone: bool = False

    @property
    def frequency(self) -> str:
        """The frequency as a spec names it."""
        given = self.answers.given.get("frequency")
        return given or (self.rhythm.frequency if self.rhythm else "D")


def discover(sample: Sample, answers: Answers | None = None) -> Finding:
    """Find out what the columns of a sample are.

    Args:
        sample: an opened source; it is unrolled where it has one column per series.
        answers: what is known in advance, and whom to ask.

    Returns:
        What was found, with every question and its answer.

    Raises:
        SourceError: where no spec can be made of the source, with what is missing.

    """
    answers = answers or Answers()
    columns, time, is_wide = _long(sample, answers)
    task = roles.task_of(columns, time, answers)
    if task == "forecast" and time is None:
        raise SourceError(f"{sample.name} has no column of times, which a forecast requires.{_has(columns)}")
    target = roles.target_of(columns, time, task, answers)
    return _Roles(sample, answers, columns, time, target, task, is_wide).found()


def _long(sample: Sample, answers: Answers) -> tuple[list[Column], Column | None, bool]:
    """The columns with a row per value, the one of times, and whether the source had a column per series."""
    columns = columns_of(sample)
    melt = wide.times_in_header(sample, columns)
    if melt is not None:
        wide.unroll(sample, melt)
        columns = columns_of(sample)
    time = roles.time_of(columns, answers)
    if time is None:
        wide.refuse_steps_in_columns(sample.name, columns)
        return columns, None, melt is not None
    time = _unambiguous(sample, time, answers)
    if melt is None and sample.kind != "jdbc":
        melt = _series_in_columns(sample, time, columns, answers)
        columns = columns_of(sample) if melt else columns
        time = _again(columns, time) if melt else time
    return [time if one.name == time.name else one for one in columns], time, melt is not None


def _again(columns: Sequence[Column], time: Column) -> Column:
    """The column of times after the sample was unrolled, with the form that is known."""
    found = next(one for one in columns if one.name == time.name)
    return replace(found, sql=time.sql, form=time.form, others=())


def _series_in_columns(
    sample: Sample, time: Column, columns: Sequence[Column], answers: Answers
) -> wide.Melt | None:
    repeated = sample.one(f"SELECT count({time.quoted}) - count(DISTINCT {time.quoted}) FROM sample")[0]
    melt = None if repeated else wide.series_in_columns(time, columns, answers)
    if melt is not None:
        wide.unroll(sample, melt)
    return melt


def _has(columns: Sequence[Column]) -> str:
    return f" It has: {', '.join(f'{one.name} ({one.kind})' for one in columns)}"


@dataclass
class _Roles:
    """The columns with a row per value, on the way to a finding."""

    sample: Sample
    answers: Answers
    columns: list[Column]
    time: Column | None
    target: Column
    task: str
    is_wide: bool
    is_lone: bool = False

    def found(self) -> Finding:
        """The finding: keys, rhythm and shape, and what the columns that are left are."""
        sample, answers = self.sample, self.answers
        keys = self._keys()
        others = [one for one in self.columns if one not in (self.time, self.target, *keys.columns)]
        static = roles.constant_within(sample, keys.columns, others)
        rhythm = self._rhythm(keys)
        shape = shape_of(sample, rhythm, by_time=self.task == "forecast")
        return Finding(
            name=_name(sample.name),
            task=self.task,
            sample=sample,
            columns=self.columns,
            time=self.time,
            target=self.target,
            keys=keys,
            rhythm=rhythm,
            shape=shape,
            static=static,
            varying=[one for one in others if one not in static],
            place=roles.place_of(sample, [*static, *keys.columns]),
            horizon=_horizon(shape, rhythm, answers) if self.task == "forecast" else 1,
            timezone=self._timezone(rhythm),
            answers=answers,
            is_wide=self.is_wide,
            is_lone=self.is_lone,
        )

    def _rhythm(self, keys: Keys) -> frequency.Rhythm | None:
        if self.time is None:
            return None
        rhythm = _rhythm(self.sample, self.time, self.target, keys.columns)
        return _frequency(rhythm, self.answers) if self.task == "forecast" else rhythm

    def _timezone(self, rhythm: frequency.Rhythm | None) -> str:
        if self.time is None or self.task != "forecast":
            return self.answers.given_or("timezone", "UTC")
        return zone_of(self.sample, self.time, rhythm, self.answers)

    def _keys(self) -> Keys:
        if self.time is None or self.task != "forecast":
            return table_keys(self.sample, self.columns, self.time, self.target, self.answers)
        keys = forecast_keys(self.sample, self.columns, self.time, self.target, self.answers)
        keys = keys if keys.columns else named_series(self.columns, keys)
        if not keys.columns:
            self.is_lone = True
            self.columns, self.time, self.target, keys = _with_a_name(
                self.sample, self.columns, self.time, self.target
            )
        return keys


def _with_a_name(
    sample: Sample, columns: list[Column], time: Column, target: Column
) -> tuple[list[Column], Column, Column, Keys]:
    """A lone series, given a column that tells it apart, which every spec requires."""
    if sample.kind == "jdbc":
        table = sample.options.pop("table")
        sample.options["query"] = f"SELECT 'all' AS series, source.* FROM {table} source"
        sample.db.execute("ALTER TABLE sample ADD COLUMN series VARCHAR DEFAULT 'all'")
    else:
        melt = wide.lone_series(time, target, columns)
        wide.unroll(sample, melt)
        target = replace(target, name=melt.values)
    again = {one.name: one for one in columns_of(sample)}
    time = _again(list(again.values()), time)
    found = [time if one.name == time.name else one for one in again.values()]
    return found, time, again[target.name], Keys([again["series"]], 1, 0)


def _rhythm(sample: Sample, time: Column, target: Column, keys: Sequence[Column]) -> frequency.Rhythm:
    """The rhythm of the sample, whose partitions become table `series` (k0, k1, ..., t, y)."""
    named = [f"k{number}" for number in range(len(keys))]
    selected = [f"{column.quoted} AS {name}" for column, name in zip(keys, named, strict=True)]
    selected += [f"{time.sql} AS t", f"{target.sql if target.is_number else 1} AS y"]
    sample.db.execute(
        f"CREATE OR REPLACE TABLE series AS SELECT {', '.join(selected)} "
        f"FROM sample WHERE {time.sql} IS NOT NULL"
    )
    return frequency.rhythm_of(sample, named)


def _unambiguous(sample: Sample, time: Column, answers: Answers) -> Column:
    """Where day and month may be exchanged, the form in which the times are the more regular."""
    if not time.others:
        return time
    forms = (time.form, *time.others)
    steady = {form: frequency.steadiness(sample, moment(time.quoted, form)) for form in forms}
    guess = max(forms, key=lambda form: steady[form])
    why = f"{time.name} such as {_example(sample, time)} reads as each of {', '.join(forms)}"
    question = Question("time_format", "How are the times written?", guess, why, forms)
    form = answers.get(question)
    return replace(time, form=form, sql=moment(time.quoted, form), others=())


def _example(sample: Sample, time: Column) -> str:
    return str(sample.one(f"SELECT {time.quoted} FROM sample WHERE {time.quoted} IS NOT NULL LIMIT 1")[0])


def _frequency(rhythm: frequency.Rhythm, answers: Answers) -> frequency.Rhythm:
    """The rhythm, by an answer where the rows do not show it."""
    options = (*STEPS, *(f"W-{day}" for day in WEEKDAYS))
    if rhythm.known and rhythm.regular >= 0.5:
        given = answers.given_or("frequency", rhythm.frequency, options)
        return rhythm if given == rhythm.frequency else replace(rhythm, frequency=given)
    why = f"most steps are of {rhythm.seconds:,.0f} seconds, and {rhythm.regular:.0%} of them are regular"
    question = Question("frequency", "How often does a value come?", rhythm.frequency, why, options)
    return replace(rhythm, frequency=answers.get(question))


def _horizon(shape: Shape, rhythm: frequency.Rhythm | None, answers: Answers) -> int:
    """What is usual at the frequency, unless the median partition is too short for three folds of it."""
    step = "" if rhythm is None else rhythm.frequency
    usual = frequency.HORIZONS.get("W" if step.startswith("W-") else step, 1)
    longest = max(1, shape.lengths.median // (2 * _FOLDS))
    guess = str(min(usual, longest))
    given = answers.given_or("horizon", guess)
    if not given.isdigit() or int(given) < 1:
        raise SourceError(f"horizon: {given!r} is no number of steps. A whole number from 1 is expected")
    return int(given)


def _name(source: str) -> str:
    """A name for the spec from that of the file or table."""
    last = Path(source.split()[-1].replace("*", "").rstrip("/")).name.split(".")
    stem = last[-1] if " " in source else last[0]
    slug = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:40] or "series"
    return slug if slug[0].isalpha() else f"s_{slug}"
