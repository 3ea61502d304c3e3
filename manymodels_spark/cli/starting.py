"""Commands of the first hour: `init` writes a spec from a source, `try` runs it on a few partitions."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manymodels_spark.cli.common import console, errors, job_parts, spec_argument
from manymodels_spark.display import plural
from manymodels_spark.errors import ManyModelsError

if TYPE_CHECKING:
    from manymodels_spark.discover import Answers, Finding, Question

_LABEL = 12


@click.command()
@click.argument("source")
@click.option("--table", help="The table, where SOURCE is a database.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The spec to write.  [default: NAME.yaml]"
)
@click.option("--time", help="The column of times, or `none`.")
@click.option("--target", help="The column to predict.")
@click.option(
    "--by", "partition_by", metavar="COLUMNS", help="The columns that tell partitions apart, e.g. store,item."
)
@click.option("--task", type=click.Choice(["forecast", "regression", "classification"]))
@click.option("--frequency", metavar="STEP", help="How often a value comes, e.g. D, h, W, MS.")
@click.option("--horizon", type=click.IntRange(1), help="How many steps to forecast.")
@click.option("--timezone", metavar="ZONE", help="On whose clock days are counted, e.g. Europe/Madrid.")
@click.option("--yes", is_flag=True, help="Ask nothing: take each guess, and note it in the spec.")
@click.option("--force", is_flag=True, help="Write over a spec that is there.")
def init(
    source: str, table: str | None, out: Path | None, yes: bool, force: bool, **known: str | int | None
) -> None:
    """Look at SOURCE and write a spec for it that runs.

    SOURCE is a CSV, JSON or Parquet file (also a folder or a glob), a Delta table's path, or the URL of a
    database: `postgresql://user:password@host/database --table sales`, `sales.duckdb`.
    """
    from manymodels_spark.discover import Answers, discover, open_sample, spec_text

    given = {name: str(value) for name, value in known.items() if value is not None}
    present = sys.stdin.isatty() and not yes
    answers = Answers(given, _ask if present else None)
    found = discover(open_sample(source, table), answers)
    path = out or Path(f"{found.name}.yaml")
    if path.exists() and not force:
        raise ManyModelsError(
            f"{path} is there already. Name another file with --out, or write over it with --force"
        )
    _show(found)
    path.write_text(spec_text(found), encoding="utf-8")
    _checked(path)
    _show_guesses(answers, "--yes was given" if yes else "there is no terminal to ask at")
    size = "20 partitions" if found.keys.partitions > 20 else plural(found.keys.partitions, "partition")
    console.print(
        f"\nwrote {path}. Next: [bold]manymodels try {path}[/]   ({size}, about a minute)", highlight=False
    )


def _show_guesses(answers: Answers, why: str) -> None:
    """What was guessed because nobody was asked, with the option that says otherwise."""
    guessed = [one for one in answers.log if one.origin == "guessed"]
    if guessed:
        console.print(f"\nGuesses, since {why} (the spec notes them):", highlight=False)
    for one in guessed:
        text = f"  {one.question.key} {one.answer or 'no column'}: {one.question.why}"
        console.print(text, markup=False, highlight=False, style="yellow")


def _ask(question: Question) -> str:
    """The answer of the person at the terminal, asked again while it is none of those that there are."""
    from manymodels_spark.discover.questions import names

    console.print(f"\n[bold]{question.text}[/]\n  {question.why}", highlight=False)
    if question.options:
        console.print(f"  one of: {', '.join(question.options)}", markup=False, highlight=False, style="dim")
    while True:
        answer = str(click.prompt("  answer", default=question.guess)).strip()
        wrong = [one for one in names(answer) if question.options and one not in question.options]
        if not wrong:
            return answer
        console.print(f"  {wrong[0]} is not among them", markup=False, highlight=False, style="yellow")


def _checked(path: Path) -> None:
    """Read the spec that was written as every command does."""
    from manymodels_spark.families.checked_spec import load_spec

    load_spec(str(path))


def _show(found: Finding) -> None:
    """The picture of what was found: what each role is, and how the series look."""
    from manymodels_spark.reporting.terminal import sparkline

    console.print(f"[bold]{found.sample.name}[/]   {_size(found)}\n", highlight=False)
    for label, text in _roles(found):
        console.print(f"[bold]{label:<{_LABEL}}[/]", end="")
        console.print(text, markup=False, highlight=False)
    if found.rhythm is None:
        return
    console.print()
    lengths, shape = found.shape.lengths, found.shape
    if len(lengths.bins) == 1:
        _line("lengths", f"{lengths.longest:,} rows each")
    else:
        bars = sparkline([float(count) for count in lengths.bins])
        _line("lengths", f"{lengths.shortest:,} {bars} {lengths.longest:,} rows, median {lengths.median:,}")
    if found.target.is_number and shape.course:
        _line("course", f"{sparkline(shape.course)}  mean of {found.target.name}")
    _line(
        "gaps", f"{shape.gaps:,} missing times" if found.task == "forecast" else "not looked for in a table"
    )
    if found.target.is_number:
        _line("zeros", f"{shape.zeros:.1%} of values; {shape.missing:,} empty, {shape.negatives:,} below 0")


def _line(label: str, text: str) -> None:
    console.print(f"[bold]{label:<{_LABEL}}[/]{text}", highlight=False)


def _size(found: Finding) -> str:
    sample = found.sample
    columns = plural(len(found.columns), "column")
    if sample.whole:
        return f"{sample.rows:,} rows, {columns}"
    of = f" of {sample.total_rows:,}" if sample.total_rows else f" of {sample.size / 1e9:,.1f} GB"
    return f"a sample: the first {sample.rows:,} rows{of}, {columns}"


def _roles(found: Finding) -> list[tuple[str, str]]:
    lines, target = [], found.target
    if found.is_wide:
        text = "wide: a column for each series or time; the spec makes a row of each value (`melt`)"
        lines.append(("shape", text))
    elif found.is_lone:
        lines.append(("shape", "a single series: it gets its name as partition"))
    if found.time is not None:
        lines.append(("time", _time(found)))
    kind = "whole numbers" if found.shape.whole else "numbers"
    values = f"{kind} from {_plain(target.low)} to {_plain(target.high)}" if target.is_number else ""
    lines.append(("target", f"{target.name}   {values or f'{target.distinct} labels'}"))
    lines.append(("partition", f"{' x '.join(one.name for one in found.keys.columns)}   {_many(found)}"))
    if found.rhythm and found.task == "forecast":
        closed = ", ".join(found.rhythm.closed) or "none"
        lines.append(("closed", "by partition" if found.rhythm.closed_by_partition else closed))
    if found.place is not None:
        lines.append(("holidays", f"{found.place[0].name}   {', '.join(found.place[1][:8])}"))
    return [*lines, *([("horizon", f"{found.horizon} steps")] if found.task == "forecast" else [])]


def _time(found: Finding) -> str:
    """The column of times with its form, its rhythm and from when to when it goes."""
    from manymodels_spark.discover.frequency import EVERY

    time, rhythm = found.time, found.rhythm
    if time is None:
        return ""
    form = f" ({time.form})" if time.form not in ("", "iso") else ""
    regular = f", {rhythm.regular:.1%} of steps regular" if rhythm and rhythm.known else ""
    span = f"{found.shape.first} to {found.shape.last}".replace(" 00:00:00", "")
    return f"{time.name}{form}   every {EVERY.get(found.frequency, 'week')}{regular}, {span}"


def _plain(value: float) -> str:
    """`1,335,877`, `0.25`: never in powers of ten."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def _many(found: Finding) -> str:
    return plural(found.keys.partitions, "partition") + ("" if found.sample.whole else " in the sample")


@click.command("try")
@spec_argument
@click.option(
    "--scratch", metavar="FOLDER", help="Where the trial's tables go on a cluster, e.g. abfss://..."
)
def try_(spec: str, scratch: str | None) -> None:
    """Run the stages on 20 partitions in a scratch lake, and show three forecasts; nothing of it is kept."""
    begin = time.monotonic()
    loaded, progress = job_parts(spec)
    from manymodels_spark.reporting.trial import trial_view
    from manymodels_spark.spark.session import session_of
    from manymodels_spark.stages.trial import try_spec

    console.print(f"[bold]{loaded.name}[/]   on 20 partitions, in a scratch folder\n", highlight=False)
    trial = try_spec(loaded, session_of(loaded, quick=True), progress, scratch)
    for part in trial_view(trial, f"manymodels run {spec}"):
        console.print(part, highlight=False)
    console.print(f"[dim]{time.monotonic() - begin:.0f} s with the start of Spark[/]", highlight=False)
    if not trial.fitted:
        errors.print("no partition has a model: see the quarantine above", style="red")
        raise SystemExit(1)


COMMANDS = (init, try_)
