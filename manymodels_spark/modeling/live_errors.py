"""One partition's predictions against the actuals that came since: live errors by age, intervals, drift. Pure
pandas.

The outcome is a list of findings, one per check, each with what it was held against, whether the difference
is large and how likely chance makes it so. Which of them are alerts is decided over all partitions at once
(`monitor`): one test in a thousand fails by chance, and there are thousands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from manymodels_spark.modeling import drift, metrics
from manymodels_spark.modeling.drift import Floats, Shift
from manymodels_spark.modeling.grid import missing_steps
from manymodels_spark.spec.frequency import step_of
from manymodels_spark.spec.model import Spec

LEAST = 7
HISTORY_WINDOWS = 4
FORMER_YEARS = 2
WIDTH = 29  # of the running means that give a former year's level, in steps
NEWEST, NEWEST_PARTS = "newest", (4, 8)  # the newest quarter and eighth of the window
_YEAR_SECONDS = 31_556_952
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

    `age` is `all`, the newest steps of the window (`newest 14`), or the steps ahead (`1-7`).
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
    large: bool = False


def watch(actuals: pd.DataFrame, predictions: pd.DataFrame, spec: Spec) -> list[Finding]:
    """The findings of one partition; none where no actual has come yet for any prediction.

    `actuals` has the time, target and input columns, `predictions` cutoff, time, prediction, the intervals'
    bounds, and in `backtest` the metric that the backtest of the very model gave that made the row (NaN where
    there is none, as for a fallback).
    """
    joined = _joined(actuals, predictions, spec)
    if joined.empty:
        return []
    return [*_live(joined, actuals, spec), *_drifts(actuals, joined, spec)]


def history_of(spec: Spec) -> int:
    """Steps of actuals that `watch` looks at: the windows before the judged one, and the same weeks of two
    former years.
    """
    return (
        (1 + HISTORY_WINDOWS) * window_of(spec)
        + 2 * spec.season_length
        + FORMER_YEARS * year_of(spec)
        + WIDTH
    )


def year_of(spec: Spec) -> int:
    """Steps in a year, in whole seasons, so that a weekday meets the same weekday; 0 where the main season is
    a year already, or a step is one.
    """
    season, steps = max(spec.season_length, 1), _YEAR_SECONDS / step_of(spec.columns.frequency).seconds
    whole = round(steps / season) * season
    return 0 if steps < 2 or season >= steps / 2 else whole


def window_of(spec: Spec) -> int:
    """Steps of actuals that are judged: as the spec says, else two horizons."""
    return spec.monitor.window or 2 * spec.horizon


def _joined(actuals: pd.DataFrame, predictions: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Predictions whose actual is known, in the newest window: time, actual, prediction, naive, ahead,
    bounds.
    """
    time, target = str(spec.columns.time), spec.columns.target
    series = actuals[[time, target]].sort_values(time).reset_index(drop=True)
    made = predictions.sort_values(["cutoff", time]).assign(
        ahead=lambda rows: rows.groupby("cutoff").cumcount() + 1
    )
    found = made.merge(series.tail(window_of(spec)).rename(columns={target: "actual"}), on=time)
    found = found[found["actual"].notna() & found["prediction"].notna() & (found[time] > found["cutoff"])]
    return (
        _with_naive(found, series, spec)
        .rename(columns={time: "time"})
        .sort_values(["time", "cutoff"], ignore_index=True)
    )


