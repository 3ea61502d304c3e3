"""What a Spark job definition runs: `stage.py STAGE SPEC`, the spec being a file of the lake.

Settings `spark.manymodels.NAME` become environment variables, for the `${NAME}` of the spec; those named
`spark.manymodels.secret.NAME` hold VAULT/SECRET and are read from Key Vault with the workspace's identity.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX, SECRET = "spark.manymodels.", "spark.manymodels.secret."


def main(arguments: list[str]) -> None:
    """Run one stage on the spec at a path of the lake."""
    from pyspark.sql import SparkSession

    stage, spec = arguments
    spark = SparkSession.builder.getOrCreate()
    os.environ.update(environment(spark.conf.getAll, secret_of_vault))
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, Path(spec).name)
        local.write_text(text_of(spark, spec), encoding="utf-8")
        run(stage, local)


def run(stage: str, spec: Path) -> None:
    """Run `manymodels STAGE SPEC`. Raises SystemExit where it failed, and only then."""
    from manymodels_spark.cli import main as manymodels

    if code := manymodels([stage, str(spec)], standalone_mode=False):
        raise SystemExit(code)


def environment(settings: Mapping[str, str], secret: Any) -> dict[str, str]:
    """The environment variables that Spark's settings give."""
    found = {}
    for name, value in settings.items():
        if name.startswith(SECRET):
            found[name.removeprefix(SECRET)] = str(secret(*value.split("/", 1)))
        elif name.startswith(PREFIX):
            found[name.removeprefix(PREFIX)] = value
    return found


def secret_of_vault(vault: str, name: str) -> str:
    """A secret of Key Vault, by Synapse's own utility."""
    from notebookutils import mssparkutils  # there on Synapse only

    return str(mssparkutils.credentials.getSecret(vault, name))


def text_of(spark: Any, path: str) -> str:
    """A small file of the lake."""
    return str(spark.read.text(path, wholetext=True).first()[0])


if __name__ == "__main__":
    main(sys.argv[1:])
