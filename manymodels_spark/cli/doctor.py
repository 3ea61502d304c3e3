"""The command that looks for what is missing: `manymodels doctor [SPEC]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from manymodels_spark.cli.common import EXIT_ERROR, console

if TYPE_CHECKING:
    from manymodels_spark.doctor import Finding

_MARKS = {"ok": "[green]ok[/]", "failed": "[bold red]failed[/]", "skipped": "[dim]skipped[/]"}


@click.command()
@click.argument("spec", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--spark", is_flag=True, help="Also start a session: packages of the executors, a table in the lake."
)
def doctor(spec: str | None, spark: bool) -> None:
    """Check this machine, and with a SPEC everything that it names; say what to do about each failure."""
    if spark and spec is None:
        raise click.UsageError("--spark requires a SPEC")
    from manymodels_spark.doctor import examine
    from manymodels_spark.families.checked_spec import load_spec

    loaded = load_spec(spec) if spec else None
    findings = examine(loaded)
    if spark and loaded is not None:
        from manymodels_spark.doctor.cluster import cluster
        from manymodels_spark.spark.session import get_session

        findings += cluster(get_session(loaded.name), loaded)
    console.print(_table(findings))
    wrong = [finding for finding in findings if finding.state == "failed"]
    if wrong:
        console.print(f"\n[bold red]{len(wrong)} of {len(findings)} failed[/]", highlight=False)
        raise SystemExit(EXIT_ERROR)
    console.print(
        "\nnothing is missing" if spec else "\nthis machine is fit; give a SPEC to check what it names"
    )


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("check", "", "found, and what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        advice = f"\n[bold]{_plain(finding.advice)}[/]" if finding.advice else ""
        table.add_row(_plain(finding.check), _MARKS[finding.state], f"{_plain(finding.found)}{advice}")
    return table


def _plain(text: str) -> str:
    """Text in which no bracket is taken for a style."""
    from rich.markup import escape

    return escape(text)


COMMANDS = (doctor,)