def _with_naive(found: pd.DataFrame, series: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Columns `ahead`, in steps of the frequency, and `naive`, the value whole seasons before: NaN where the
    partition was closed then, or has no row.
    """
    time, season = str(spec.columns.time), spec.season_length
    times = pd.DatetimeIndex(series[time])
    grid = times.union(missing_steps(times, spec.columns.frequency))
    values = series.drop_duplicates(time).set_index(time)[spec.columns.target].reindex(grid).to_numpy(float)
    place = grid.get_indexer(pd.DatetimeIndex(found[time]))
    cutoff = grid.searchsorted(pd.DatetimeIndex(found["cutoff"]), side="right") - 1
    # Of a forecast from before the history only its own rows can be counted.
    ahead = np.where(cutoff >= 0, place - cutoff, found["ahead"])
    back = place - season * np.ceil(ahead / season).astype(int)
    return found.assign(ahead=ahead, naive=np.where(back >= 0, values[np.maximum(back, 0)], math.nan))


def _live(joined: pd.DataFrame, actuals: pd.DataFrame, spec: Spec) -> list[Finding]:
    """Errors, bias, intervals and the comparison with the seasonal naive: over all, and the errors by age."""
    enough = len(joined) >= LEAST
    _, _, errors = _numbers(joined)
    # Predictions of one time from many cutoffs are not many observations of it.
    share = drift.effective(_by_time(joined, errors)) * joined["time"].nunique() / len(joined)
    found = [_accuracy(joined, actuals, spec, share), *_biases(joined, spec)]
    found += _coverages(joined, spec, share, enough)
    found += _naive(joined, spec, enough)
    for name, part in _ages(joined, spec):
        value, reference = _metric(part, actuals, spec), _backtest(part, spec)
        found.append(Finding("accuracy", spec.metric, name, len(part), value, reference))
    return found


def _accuracy(joined: pd.DataFrame, actuals: pd.DataFrame, spec: Spec, share: float) -> Finding:
    """The live error against the backtest of the models that made the predictions, each by its own; without
    what no backtest judged, unless that is all.
    """
    known = joined.dropna(subset=["backtest"])
    part = known if len(known) else joined
    value, reference = _metric(part, actuals, spec), _backtest(part, spec)
    errors, steps = _numbers(part)[2], spec.backtest.folds * spec.horizon
    shift = drift.worse(value, reference, errors, steps, spec.monitor.worse_by, share)
    return _finding(
        "accuracy", spec.metric, part, value, reference, spec, shift if len(part) >= LEAST else None
    )


def _backtest(part: pd.DataFrame, spec: Spec) -> float:
    """What the backtests promised for these rows: the mean over them, weighted as the metric weighs them."""
    known = part.dropna(subset=["backtest"])
    weights = known["actual"].abs() if spec.metric == "wape" else known["actual"] * 0 + 1
    total = float(weights.sum())
    return float((known["backtest"] * weights).sum()) / total if total > 0 else math.nan


def _biases(joined: pd.DataFrame, spec: Spec) -> list[Finding]:
    """The mean error over the whole window, and over its newest steps against the spread of those before: a
    change is to be found within days.
    """
    errors, sizes = (_by_time(joined, part) for part in (_numbers(joined)[2], _numbers(joined)[1]))
    limit = spec.monitor.bias
    plain = Finding("bias", spec.columns.target, ALL, len(joined), float(errors.mean()), 0.0)
    if len(errors) < LEAST:
        return [plain]
    scale = float(np.abs(sizes).mean())
    found = [_checked(plain, drift.bias(errors, scale, limit, drift.effective(errors)), spec)]
    for recent in sorted({max(LEAST, window_of(spec) // parts) for parts in NEWEST_PARTS}):
        if len(errors) >= recent + 2 * LEAST:
            before, newest = errors[:-recent], errors[-recent:]
            shift = drift.bias(
                newest, float(np.abs(sizes[-recent:]).mean()), limit, drift.effective(before), before
            )
            plain = replace(plain, age=f"{NEWEST} {recent}", steps=recent, value=float(newest.mean()))
            found.append(_checked(plain, shift, spec))
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
        drift.beaten(_by_time(known, np.abs(own)), _by_time(known, np.abs(other)), spec.monitor.worse_by)
        if enough
        else None
    )
    return [
        _finding(
            "against_naive", "mae", known, float(np.abs(own).mean()), float(np.abs(other).mean()), spec, shift
        )
    ]


def _drifts(actuals: pd.DataFrame, joined: pd.DataFrame, spec: Spec) -> list[Finding]:
    """The target and every numeric input of the judged window against the windows before it."""
    time = str(spec.columns.time)
    rows = actuals.sort_values(time).tail(history_of(spec))
    fresh = int((rows[time] >= joined["time"].min()).sum())
    span = min(len(rows), (1 + HISTORY_WINDOWS) * window_of(spec))
    if fresh < LEAST or span - fresh < 2 * LEAST:
        return []
    inputs = {name: _column(rows, name) for name in (*spec.columns.known_future, *spec.columns.features)}
    numeric = {name: values for name, values in inputs.items() if values is not None}
    found = []
    target = _column(rows, spec.columns.target)
    if target is not None:
        known = np.column_stack(list(numeric.values())) if numeric else None
        plain = drift.without_season(target, spec.season_length, len(rows) - fresh, known)
        found += _drift(
            spec.columns.target, *drift.without_year(plain, year_of(spec), span, WIDTH), fresh, spec
        )
    for name, values in numeric.items():
        plain = drift.without_season(values, spec.season_length, len(rows) - fresh)
        found += _drift(name, plain[-span:], 0, fresh, spec)
    return found


def _column(rows: pd.DataFrame, name: str) -> Floats | None:
    """A column as numbers; None where it is not there or has a gap."""
    values = pd.to_numeric(rows[name], errors="coerce").to_numpy(float) if name in rows else np.array([])
    return values if len(values) and np.isfinite(values).all() else None


def _drift(name: str, plain: Floats, years: int, fresh: int, spec: Spec) -> list[Finding]:
    """Distribution and level of the last `fresh` values, whose seasons are out, against those before."""
    before, after = plain[:-fresh], plain[-fresh:]
    # A former year's level is known as badly as this one's: it adds its own chance to the difference.
    share = drift.effective(before) / (1 + (1 / years if years else 0))
    stable = drift.stability(before, after, spec.monitor.stability, share)
    moved = drift.level(before, after, share)
    middle = (float(np.median(after)), float(np.median(before)))
    far = abs(middle[0] - middle[1]) > spec.monitor.bias * abs(middle[1])
    level = _checked(Finding("level", name, ALL, len(after), *middle), moved, spec)
    return [
        _checked(Finding("stability", name, ALL, len(after), stable.value, 0.0), stable, spec),
        replace(level, large=level.large and far),
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
    return replace(finding, shift=shift.value, threshold=shift.threshold, p=shift.p, large=shift.large)


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
    """One value per time: the mean over the cutoffs that predicted it."""
    return np.asarray(pd.Series(errors).groupby(known["time"].to_numpy()).mean(), np.float64)
