"""What a trial shows: what became of its partitions, the error beside the naive one, and three forecasts."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from manymodels_spark.reporting.terminal import forecast_chart
from manymodels_spark.stages.trial import Trial, TriedPartition


def trial_view(trial: Trial, next_command: str) -> Iterator[RenderableType]:
    """The parts of a trial's picture, from top to bottom, the last with what to do next."""
    for place, one in zip(_places(trial), trial.shown, strict=True):
        yield Text()
        yield _titled(trial, place, one)
        columns = trial.spec.columns
        yield forecast_chart(one.history, _open(one.forecast), time=str(columns.time), target=columns.target)
    yield Text()
    for label, text in _lines(trial, next_command):
        yield Text.assemble((f"{label:<12}", "bold"), text)


def _open(forecast: pd.DataFrame) -> pd.DataFrame:
    """The steps that are not closed: those are predicted as 0 with an interval of 0."""
    bounds = [name for name in forecast if str(name).startswith(("prediction", "lower_", "upper_"))]
    open_steps = forecast[(forecast[bounds] != 0).any(axis=1)]
    return open_steps if len(open_steps) else forecast


def _places(trial: Trial) -> list[str]:
    return [["best", "median", "worst"][place] for place in range(3)][: len(trial.shown)]


def _titled(trial: Trial, place: str, one: TriedPartition) -> Text:
    error = "" if one.metric is None else f"   {trial.spec.metric} {one.metric:.3f}"
    return Text.assemble((str(one.key), "bold"), f"   {one.family}{error}   ", (place, "dim"))


def _lines(trial: Trial, next_command: str) -> Iterator[tuple[str, str]]:
    tried = trial.fitted + len(trial.quarantined)
    yield (
        "tried",
        f"{tried:,} of {trial.total:,} partitions in {trial.seconds:.0f} s; {trial.fitted:,} have a model",
    )
    for key, reason, advice in trial.quarantined[:3]:
        yield "quarantine", f"{key}: {reason}. {advice}"
    if len(trial.quarantined) > 3:
        yield "", f"and {len(trial.quarantined) - 3} more"
    if trial.median is not None:
        naive = "" if trial.naive is None else f" (seasonal naive {trial.naive:.3f})"
        yield "backtest", f"median {trial.spec.metric} {trial.median:.3f}{naive}"
    yield "champions", ", ".join(f"{name} {count}" for name, count in trial.families.items()) or "none"
    refused = trial.report["promote"].counts.get("refused", 0)
    if refused:
        yield "refused", f"{refused} by the gates in `promote`: they have no forecast"
    yield "all", f"about {_span(trial.run_seconds)} for {trial.total:,} partitions on {trial.cores} cores"
    yield "next", next_command


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
