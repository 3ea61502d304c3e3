"""One partition's predictions against the actuals that came since: live errors by age, intervals, drift. Pure
pandas.

The outcome is a list of findings, one per check, each with what it was held against and whether it calls for
a person.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from manymodels_spark.modeling import drift, metrics
from manymodels_spark.modeling.drift import Floats, Shift
from manymodels_spark.spec.model import Spec

LEAST = 7
HISTORY_WINDOWS = 4
ALL = "all"
AFTER_BACKTEST = "live error against the backtest's: retrain (`manymodels train SPEC --only-degraded`)"
ADVICE = {
    "accuracy": AFTER_BACKTEST,
    "bias": "Forecasts lie on one side of the actuals: retrain, and look for a change at the source",
    "coverage": "Intervals are too narrow for what came: retrain, so that they are calibrated on newer "
    "errors",
    "against_naive": "The seasonal naive would have done better: retrain, or add candidates",
    "stability": "The values have another distribution than before: check the source, then retrain",
    "level": "The level has moved: check the source, then retrain",
}


@dataclass(frozen=True)
class Finding:
    """One check of one partition. `check` is a key of ADVICE, `subject` the metric, level or column; `value`
    is held against `reference`; `shift` is the size of the difference that an alert is decided by.

    `age` is `all` or the steps ahead (`1-7`).
    """

    check: str
    subject: str
    age: str
    steps: int
    value: float
    reference: float
    shift: float = 0.0
    threshold: float = math.nan
    p: float = math.nan
    alert: bool = False


@dataclass(frozen=True)
class Judged:
    """What the champion's backtest said: its metric, and how many steps it was judged on."""

    metric: float = math.nan
    steps: int = 0


def watch(actuals: pd.DataFrame, predictions: pd.DataFrame, spec: Spec, judged: Judged) -> list[Finding]:
    """The findings of one partition; none where no actual has come yet for any prediction.

    `actuals` has the time, target and input columns, `predictions` cutoff, time, prediction and the
    intervals' bounds.
    """
    joined = _joined(actuals, predictions, spec)
    if joined.empty:
        return []
    return [*_live(joined, actuals, spec, judged), *_drifts(actuals, joined, spec)]


def window_of(spec: Spec) -> int:
    """Steps of actuals that are judged: as the spec says, else two horizons."""
    return spec.monitor.window or 2 * spec.horizon


