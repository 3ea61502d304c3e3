"""Commands that do the work: `run` and one for each stage."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from manymodels_spark.cli.common import age, console, job_of, only_option, spec_argument

SHOWN = 20


@click.command()
@spec_argument
def run(spec: str) -> None:
    """All stages, from the source to the warehouse."""
    job = job_of(spec)
    from manymodels_spark.cli.closing import print_closing
    from manymodels_spark.stages.pipeline import run as run_all

    console.print(
        f"[bold]{job.spec.name}[/]   MLflow {job.spec.mlflow.development.tracking}\n", highlight=False
    )
    report = run_all(job)
    print_closing(job, report, spec)
    if report.too_many_failures is not None:
        raise report.too_many_failures


@click.command()
@spec_argument
@click.option("--full", is_flag=True, help="Read everything again, not only what is new.")
def ingest(spec: str, full: bool) -> None:
    """Copy the source's new rows into the lake."""
    from manymodels_spark.stages.ingest.stage import ingest as stage

    stage(job_of(spec), full_refresh=full)


@click.command()
@spec_argument
def prepare(spec: str) -> None:
    """Type, deduplicate and complete the rows; one set of rows per partition."""
    from manymodels_spark.stages.prepare.stage import prepare as stage

    stage(job_of(spec))


@click.command()
@spec_argument
@only_option
@click.option("--failed", is_flag=True, help="Only partitions whose last fit failed.")
@click.option("--older-than", metavar="AGE", help="Also partitions whose model is older, e.g. 7d.")
@click.option("--force", is_flag=True, help="Also partitions in which nothing changed.")
@click.option(
    "--only-degraded",
    is_flag=True,
    help="Only partitions for which `monitor` raised an alert since their last fit.",
)
def train(
    spec: str, only: str | None, failed: bool, older_than: str | None, force: bool, only_degraded: bool
) -> None:
    """Fit every partition that changed and log each model to MLflow."""
    from manymodels_spark.stages.train.due import Choice
    from manymodels_spark.stages.train.stage import train as stage

    choice = Choice(only=only, force=force, failed=failed, older_than=age(older_than), degraded=only_degraded)
    stage(job_of(spec), choice)


@click.command()
@spec_argument
@only_option
@click.option("--dry-run", is_flag=True, help="Judge, but copy nothing.")
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --dry-run: write what passed, for approval.",
)
@click.option("--all", "every", is_flag=True, help=f"List every partition, not only the first {SHOWN}.")
def promote(spec: str, only: str | None, dry_run: bool, write: Path | None, every: bool) -> None:
    """Apply the gates and copy the models that pass to the production MLflow."""
    from manymodels_spark.stages.promote.stage import promote as stage

    lines = stage(job_of(spec), only=only, dry_run=dry_run, write=write).lines
    for line in lines if every else lines[:SHOWN]:
        console.print(line, markup=False, highlight=False)
    if len(lines) > SHOWN and not every:
        console.print(
            f"and {len(lines) - SHOWN} more: --all lists each, table promotions keeps them", highlight=False
        )


@click.command()
@spec_argument
@only_option
@click.option(
    "--at", type=click.DateTime(), help="Forecast from this time instead of each partition's last one."
)
@click.option("--force", is_flag=True, help="Also where nothing changed since the last scoring.")
@click.option("--every-row", is_flag=True, help="Of a table, also rows that the model was trained on.")
def score(spec: str, only: str | None, at: datetime | None, force: bool, every_row: bool) -> None:
    """Predict every partition with its champion."""
    from manymodels_spark.stages.score.stage import score as stage

    stage(job_of(spec), at=at, only=only, force=force, every_row=every_row)


@click.command()
@spec_argument
@click.option(
    "--full", is_flag=True, help="Load everything again, also in place of rows that no load brought."
)
def load(spec: str, full: bool) -> None:
    """Load the newest predictions into the warehouse, exactly once."""
    from manymodels_spark.stages.load.stage import load as stage

    stage(job_of(spec), full=full)


@click.command("stream-score")
@spec_argument
@click.option("--once", is_flag=True, help="Answer the rows that are there, then end.")
@click.option(
    "--every",
    default="10 seconds",
    show_default=True,
    metavar="INTERVAL",
    help="How often to look for new rows.",
)
def stream_score(spec: str, once: bool, every: str) -> None:
    """Answer rows as they arrive in the spec's stream (a folder, Kafka or Event Hubs)."""
    from manymodels_spark.stages.score.stream import stream_score as stage

    stage(job_of(spec), once=once, every=every)


@click.command()
@spec_argument
@click.option(
    "--file-size", default=128, show_default=True, metavar="MB", help="Size of the files that are made."
)
@click.option(
    "--vacuum", metavar="AGE", help="Also remove the files of versions older than this, at least 7d."
)
@click.option(
    "--payloads",
    metavar="AGE",
    default="30d",
    show_default=True,
    help="Remove the payloads of models older than this from table fits, as far as MLflow has them.",
)
def maintain(spec: str, file_size: int, vacuum: str | None, payloads: str) -> None:
    """Put the small files of the lake's growing tables together, and remove what is kept twice."""
    from manymodels_spark.stages.maintain.stage import maintain as stage

    stage(job_of(spec), file_megabytes=file_size, vacuum=age(vacuum), payloads=age(payloads))


COMMANDS = (run, ingest, prepare, train, promote, score, load, stream_score, maintain)
