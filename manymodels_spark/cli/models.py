"""Commands for models that are in production already: `rollback` and `retire`."""

from __future__ import annotations

import click

from manymodels_spark.cli.common import age, console, job_of, only_option, spec_argument


@click.command()
@spec_argument
@only_option
@click.option("--where", metavar="SQL", help="The same as --only.")
@click.option(
    "--to",
    default="previous",
    show_default=True,
    metavar="previous|RUN",
    help="The former champion, or the model of this training run or promotion.",
)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def rollback(spec: str, only: str | None, where: str | None, to: str, dry_run: bool) -> None:
    """Make an earlier model champion again."""
    from manymodels_spark.stages.promote.rollback import rollback as stage

    if only is not None and where is not None:
        raise click.UsageError("--only and --where are the same: give one of them")
    report = stage(job_of(spec), only=only or where, to=to, dry_run=dry_run)
    console.print(report.note, highlight=False)


@click.command()
@spec_argument
@click.option("--keep", type=click.IntRange(min=1), help="The newest models of each partition that stay.")
@click.option("--older-than", metavar="AGE", help="Only models older than this may go, e.g. 90d.")
@click.option("--dry-run", is_flag=True, help="Count what would go, and delete nothing.")
def retire(spec: str, keep: int | None, older_than: str | None, dry_run: bool) -> None:
    """Delete old models with their artifacts; never a champion or its predecessor."""
    from manymodels_spark.stages.maintain.retire import retire as stage

    report = stage(job_of(spec), keep=keep, older_than=age(older_than), dry_run=dry_run)
    console.print(report.note, highlight=False)


COMMANDS = (rollback, retire)
