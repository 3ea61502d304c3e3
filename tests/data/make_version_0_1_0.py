"""Makes `version-0.1.0.tar.xz`: two nights of four partitions as version 0.1.0 of this package wrote them.

Run it once, from the repository's root: `python tests/data/make_version_0_1_0.py`. It takes the code of that
version from git, not from the working tree. MLflow's records and the champions' index name absolute paths,
so the archive holds one fixed folder, `FOLDER`, and is unpacked to the same place (see `upgrades.py`).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import date, timedelta
from pathlib import Path

import yaml

COMMIT = "6c1ef75"  # the last commit of version 0.1.0
FOLDER = Path("/tmp/manymodels-version-0.1.0")
ARCHIVE = Path(__file__).with_name("version-0.1.0.tar.xz")
TESTS = Path(__file__).parent.parent
WEEK = [30, 50, 40, 60, 80, 120, 100]
# What the old code reads of its own records, for the test to compare with; and an interrupted training run.
READ = """
import json, os, sys
from manymodels_spark.session import get_session
from manymodels_spark.spec import read_spec
from manymodels_spark.stages import ledger
from manymodels_spark.stages.job import Job
job = Job.of(read_spec(sys.argv[1]), get_session("old", "local[2]"))
champions = job.lake.read("champions").select("partition_id", "model_id", "sha256", "promotion").collect()
sums = job.lake.read("predictions").groupBy("partition_id").sum("prediction").collect()
facts = {
    "champions": {row["partition_id"]: row["model_id"] for row in champions},
    "sha256": {row["partition_id"]: row["sha256"] for row in champions},
    "predictions": {row[0]: row[1] for row in sums},
    "versions": {name: job.lake.version(name) for name in ("fits", "predictions", "champions")},
}
open(sys.argv[2], "w").write(json.dumps(facts, indent=1, sort_keys=True))
ledger.open_run(job, "train", "interrupted")
os._exit(0)
"""


def main() -> None:
    """Write the archive anew."""
    sys.path.insert(0, str(TESTS))
    from integration import postgres

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    code, server = Path(tempfile.mkdtemp()), postgres.start()
    _old_code(code)
    url = server.new_database()
    os.environ["SALES_WAREHOUSE"] = url
    specs = [_spec("sales.yaml", {"duckdb": str(FOLDER / "warehouse.duckdb")})]
    specs.append(_spec("postgres.yaml", {"postgres": {"url": "${SALES_WAREHOUSE}", "schema": "forecasts"}}))
    for days in (70, 77):
        _sales(days)
        _call(code, "run", str(specs[0]))
        _call(code, "load", str(specs[1]))
    _call(code, "rollback", str(specs[0]), "--only", "store = 1 and item = 'a'")
    _python(code, READ, str(specs[0]), str(FOLDER / "facts.json"))
    dump = subprocess.run(["pg_dump", "--no-owner", url], check=True, capture_output=True, text=True).stdout
    (FOLDER / "warehouse.sql").write_text(dump)
    server.stop()
    _pack()
    shutil.rmtree(code)
    shutil.rmtree(FOLDER)


def _old_code(folder: Path) -> None:
    packed = subprocess.run(["git", "archive", COMMIT, "manymodels_spark"], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _spec(name: str, warehouse: dict[str, object]) -> Path:
    repositories = {
        role: {"tracking": f"sqlite:///{FOLDER}/{role}.db", "artifacts": str(FOLDER / f"{role}-artifacts")}
        for role in ("development", "production")
    }
    parts = {
        "name": "sales",
        "task": "forecast",
        "partition_by": ["store", "item"],
        "source": {"csv": str(FOLDER / "sales.csv")},
        "columns": {"time": "date", "target": "units", "frequency": "D"},
        "horizon": 7,
        "candidates": ["seasonal_naive", {"linear": {"lags": [7]}}],
        "backtest": {"folds": 1, "intervals": [80]},
        "promote": {"form": "registered_models"},
        "mlflow": repositories,
        "lake": str(FOLDER / "lake"),
        "warehouse": warehouse,
    }
    path = FOLDER / name
    path.write_text(yaml.safe_dump(parts, sort_keys=False))
    return path


def _sales(days: int) -> None:
    lines = ["store,item,date,units"]
    for store, item in ((1, "a"), (1, "b/ü"), (2, "a"), (2, "b/ü")):
        for n in range(days):
            units = WEEK[n % 7] * store + (n * n * 7 + len(item)) % 11
            lines.append(f"{store},{item},{date(2026, 1, 1) + timedelta(n)},{units}")
    (FOLDER / "sales.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _call(code: Path, *arguments: str) -> None:
    _python(code, "from manymodels_spark.cli import main; main()", *arguments)


def _python(code: Path, program: str, *arguments: str) -> None:
    """Run a program with the old code; the records name a machine that the tests never run on."""
    program = f"import socket; socket.gethostname = lambda: 'a-laptop'\n{program}"
    environment = {**os.environ, "PYTHONPATH": str(code), "MANYMODELS_MASTER": "local[2]"}
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, env=environment, cwd=FOLDER)


def _pack() -> None:
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        archive.add(FOLDER, arcname=FOLDER.name, filter=_plain)
    size = ARCHIVE.stat().st_size
    print(json.dumps({"archive": str(ARCHIVE), "bytes": size}))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
