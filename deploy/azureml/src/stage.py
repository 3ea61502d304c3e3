"""What the Spark components run: one stage of the pipeline on a spec, then a mark that it is done."""

from __future__ import annotations

import argparse
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
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, "spec.yaml")
        local.write_text(text_of(spark, given.spec), encoding="utf-8")
        run(given.stage, local, text_of(spark, given.settings))
    spark.range(1).write.mode("overwrite").parquet(given.done)


def run(stage: str, spec: Path, settings: str = "") -> None:
    """Run `manymodels --set SETTINGS STAGE SPEC`. Raises SystemExit where it failed, and only then."""
    from manymodels_spark.cli import main as manymodels

    if code := manymodels(["--set", settings, stage, str(spec)], standalone_mode=False):
        raise SystemExit(code)


def text_of(spark: Any, path: str) -> str:
    """A small file of a datastore."""
    return str(spark.read.text(path, wholetext=True).first()[0])


if __name__ == "__main__":
    main()
