"""Commands for people who want to see: `report` and `status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from manymodels_spark.cli.common import console, job_of, spec_argument

if TYPE_CHECKING:
    from manymodels_spark.stages.status import SpecStatus


@click.command()
@spec_argument
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write, by default .manymodels/reports/RUN.html.")
def report(spec: str, out: Path | None) -> None:
    """Write one HTML file of what the newest run did; it opens without a network."""
    from manymodels_spark.stages.report import report as write

    path = write(job_of(spec), out)
    console.print(f"report    {path}", highlight=False)


@click.command()
@spec_argument
def status(spec: str) -> None:
    """Say how the spec stands: the last runs, the present one, counts, quarantine, champions, what is stale."""
    from manymodels_spark.stages.status import status as look

    for label, text in status_lines(look(job_of(spec))):
        console.print(f"[bold]{label:<12}[/]", end="")
        console.print(text, markup=False, highlight=False)


def status_lines(found: SpecStatus) -> list[tuple[str, str]]:
    """What `status` prints, a (label, text) a line."""
    lines = [(row.stage, f"{row.status:<8} {row.started_at}  {row.seconds:8.1f} s  {row.note}") for row in found.stages]
    if not found.partitions:
        return [*lines, ("partitions", "none yet: run `manymodels run SPEC`")]
    counts = f"{found.partitions:,} = {found.unchanged:,} up to date + {found.due:,} to fit + {found.quarantined:,} in quarantine"
    lines.append(("partitions", counts))
    if found.live is not None:
        live = found.live
        left = "" if live.seconds_left is None else f", about {live.seconds_left / 60:.0f} min left"
        lines.append(("running", f"{live.run_id}: {live.done:,} done, {live.failed:,} failed, {live.left:,} left{left}"))
    for label, shares in (("quarantine", found.reasons), ("champions", found.families), ("ages", found.ages)):
        if shares:
            lines.append((label, ", ".join(f"{share.name} {share.count:,}" for share in shares)))
    return [*lines, ("stale", f"{found.stale:,} champions know less than the rows say")]


COMMANDS = (report, status)
