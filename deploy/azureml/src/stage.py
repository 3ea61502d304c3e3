"""What the Spark components run: one stage of the pipeline on a spec, then a mark that it is done."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> None:
    """Run one stage; `--after` only makes Azure ML wait for the stage before."""
    from pyspark.sql import SparkSession

    parser = argparse.ArgumentParser()
    for name in ("--stage", "--spec", "--settings", "--done"):
        parser.add_argument(name, required=True)
    parser.add_argument("--after")
    given = parser.parse_args(arguments)
    spark = SparkSession.builder.getOrCreate()
    os.environ.update(variables(text_of(spark, given.settings)))
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, "spec.yaml")
        local.write_text(text_of(spark, given.spec), encoding="utf-8")
        run(given.stage, local)
    spark.range(1).write.mode("overwrite").parquet(given.done)


def run(stage: str, spec: Path) -> None:
    """Run `manymodels STAGE SPEC`. Raises SystemExit where it failed, and only then."""
    from manymodels_spark.cli import main as manymodels

    if code := manymodels([stage, str(spec)], standalone_mode=False):
        raise SystemExit(code)


def variables(text: str) -> dict[str, str]:
    """NAME=VALUE a line; what is empty is left to the environment."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def text_of(spark: Any, path: str) -> str:
    """A small file of a datastore."""
    return str(spark.read.text(path, wholetext=True).first()[0])


if __name__ == "__main__":
    main()
