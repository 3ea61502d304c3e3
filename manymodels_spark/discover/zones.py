"""The time zone of times below a day: by the distances from UTC that text names, else a question."""

from __future__ import annotations

from manymodels_spark.discover.columns import Column
from manymodels_spark.discover.frequency import Rhythm
from manymodels_spark.discover.questions import Answers, Question
from manymodels_spark.discover.sample import Sample
from manymodels_spark.discover.time_forms import ISO
from manymodels_spark.errors import SourceError
from manymodels_spark.spec.frequency import step_of

_DAY = 86_400
# One zone for each pair of distances (winter and summer, hours), of those with the same clock.
_ZONES: dict[tuple[int, ...], str] = {
    (1, 2): "Europe/Madrid", (0, 1): "Europe/London", (2, 3): "Europe/Athens", (-5, -4): "America/New_York",
    (-6, -5): "America/Chicago", (-7, -6): "America/Denver", (-8, -7): "America/Los_Angeles",
    (10, 11): "Australia/Sydney",
}  # fmt: skip


def zone_of(sample: Sample, time: Column, rhythm: Rhythm | None, answers: Answers) -> str:
    """The zone for `prepare.timezone`; UTC for days and longer without a zone."""
    zone = _answered(sample, time, rhythm, answers)
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SourceError(
            f"timezone: {zone!r} is no time zone. Expected a name such as Europe/Madrid"
        ) from error
    return zone


def _answered(sample: Sample, time: Column, rhythm: Rhythm | None, answers: Answers) -> str:
    below_a_day = rhythm is not None and step_of(rhythm.frequency).seconds < _DAY
    hours = _distances(sample, time)
    if hours == (0,) or (not hours and not below_a_day):
        return answers.given_or("timezone", "UTC")
    text = "On which clock are days counted (a time zone such as Europe/Madrid)?"
    if not hours:
        why = "times name no zone" if not time.zoned else "times are instants, which name no clock"
        return answers.get(Question("timezone", text, "UTC", why))
    guess = _ZONES.get(hours, f"Etc/GMT{-hours[0]:+d}" if len(hours) == 1 else "UTC")
    named = " and ".join(f"{hour:+03d}:00" for hour in hours)
    return answers.get(Question("timezone", text, guess, f"times are {named} from UTC"))


def _distances(sample: Sample, time: Column) -> tuple[int, ...]:
    """The hours from UTC that text names, in order; empty where it names none."""
    if not time.zoned or time.form != ISO:
        return ()
    zone = f"regexp_extract({time.quoted}, '(Z|[+-]\\d{{2}}):?\\d{{0,2}}$', 1)"
    rows = sample.all(f"SELECT DISTINCT {zone} FROM sample WHERE {time.quoted} IS NOT NULL")
    return tuple(sorted({0 if row[0] in ("Z", "") else int(row[0]) for row in rows}))
