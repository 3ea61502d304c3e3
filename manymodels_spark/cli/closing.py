"""What `manymodels run` prints at its end: the counts that must add up, what it took, where to look next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from manymodels_spark.cli.common import console
from manymodels_spark.lake.queries import older_models, unscored_reasons
from manymodels_spark.lake.tables import CHAMPIONS, QUARANTINE

if TYPE_CHECKING:
    from manymodels_spark.stages.pipeline import RunReport
    from manymodels_spark.stages.runs.job import Job


def print_closing(job: Job, report: RunReport, path: str) -> None:
    """Print the closing table of a whole run."""
    console.print()
    console.print(_stage_table(report))
    for label, text in _lines(job, report, path):
        console.print(f"[bold]{label:<12}[/] {text}", highlight=False)


def _stage_table(report: RunReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("MLflow calls", justify="right")
    table.add_column("what happened")
    for stage in report.stages:
        table.add_row(stage.stage, f"{stage.seconds:.1f}", f"{stage.calls:,}", stage.note)
    table.add_row("[bold]all", f"[bold]{report.seconds:.1f}", f"[bold]{report.calls:,}", "")
    return table


def _lines(job: Job, report: RunReport, path: str) -> list[tuple[str, str]]:
    counts = report["train"].counts
    promoted = report["promote"].counts
    lines = [("", ""), ("partitions", _partitions(counts))]
    if counts["quarantined"]:
        lines.append(("quarantine", f"{_shares(job, QUARANTINE, 'reason')}     manymodels quarantine {path}"))
    lines += [
        (
            "promoted",
            f"{promoted['promoted']:,} new, {promoted['kept']:,} kept, {promoted['refused']:,} refused",
        ),
        ("champions", f"{promoted['champions']:,}: {_shares(job, CHAMPIONS, 'family')}"),
        *_scored(job, report["score"].counts),
        ("loaded", report["load"].note),
        (
            "mlflow",
            f"{report.calls:,} calls{_calls_per_model(report)}     mlflow ui --backend-store-uri "
            f"{job.spec.mlflow.development.tracking}",
        ),
        ("lake", job.lake.location("")),
        ("report", f"manymodels report {path}     predictions by SQL: {_sql(job)}"),
    ]
    return lines


def _partitions(counts: Mapping[str, int]) -> str:
    """The partitions that came in, and what became of them: the numbers add up."""
    inactive = f"{counts['inactive']:,} inactive + " if counts["inactive"] else ""
    return (
        f"{counts['partitions']:,} in = {counts['fitted']:,} fitted + {counts['unchanged']:,} unchanged + "
        f"{inactive}{counts['quarantined']:,} quarantined"
    )


def _scored(job: Job, counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """What was scored, by models of which age, and in colour what was not, by reason."""
    text = f"{counts['scored']:,} partitions, {counts['rows']:,} rows, {counts['unscored']:,} unscored"
    older = older_models(job.lake)
    if older is not None:
        text += f"   ({older.partitions:,} by older models, the oldest trained until {older.oldest})"
    lines = [("scored", text)]
    if counts["fallback"]:
        lines.append(("fallback", f"[yellow]{counts['fallback']:,} partitions forecast by the fallback[/]"))
    if counts["unscored"]:
        colour = "red" if counts["lost"] else "yellow"
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in unscored_reasons(job.lake).items())
        lost = f", of them {counts['lost']:,} with a champion" if counts["lost"] else ""
        lines.append(("unscored", f"[{colour}]{reasons}{lost}[/]"))
    return lines


def _sql(job: Job) -> str:
    """Where the predictions can be queried."""
    warehouse = job.spec.warehouse
    table = warehouse.table or f"{job.spec.name}_predictions"
    return f"{table} in {warehouse.path}" if warehouse.kind == "duckdb" else f"{table} in {warehouse.kind}"


def _shares(job: Job, table: str, column: str) -> str:
    """`too_short 2, all_null 1`: the table's rows by a column, most frequent first."""
    from pyspark.sql import functions as F

    counted = job.lake.read(table).groupBy(column).agg(F.count("*").alias("n")).orderBy(F.desc("n"), column)
    return ", ".join(f"{row[column]} {row['n']:,}" for row in counted.collect())


def _calls_per_model(report: RunReport) -> str:
    fitted = report["train"].counts["fitted"]
    return f" ({report['train'].calls / fitted:.1f} a trained model)" if fitted else ""
