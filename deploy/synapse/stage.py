"""What a Spark job definition runs: `stage.py STAGE SPEC [OPTION ...]`, the spec being a file of the lake.

Settings `spark.manymodels.NAME` become environment variables, for the `${NAME}` of the spec. Those named
`spark.manymodels.secret.NAME` hold VAULT/SECRET/LINKED_SERVICE and are read from Key Vault by the workspace's
identity. `spark.manymodels.report` is the folder of the lake to which the stage `report` writes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PREFIX, SECRET = "spark.manymodels.", "spark.manymodels.secret."
REPORT = "spark.manymodels.report"


def main(arguments: list[str]) -> None:
    """Run one stage on the spec at a path of the lake."""
    stage, spec, *options = arguments
    spark = session()
    os.environ.update(environment(settings_of(spark), secret_of_vault))
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, Path(spec).name)
        local.write_text(text_of(spark, spec), encoding="utf-8")
        if stage == "report":
            page = Path(folder, f"{local.stem}-{datetime.now(UTC):%Y-%m-%dT%H-%M}.html")
            run(stage, local, "--out", str(page))
            copy_to_lake(page, spark.conf.get(REPORT))
        else:
            run(stage, local, *options)


def session() -> Any:
    """The session that the platform brings."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def settings_of(spark: Any) -> dict[str, str]:
    """The session's settings below `spark.manymodels.`.

    `spark.conf.getAll` is there since PySpark 4.0 only, and a pool has 3.5. `SET` lists the names, but shows
    what looks like a secret as redacted, so each value is asked for by its name.
    """
    names = [row["key"] for row in spark.sql("SET").collect() if row["key"].startswith(PREFIX)]
    return {name: str(spark.conf.get(name)) for name in names}


def run(stage: str, spec: Path, *options: str) -> None:
    """Run `manymodels STAGE SPEC`. Raises SystemExit where it failed, and only then."""
    from manymodels_spark.cli import main as manymodels

    if code := manymodels([stage, str(spec), *options], standalone_mode=False):
        raise SystemExit(code)


def environment(settings: Mapping[str, str], secret: Any) -> dict[str, str]:
    """The environment variables that Spark's settings give."""
    found = {}
    for name, value in settings.items():
        if name.startswith(SECRET):
            found[name.removeprefix(SECRET)] = read_secret(name, value, secret)
        elif name.startswith(PREFIX) and name != REPORT:
            found[name.removeprefix(PREFIX)] = value
    return found


def read_secret(setting: str, place: str, secret: Any) -> str:
    """A secret by its VAULT/SECRET/LINKED_SERVICE; the linked service is KeyVault where none is named.

    Ends the job, naming setting, vault and secret, where it cannot be read.
    """
    vault, name, service = [*place.split("/"), "KeyVault"][:3]
    try:
        return str(secret(vault, name, service))
    except Exception as error:
        raise SystemExit(
            f"{setting}: secret {name!r} of vault {vault!r} cannot be read by linked service {service!r} "
            f"({type(error).__name__}). Write the secret, and give the workspace's identity the role Key "
            "Vault Secrets User there"
        ) from error


def secret_of_vault(vault: str, name: str, service: str) -> str:
    """A secret of Key Vault, read by the workspace's identity (without a service by the caller's)."""
    from notebookutils import mssparkutils  # there on Synapse only

    return str(mssparkutils.credentials.getSecret(vault, name, service))


def copy_to_lake(page: Path, folder: str) -> None:
    """A file of the driver into a folder of the lake, by Synapse's own utility."""
    from notebookutils import mssparkutils  # there on Synapse only

    mssparkutils.fs.cp(f"file:{page}", f"{folder}/{page.name}")


def text_of(spark: Any, path: str) -> str:
    """A small file of the lake."""
    return str(spark.read.text(path, wholetext=True).first()[0])


if __name__ == "__main__":
    main(sys.argv[1:])
