"""What is known of the steps between a model's last row and the end of its forecast. Pure pandas.

Silver counts for days that have passed, the newest calendar for those to come.
"""

from __future__ import annotations

import pandas as pd

from manymodels_spark.spec.frequency import pandas_step
from manymodels_spark.spec.model import Spec

# Marks of the rows that scoring is given: the calendar's own, and a table's rows that are to be predicted.
FROM_CALENDAR, DUE = "_from_calendar", "_due"


def known_ahead(
    rows: pd.DataFrame, spec: Spec, trained_until: pd.Timestamp | None, cutoff: pd.Timestamp
) -> pd.DataFrame:
    """What is known of each step: the time, the known-future columns and the one that says closed.

    Args:
        rows: a partition's rows of silver, and of the calendar where column `_from_calendar` is true.
        spec: the columns and the frequency.
        trained_until: the time of the model's last training row, None where that is not known.
        cutoff: the time that the forecast follows. A step up to it of which nothing is known, because it had
            no row, takes the values of the step before it, as training does.

    Returns:
        Columns time, known-future (float) and `prepare.closed.column` (boolean), sorted by time; a step after
        the cutoff may still lack values.

    """
    time, closed = str(spec.columns.time), spec.prepare.closed.column
    if FROM_CALENDAR in rows:
        rows = rows.sort_values(FROM_CALENDAR, ascending=False, kind="stable")
    known = _known(rows, spec, trained_until, cutoff)
    if closed is None or closed in known or closed not in rows:
        return known
    said = rows.groupby(time)[closed].last().astype("boolean").fillna(False)
    return known.assign(**{closed: said.reindex(known[time], fill_value=False).to_numpy(dtype=bool)})


def _known(
    rows: pd.DataFrame, spec: Spec, trained_until: pd.Timestamp | None, cutoff: pd.Timestamp
) -> pd.DataFrame:
    """The steps with the known-future columns; of rows of one time the last ones count."""
    time, names = str(spec.columns.time), list(spec.columns.known_future)
    # `last` skips missing values: a price that silver lacks is the calendar's.
    grouped = rows.groupby(time)
    known = grouped[names].last().astype("float64") if names else grouped.first()[[]]
    if trained_until is None or trained_until >= cutoff:
        return known.reset_index()
    steps = pd.date_range(trained_until, cutoff, freq=pandas_step(spec.columns.frequency))
    whole = known.reindex(known.index.union(steps[steps > trained_until]))
    past = whole.index <= cutoff
    whole.loc[past] = whole.loc[past].ffill().bfill()
    return whole.rename_axis(time).reset_index()