def _joined(actuals: pd.DataFrame, predictions: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Predictions whose actual is known, in the newest window: time, actual, prediction, naive, ahead,
    bounds.
    """
    time, target = str(spec.columns.time), spec.columns.target
    series = actuals[[time, target]].sort_values(time).reset_index(drop=True)
    series = series.assign(_place=series.index)
    made = predictions.sort_values(["cutoff", time]).assign(
        ahead=lambda rows: rows.groupby("cutoff").cumcount() + 1
    )
    found = made.merge(series.tail(window_of(spec)).rename(columns={target: "actual"}), on=time)
    found = found[found["actual"].notna() & found["prediction"].notna() & (found[time] > found["cutoff"])]
    season = spec.season_length
    back = found["_place"] - season * np.ceil(found["ahead"] / season).astype(int)
    values = series[target].to_numpy(float)
    naive = [values[place] if place >= 0 else math.nan for place in back]
    return (
        found.assign(naive=naive)
        .rename(columns={time: "time"})
        .sort_values(["time", "cutoff"], ignore_index=True)
    )


def _live(joined: pd.DataFrame, actuals: pd.DataFrame, spec: Spec, judged: Judged) -> list[Finding]:
    """Errors, bias, intervals and the comparison with the seasonal naive: over all, and the errors by age."""
    rules, enough = spec.monitor, len(joined) >= LEAST
    actual, _, errors = _numbers(joined)
    share = drift.effective(errors)
    # Predictions of one time from many cutoffs are not many observations of it.
    share *= joined["time"].nunique() / len(joined)
    value = _metric(joined, actuals, spec)
    found = [
        _finding(
            "accuracy",
            spec.metric,
            joined,
            value,
            judged.metric,
            spec,
            drift.worse(value, judged.metric, errors, judged.steps, rules.worse_by, share)
            if enough
            else None,
        )
    ]
    found.append(
        _finding(
            "bias",
            spec.columns.target,
            joined,
            float(errors.mean()),
            0.0,
            spec,
            drift.bias(errors, float(np.abs(actual).mean()), rules.bias, share) if enough else None,
        )
    )
    found += _coverages(joined, spec, share, enough)
    found += _naive(joined, spec, enough)
    for name, part in _ages(joined, spec):
        found.append(
            Finding("accuracy", spec.metric, name, len(part), _metric(part, actuals, spec), judged.metric)
        )
    return found


def _coverages(joined: pd.DataFrame, spec: Spec, share: float, enough: bool) -> list[Finding]:
    found = []
    for level in spec.backtest.intervals:
        known = (
            joined.dropna(subset=[f"lower_{level}", f"upper_{level}"])
            if f"lower_{level}" in joined
            else joined.head(0)
        )
        if len(known):
            inside = (
                (known["actual"] >= known[f"lower_{level}"]) & (known["actual"] <= known[f"upper_{level}"])
            ).to_numpy(bool)
            shift = drift.coverage(inside, level / 100, spec.monitor.coverage, share) if enough else None
            found.append(
                _finding("coverage", str(level), known, float(inside.mean()), level / 100, spec, shift)
            )
    return found


def _naive(joined: pd.DataFrame, spec: Spec, enough: bool) -> list[Finding]:
    known = joined.dropna(subset=["naive"])
    if known.empty:
        return []
    own, other = (
        known[name].to_numpy(float) - known["actual"].to_numpy(float) for name in ("prediction", "naive")
    )
    shift = (
        drift.beaten(_by_time(known, own), _by_time(known, other), spec.monitor.worse_by) if enough else None
    )
    return [
        _finding(
            "against_naive", "mae", known, float(np.abs(own).mean()), float(np.abs(other).mean()), spec, shift
        )
    ]


def _drifts(actuals: pd.DataFrame, joined: pd.DataFrame, spec: Spec) -> list[Finding]:
    """The target and every numeric input of the judged window against the windows before it."""
    rows = actuals.sort_values(str(spec.columns.time)).tail((1 + HISTORY_WINDOWS) * window_of(spec))
    fresh = int((rows[str(spec.columns.time)] >= joined["time"].min()).sum())
    known = len(rows) - fresh
    if fresh < LEAST or known < 2 * LEAST:
        return []
    found = []
    for name in (spec.columns.target, *spec.columns.known_future, *spec.columns.features):
        values = pd.to_numeric(rows[name], errors="coerce").to_numpy(float) if name in rows else np.array([])
        if len(values) and np.isfinite(values).all():
            found += _drift(name, values, known, spec)
    return found


def _drift(name: str, values: Floats, known: int, spec: Spec) -> list[Finding]:
    plain = drift.without_season(values, spec.season_length, known)
    before, after = plain[:known], plain[known:]
    share = drift.effective(before)
    stable = drift.stability(before, after, spec.monitor.stability, share)
    moved = drift.level(before, after, share)
    middle = (float(np.median(values[known:])), float(np.median(values[:known])))
    return [
        _checked(Finding("stability", name, ALL, len(after), stable.value, 0.0), stable, spec),
        _checked(Finding("level", name, ALL, len(after), *middle), moved, spec),
    ]


def _finding(
    check: str,
    subject: str,
    part: pd.DataFrame,
    value: float,
    reference: float,
    spec: Spec,
    shift: Shift | None,
) -> Finding:
    plain = Finding(check, subject, ALL, len(part), value, reference)
    return plain if shift is None else _checked(plain, shift, spec)


def _checked(finding: Finding, shift: Shift, spec: Spec) -> Finding:
    from dataclasses import replace

    alert = shift.beyond(spec.monitor.significance)
    return replace(finding, shift=shift.value, threshold=shift.threshold, p=shift.p, alert=alert)


def _metric(part: pd.DataFrame, actuals: pd.DataFrame, spec: Spec) -> float:
    actual, predicted, _ = _numbers(part)
    past = (
        actuals[actuals[str(spec.columns.time)] < part["time"].min()][spec.columns.target]
        .dropna()
        .to_numpy(float)
    )
    return metrics.of_numbers(actual, predicted, past, spec.season_length).get(spec.metric, math.nan)


def _ages(joined: pd.DataFrame, spec: Spec) -> Sequence[tuple[str, pd.DataFrame]]:
    """The predictions by how many steps ahead they were made: a season at a time, at most eight groups."""
    width = max(spec.season_length, -(-spec.horizon // 8)) if spec.horizon > 1 else 1
    group = (joined["ahead"] - 1) // width
    return [(f"{int(n) * width + 1}-{int(n + 1) * width}", part) for n, part in joined.groupby(group)]


def _numbers(part: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    actual, predicted = part["actual"].to_numpy(float), part["prediction"].to_numpy(float)
    return actual, predicted, predicted - actual


def _by_time(known: pd.DataFrame, errors: Floats) -> Floats:
    """One error per time: the mean over the cutoffs that predicted it."""
    return np.asarray(pd.Series(np.abs(errors)).groupby(known["time"].to_numpy()).mean(), np.float64)
