"""What the Spark components run: one stage of the pipeline on a spec, then a mark that it is done."""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SECRET = "secret."


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

    lines = [line.strip() for line in settings.splitlines()]
    for line in (one for one in lines if one.startswith(SECRET)):
        name, _, address = line.removeprefix(SECRET).partition("=")
        os.environ[name] = secret(address)
    plain = "\n".join(one for one in lines if not one.startswith(SECRET))
    if code := manymodels(["--set", plain, stage, str(spec)], standalone_mode=False):
        raise SystemExit(code)


def secret(address: str) -> str:
    """The newest value of a secret of a vault, read by the job's identity (*Key Vault Secrets User*)."""
    from manymodels_spark.spark.credentials import credential

    if not re.fullmatch(r"https://[\w-]+\.vault\.azure\.net/secrets/[\w-]+", address):
        raise SystemExit(f"{address!r} is no secret. Expected: https://VAULT.vault.azure.net/secrets/NAME")
    token = credential().get_token("https://vault.azure.net/.default").token
    request = urllib.request.Request(
        f"{address}?api-version=7.4", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["value"])
    except urllib.error.HTTPError as error:
        raise SystemExit(
            f"{address}: the vault answered {error.code}. The job's identity requires the role "
            "Key Vault Secrets User, and the secret must exist"
        ) from None


def text_of(spark: Any, path: str) -> str:
    """A small file of a datastore."""
    return str(spark.read.text(path, wholetext=True).first()[0])


if __name__ == "__main__":
    main()
