"""Commands that show: `plan`, `status`, `monitor` and `report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manymodels_spark.cli.common import console, job_of, only_option, spec_argument
from manymodels_spark.display import plural

if TYPE_CHECKING:
    from manymodels_spark.reporting.status import Live, SpecStatus
    from manymodels_spark.stages.monitor.stage import AlertShare
    from manymodels_spark.stages.train.plan import Plan


@click.command()
@spec_argument
@only_option
@click.option("--force", is_flag=True, help="As if every partition were to be fitted again.")
@click.option(
    "--cores", type=click.IntRange(1), help="Estimate for this many cores, by default those of the session."
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Partitions to fit for the estimate.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def plan(spec: str, only: str | None, force: bool, cores: int | None, sample: int, as_json: bool) -> None:
    """Say what a training run would cost before it is spent; fits a small sample, logs nothing."""
    from manymodels_spark.stages.train.due import Choice
    from manymodels_spark.stages.train.plan import plan as look

    job = job_of(spec)
    found = look(job, Choice(only=only, force=force), cores=cores, sample=sample)
    if as_json:
        click.echo(json.dumps(found.as_dict()))
        return
    print_lines(plan_lines(found))


def print_lines(lines: list[tuple[str, str]]) -> None:
    """Print (label, text) pairs below each other."""
    for label, text in lines:
        console.print(f"[bold]{label:<12}[/]", end="")
        console.print(text, markup=False, highlight=False)


@click.command()
@spec_argument
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, by default .manymodels/reports/RUN.html.",
)
def report(spec: str, out: Path | None) -> None:
    """Write one HTML file of what the newest run did; it opens without a network."""
    from manymodels_spark.reporting.collect import report as write

    path = write(job_of(spec), out)
    console.print(f"report    {path}", highlight=False)


@click.command()
@spec_argument
def status(spec: str) -> None:
    """Say how the spec stands: the last runs, the present one, counts, quarantine, champions, what is
    stale.
    """
    from manymodels_spark.reporting.status import status as look

    print_lines(status_lines(look(job_of(spec))))


@click.command()
@spec_argument
@click.option(
    "--examples",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Partitions to name of each kind of alert.",
)
def monitor(spec: str, examples: int) -> None:
    """Hold former forecasts against the actuals that came since; ends with 3 where too many partitions have
    alerts.
    """
    from manymodels_spark.errors import TooManyAlerts
    from manymodels_spark.stages.monitor.stage import alerts_by_check
    from manymodels_spark.stages.monitor.stage import monitor as watch

    job = job_of(spec)
    try:
        report = watch(job)
    except TooManyAlerts as error:
        print_lines(alert_lines(alerts_by_check(job.lake, examples)))
        raise error from None
    none = (
        "none"
        if report.counts["monitored"]
        else "none yet. Ingest and prepare the days that were forecast, then look again"
    )
    print_lines(
        alert_lines(alerts_by_check(job.lake, examples)) if report.counts["alerts"] else [("alerts", none)]
    )


def alert_lines(found: list[AlertShare]) -> list[tuple[str, str]]:
    """What `monitor` prints, a (label, text) a line."""
    lines = []
    for share in found:
        lines.append(
            (
                share.check,
                f"{plural(share.partitions, 'partition')} by {share.subject}, such as "
                f"{';  '.join(share.examples)}",
            )
        )
        lines.append(("", share.advice))
    return lines


def plan_lines(found: Plan) -> list[tuple[str, str]]:
    """What `plan` prints, a (label, text) a line."""
    from manymodels_spark.stages.train.estimate import bars

    skew = found.skew
    inactive = f"{found.inactive:,} inactive + " if found.inactive else ""
    lines = [
        (
            "partitions",
            f"{found.partitions:,} = {found.todo:,} to fit ({found.new:,} new, {found.changed:,} fitted "
            "before) + "
            f"{found.unchanged:,} unchanged + {inactive}{found.quarantined:,} in quarantine + "
            f"{found.broken:,} broken",
        ),
        *(
            [
                (
                    "too short",
                    f"{found.too_short:,} of those to fit, for even one fold: they get the spec's "
                    "fallback, or the quarantine",
                )
            ]
            if found.too_short
            else []
        ),
        (
            "rows",
            f"{skew.rows:,}; a partition has {skew.smallest:,} to {skew.largest:,}, median {skew.median:,}",
        ),
        *(("", line) for line in bars(skew.bins)),
    ]
    return [*lines, *(_cost_lines(found) if found.todo else [("train", "nothing to fit")])]


def _cost_lines(found: Plan) -> list[tuple[str, str]]:
    made, calls = found.estimate, found.calls
    waves = plural(made.waves, "wave")
    limit, least = "no limit of this server", calls.least_seconds
    if least:
        limit = f"{calls.server} allows them in {span(least)} at best"
    rows = f"; {found.prediction_rows:,} rows of predictions a scoring" if found.prediction_rows else ""
    others = "  ".join(f"{name} {span(seconds)}" for name, seconds in found.others.items())
    lines = [
        (
            "sample",
            f"{found.sampled} fits, {found.failed_in_sample} failed; median {found.fit_median:.2f} s, "
            f"slowest {found.fit_slowest:.2f} s",
        ),
        (
            "train",
            f"about {span(made.seconds)} on {made.cores} cores in {waves}: {hours(made.core_hours)} "
            f"core-hours, of them {hours(made.fit_seconds / 3600)} inside fits",
        ),
        (
            "mlflow",
            f"{calls.train:,} calls to log the models, at most {calls.promote_most:,} to promote all; "
            f"{limit}",
        ),
        (
            "storage",
            f"models {size(found.lake_bytes)} in the lake and {size(found.mlflow_bytes)} in MLflow{rows}",
        ),
    ]
    return [*lines, ("others", f"{others}  (the last time)")] if others else lines


def hours(count: float) -> str:
    """Core-hours in three digits: `0.0182`, `4.21`, `1,200`."""
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def span(seconds: float) -> str:
    """`42 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes as `312 kB`, `4.2 MB`, `1.3 GB`."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.3g} {unit}"


def status_lines(found: SpecStatus) -> list[tuple[str, str]]:
    """What `status` prints, a (label, text) a line."""
    lines = [
        (row.stage, f"{row.status:<8} {row.started_at}  {row.seconds:8.1f} s  {row.note}")
        for row in found.stages
    ]
    if not found.partitions:
        return [*lines, ("partitions", "none yet: run `manymodels run SPEC`")]
    inactive = f"{found.inactive:,} inactive + " if found.inactive else ""
    counts = (
        f"{found.partitions:,} = {found.unchanged:,} up to date + {found.due:,} to fit + "
        f"{inactive}{found.quarantined:,} in quarantine"
    )
    lines.append(("partitions", counts))
    if found.live is not None:
        lines.append(live_line(found.live))
    listed = (
        ("quarantine", found.reasons, "{}     manymodels quarantine SPEC"),
        ("champions", found.families, "{}"),
        ("promoted", found.ages, "{} ago"),
        ("unscored", found.unscored, "{}     table unscored has the reasons"),
        ("alerts", found.alerts, "{}     manymodels train SPEC --only-degraded"),
    )
    for label, shares, text in listed:
        if shares:
            lines.append((label, text.format(", ".join(f"{share.count:,} {share.name}" for share in shares))))
    return [*lines, *([("stale", _stale_text(found.stale))] if found.families else [])]


def _stale_text(stale: int) -> str:
    if not stale:
        return "no champion: each was trained on all the rows that there are"
    return f"{plural(stale, 'champion')} trained before the newest rows came     manymodels train SPEC"


def live_line(live: Live) -> tuple[str, str]:
    """The line of a stage under way, or of one whose process is gone."""
    counts = f"{live.stage} {live.run_id}"
    if live.total is not None:
        counts += f": {live.done:,} of {live.total:,} done, {live.failed:,} failed, {live.skipped:,} skipped"
    if not live.alive:
        return "interrupted", f"{counts}. Its process is gone; run it again, it goes on"
    left = "" if live.seconds_left is None else f", about {span(live.seconds_left)} left"
    return "running", f"{counts}, since {span(live.seconds)}{left}"


COMMANDS = (plan, status, monitor, report)
