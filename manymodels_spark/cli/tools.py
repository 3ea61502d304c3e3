"""Commands around the pipeline: demonstration data, settings for spark-submit."""

from __future__ import annotations

from pathlib import Path

import click

from manymodels_spark.cli.common import console


@click.command("demo-data")
@click.option(
    "--path", type=click.Path(path_type=Path), default=Path(".manymodels/demo.duckdb"), show_default=True
)
@click.option("--stores", default=10, show_default=True)
@click.option("--items", default=20, show_default=True)
@click.option("--days", default=1095, show_default=True)
@click.option("--seed", default=7, show_default=True)
@click.option("--replace", is_flag=True, help="Write the database anew where there is one.")
def demo_data(path: Path, stores: int, items: int, days: int, seed: int, replace: bool) -> None:
    """Write a source database of simulated raw sales, faults included."""
    from manymodels_spark.simulate import write_source_database

    if path.exists() and not replace:
        console.print(f"{path} is there already (--replace writes it anew)", highlight=False)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_source_database(path, stores=stores, items=items, days=days, seed=seed)
    console.print(f"{path}: {stores * items} partitions of {days} days", highlight=False)


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
@click.argument("group", type=click.Choice(["core", "azure"]), default="core")
def jars(group: str) -> None:
    """Fetch the Java libraries of a local session, or of abfs:// (azure), where they are missing; print their
    paths.
    """
    from manymodels_spark.spark.jars import jar_paths

    for path in jar_paths(group):
        click.echo(path)


COMMANDS = (demo_data, spark_conf, jars)
