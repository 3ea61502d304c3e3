"""Commands around the pipeline: demonstration data, settings for spark-submit."""

from __future__ import annotations

from pathlib import Path

import click

from manymodels_spark.cli.common import console


@click.command("demo-data")
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    help="The DuckDB file.  [default: .manymodels/demo.duckdb, with --life .manymodels/life.duckdb]",
)
@click.option("--stores", type=int, help="[default: 10, with --life 6]")
@click.option("--items", type=int, help="[default: 20, with --life 10]")
@click.option("--days", type=int, help="Days of history.  [default: 1095, with --life 400]")
@click.option("--seed", default=7, show_default=True)
@click.option("--replace", is_flag=True, help="Write the database anew where there is one.")
@click.option("--life", is_flag=True, help="A chain's life: each further call lets a day pass.")
@click.option("--until", metavar="DAY", help="With --life: the last day with rows, e.g. 2025-11-30.")
def demo_data(
    path: Path | None,
    stores: int | None,
    items: int | None,
    days: int | None,
    seed: int,
    replace: bool,
    life: bool,
    until: str | None,
) -> None:
    """Write a source database of simulated raw sales, faults included.

    With --life it is a chain with closed days, items that come and die, late and corrected rows, and more; a
    second call adds what the next day brings, as a source grows.
    """
    from manymodels_spark.simulate import write_source_database

    if life:
        _write_life(path or Path(".manymodels/life.duckdb"), (seed, stores, items, days), replace, until)
        return
    if until is not None:
        raise click.UsageError("--until goes with --life")
    path, stores, items, days = (
        path or Path(".manymodels/demo.duckdb"),
        stores or 10,
        items or 20,
        days or 1095,
    )
    if path.exists() and not replace:
        console.print(f"{path} is there already (--replace writes it anew)", highlight=False)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_source_database(path, stores=stores, items=items, days=days, seed=seed)
    console.print(f"{path}: {stores * items} partitions of {days} days", highlight=False)


def _write_life(
    path: Path, shape: tuple[int, int | None, int | None, int | None], replace: bool, until: str | None
) -> None:
    """Write a life's database, or let time pass in the one that is there."""
    from manymodels_spark.simulate import FIRST_NIGHT, Chain, extend_life, write_life

    seed, stores, items, days = shape
    if path.exists() and not replace:
        if (stores, items, days) != (None, None, None):
            raise click.UsageError(f"{path} has its stores, items and days already. --replace writes it anew")
        day, added = extend_life(path, until)
        console.print(f"{path}: {added} rows of sales came until {day:%Y-%m-%d}", highlight=False)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    history = days or 400
    chain = Chain(seed=seed, stores=stores or 6, items=items or 10, history=history, days=history)
    rows = write_life(path, chain, until or FIRST_NIGHT)
    console.print(f"{path}: {chain.partitions} partitions, {rows} rows of sales", highlight=False)


@click.command("spark-conf")
@click.option(
    "--master", default="local[*]", show_default=True, help="What they are for, e.g. spark://host:7077."
)
@click.option("--azure", is_flag=True, help="With the libraries that abfs:// needs.")
def spark_conf(master: str, azure: bool) -> None:
    """Print Spark's settings for a machine or a cluster of one's own, for `spark-submit
    --properties-file`.
    """
    from manymodels_spark.spark.session import own_settings

    for name, value in own_settings(master, azure=azure).items():
        click.echo(f"{name} {value}")


@click.command()
@click.argument("group", type=click.Choice(["core", "azure", "kafka"]), default="core")
def jars(group: str) -> None:
    """Fetch the Java libraries of a local session, of abfs:// (azure) or of topics (kafka), where they are
    missing; print their paths.
    """
    from manymodels_spark.spark.jars import jar_paths

    for path in jar_paths(group):
        click.echo(path)


COMMANDS = (demo_data, spark_conf, jars)
