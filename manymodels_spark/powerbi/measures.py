"""The measures of the semantic model, each in DAX and as the SQL that gives the same number on the views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PREDICTIONS, PARTITIONS, RUNS, ACTUALS = "fact_predictions", "dim_partition", "fact_runs", "fact_actuals"


@dataclass(frozen=True)
class Measure:
    """A measure: the table that it belongs to, its DAX, its SQL twin (an aggregate over that table),
    how it is shown.
    """

    name: str
    table: str
    dax: str
    sql: str
    format: str = "#,0"


def measures(intervals: Sequence[int], *, forecast: bool = True) -> list[Measure]:
    """All measures; those that hold predictions against actuals are of forecasts only."""
    return [*_always(), *(_judged(intervals) if forecast else [])]


def _always() -> list[Measure]:
    percent = "0.0 %"
    return [
        Measure("Partitions", PARTITIONS, "COUNTROWS(dim_partition)", "count(*)"),
        Measure(
            "In production",
            PARTITIONS,
            'CALCULATE(COUNTROWS(dim_partition), dim_partition[state] = "in production")',
            "count(CASE WHEN state = 'in production' THEN 1 END)",
        ),
        Measure(
            "In quarantine",
            PARTITIONS,
            'CALCULATE(COUNTROWS(dim_partition), dim_partition[state] = "quarantined")',
            "count(CASE WHEN state = 'quarantined' THEN 1 END)",
        ),
        Measure(
            "Share in production",
            PARTITIONS,
            "DIVIDE([In production], [Partitions])",
            "1.0 * count(CASE WHEN state = 'in production' THEN 1 END) / count(*)",
            percent,
        ),
        Measure(
            "Share by fallback",
            PREDICTIONS,
            "DIVIDE(CALCULATE(COUNTROWS(fact_predictions), fact_predictions[fallback] = TRUE()), "
            "COUNTROWS(fact_predictions))",
            "1.0 * count(CASE WHEN fallback THEN 1 END) / count(*)",
            percent,
        ),
        Measure("MLflow calls", RUNS, "SUM(fact_runs[calls])", "sum(calls)"),
        Measure("Run seconds", RUNS, "SUM(fact_runs[seconds])", "sum(seconds)", "#,0.0"),
    ]


def _judged(intervals: Sequence[int]) -> list[Measure]:
    known = "NOT ISBLANK(fact_predictions[actual])"
    judged = [
        Measure("Actual", ACTUALS, "SUM(fact_actuals[actual])", "sum(actual)"),
        Measure(
            "Forecast",
            PREDICTIONS,
            "CALCULATE(SUM(fact_predictions[prediction]), fact_predictions[is_newest] = TRUE())",
            "sum(CASE WHEN is_newest THEN prediction END)",
        ),
        Measure(
            "WAPE",
            PREDICTIONS,
            f"DIVIDE(SUM(fact_predictions[abs_error]), SUMX(FILTER(fact_predictions, {known}), "
            "ABS(fact_predictions[actual])))",
            "sum(abs_error) / nullif(sum(abs(actual)), 0)",
            "0.0 %",
        ),
        Measure(
            "Bias",
            PREDICTIONS,
            f"DIVIDE(SUM(fact_predictions[error]), SUMX(FILTER(fact_predictions, {known}), "
            "ABS(fact_predictions[actual])))",
            "sum(error) / nullif(sum(abs(actual)), 0)",
            "+0.0 %;-0.0 %;0.0 %",
        ),
        Measure(
            "Steps judged", PREDICTIONS, f"COUNTROWS(FILTER(fact_predictions, {known}))", "count(actual)"
        ),
    ]
    return judged + [
        Measure(
            f"Coverage {n}",
            PREDICTIONS,
            f"AVERAGE(fact_predictions[inside_{n}])",
            f"avg(inside_{n})",
            "0.0 %",
        )
        for n in intervals
    ]
