"""Commands that look: `check`, `quarantine`, `index`, `schema`, `powerbi`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from manymodels_spark.cli.common import console, job_of, spec_argument
from manymodels_spark.display import plural


@click.command()
@spec_argument
def check(spec: str) -> None:
    """Check the spec: every mistake at once, without starting anything."""
    from manymodels_spark.families.checked_spec import load_spec

    loaded = load_spec(spec)
    families = ", ".join(candidate.family for candidate in loaded.candidates)
    console.print(
        f"{spec} is valid: {loaded.task} of {loaded.columns.target} by {', '.join(loaded.partition_by)} "
        f"with {families}",
        highlight=False,
    )


@click.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from manymodels_spark.spec.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@click.command()
@spec_argument
@click.option("--retry", is_flag=True, help="Fit the quarantined partitions again.")
def quarantine(spec: str, retry: bool) -> None:
    """List the partitions that have no model, by reason, with what to do."""
    from manymodels_spark.keys import PartitionKey
    from manymodels_spark.lake.tables import QUARANTINE
    from manymodels_spark.stages.train.due import Choice
    from manymodels_spark.stages.train.quarantine import by_reason
    from manymodels_spark.stages.train.stage import train

    job = job_of(spec)
    if retry:
        train(job, Choice(failed=True))
    found = by_reason(job.lake)
    for row in found:
        such = ": " if row.partitions <= len(row.examples) else ", such as "
        named = "; ".join(str(PartitionKey.parse(key)) for key, _ in row.examples)
        console.print(f"[bold]{row.reason:<16}[/] ", end="")
        console.print(f"{plural(row.partitions, 'partition')}{such}{named}", markup=False, highlight=False)
        console.print(f"    what happened  {row.message}", markup=False, highlight=False)
        console.print(f"    what to do     {row.advice}", markup=False, highlight=False)
    every = f"each is in table {job.lake.location(QUARANTINE)}; --retry fits them again"
    console.print(every if found else "no partition is in quarantine", markup=False, highlight=False)


@click.command()
@spec_argument
@click.option("--verify", "verifying", is_flag=True, help="Compare with MLflow instead of rebuilding.")
def index(spec: str, verifying: bool) -> None:
    """Rebuild the champions' index from the production MLflow."""
    from manymodels_spark.stages.promote.champions_index import rebuild, verify

    job = job_of(spec)
    if not verifying:
        rebuild(job)
        return
    wrong = verify(job)
    console.print(f"{len(wrong)} partitions differ from MLflow", *wrong[:20], sep="\n")
    if wrong:
        raise SystemExit(1)


@click.command()
@spec_argument
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("powerbi"),
    show_default=True,
    help="The folder.",
)
@click.option("--server", help="The SQL server, by default that of the spec's Synapse.")
@click.option("--database", help="The database, by default that of the spec's Synapse.")
@click.option("--access", metavar="COLUMN", help="Row-level security by this partition column.")
def powerbi(spec: str, out: Path, server: str | None, database: str | None, access: str | None) -> None:
    """Write a Power BI project for the spec: semantic model, report, connection, and its views as T-SQL."""
    from manymodels_spark.families.checked_spec import load_spec
    from manymodels_spark.powerbi.project import project_files, write_project
    from manymodels_spark.spec.places import Synapse
    from manymodels_spark.stages.load.facts import star_of

    loaded = load_spec(spec)
    part = loaded.warehouse if isinstance(loaded.warehouse, Synapse) else None
    server = server or (part.server if part else "WORKSPACE.sql.azuresynapse.net")
    database = database or (part.database if part else "forecasts")
    schema_name = part.schema_name if part else "dbo"
    files = project_files(star_of(loaded), server, database, schema_name, access)
    write_project(files, out)
    console.print(f"{out / loaded.name}.pbip and {len(files) - 1} files beside it", highlight=False)


COMMANDS = (check, schema, quarantine, index, powerbi)
