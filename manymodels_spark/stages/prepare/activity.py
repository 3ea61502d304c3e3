"""Through when partitions are complete, and which of them are inactive. Pure Python, from the census's facts.

A source that only has rows with a sale says nothing of the days without one: until when it is complete is
what `prepare.until` says, and a partition without demand for `prepare.inactive_after` steps is inactive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from manymodels_spark.spec.frequency import step_of
from manymodels_spark.spec.model import Spec

# A row's wall time may be ahead of the time of its copy, which is in UTC.
_AHEAD = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Activity:
    """`until` is the time through which partitions are complete, None where each ends with its own last row;
    `now` is what inactivity is counted from.
    """

    spec: Spec
    until: pd.Timestamp | None
    now: pd.Timestamp | None

    @classmethod
    def of(cls, facts: Iterable[Mapping[str, Any]], spec: Spec) -> Activity:
        """From each partition's `last` (time of its newest row) and `copied_at`, as text, of a forecast."""
        rule = spec.prepare.until or ("latest" if spec.prepare.gaps == "zero" else "last_row")
        facts = list(facts)
        newest = newest_time(facts) if spec.task == "forecast" else None
        if newest is None or rule == "last_row":
            return cls(spec, None, newest)
        if rule == "latest":
            return cls(spec, newest, newest)
        end_of_day = pd.Timestamp(rule) + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
        return cls(spec, end_of_day, end_of_day)

    def is_inactive(self, facts: Mapping[str, Any]) -> bool:
        """Whether a partition has had no demand (a target that is there and not 0) in the last
        `prepare.inactive_after` steps; one that never had any is counted from its first row.
        """
        after = self.spec.prepare.inactive_after
        if after is None or self.now is None or facts["last"] is None:
            return False
        since = pd.Timestamp(facts["last_demand"] or facts["first"])
        return steps_between(since, self.now, self.spec.columns.frequency) >= after


def newest_time(facts: Iterable[Mapping[str, Any]]) -> pd.Timestamp | None:
    """The newest time that any partition has a row for; None where there is none.

    A row from after its own copy has a wrong date, and would have every partition filled up to it: such rows
    do not count, unless no partition ends before them.
    """
    ends = [
        (pd.Timestamp(one["last"]), pd.Timestamp(one["copied_at"]))
        for one in facts
        if one["last"] is not None
    ]
    if not ends:
        return None
    copied_at = max(copied for _, copied in ends)
    past = [last for last, _ in ends if last <= copied_at + _AHEAD]
    return max(past or [last for last, _ in ends])


def steps_between(first: pd.Timestamp, last: pd.Timestamp, frequency: str) -> int:
    """Whole steps of a frequency from one time to a later one; below 0 where it is earlier."""
    step = step_of(frequency)
    if step.months:
        return ((last.year - first.year) * 12 + last.month - first.month) // step.months
    return int((last - first) // pd.Timedelta(seconds=step.seconds))
