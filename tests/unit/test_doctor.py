"""`manymodels doctor` and the start of every stage: what is missing is named within seconds, before anything
starts.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import identities as stand_ins
import pytest
from click.testing import CliRunner, Result

from manymodels_spark.cli import main
from manymodels_spark.doctor import (
    NotReady,
    examine,
    identity,
    places,
    preflight,
    repositories,
    runtime,
    sources,
    warehouses,
)
from manymodels_spark.doctor.examine import together
from manymodels_spark.doctor.findings import Finding, first_line, ok
from manymodels_spark.doctor.needs import environment, parts_of, unset
from manymodels_spark.families.checked_spec import spec_of
from manymodels_spark.spark import session
from manymodels_spark.spec import Spec

FIVE_LINES = "name: sales\npartition_by: [store]\ncolumns: {time: date, target: units}\nhorizon: 7\n"
STAGES = ["ingest", "prepare", "train", "promote", "score", "load", "run"]


def spec(folder: Path, more: str = "", source: str = "csv: data.csv", lake: str | None = None) -> Spec:
    return spec_of(text(folder, more, source, lake))


def text(folder: Path, more: str = "", source: str = "csv: data.csv", lake: str | None = None) -> str:
    places_ = (
        ""
        if "mlflow:" in more
        else (
            f"mlflow:\n  development: {{tracking: 'sqlite:///{folder}/dev.db'}}\n  production: {{tracking: "
            f"'sqlite:///{folder}/prod.db'}}\n"
        )
    )
    warehouse = "" if "warehouse:" in more else f"warehouse: {{duckdb: '{folder}/warehouse.duckdb'}}\n"
    return (
        f"{FIVE_LINES}source: {{{source}}}\nlake: '{lake or folder / 'lake'}'\n{places_}{warehouse}{more}\n"
    )


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def failures(findings: Iterator[Finding] | list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.state == "failed"]


def manymodels(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# --- variables ---

SECRETS = 'warehouse: {postgres: "${WAREHOUSE_URL}"}'


def test_a_missing_variable_is_named_with_the_key_that_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAREHOUSE_URL", raising=False)
    finding = only(environment(spec(tmp_path, SECRETS)))
    assert (finding.check, finding.state) == ("variable WAREHOUSE_URL", "failed")
    assert finding.found == "is not set, and warehouse.url of the spec uses it"

    monkeypatch.setenv("WAREHOUSE_URL", "")
    assert only(environment(spec(tmp_path, SECRETS))).found.startswith("is empty")


def test_a_variable_s_value_is_never_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://me:hunter2@127.0.0.1:1/db")
    (tmp_path / "spec.yaml").write_text(text(tmp_path, SECRETS))
    result = manymodels("doctor", str(tmp_path / "spec.yaml"))
    assert result.exit_code == 1
    assert "variable WAREHOUSE_URL" in result.output and "hunter2" not in result.output


def test_a_default_does_for_a_variable(tmp_path: Path) -> None:
    assert (
        only(
            environment(spec(tmp_path, 'warehouse: {postgres: "${MANYMODELS_NOT_SET:-postgresql://}"}'))
        ).state
        == "ok"
    )


def test_a_stage_asks_only_for_what_it_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOURCE", "DEV", "PROD", "WAREHOUSE_URL"):
        monkeypatch.delenv(name, raising=False)
    asking = spec(
        tmp_path,
        SECRETS + '\nmlflow: {development: {tracking: "${DEV}"}, production: {tracking: "${PROD}"}}',
        source='csv: "${SOURCE}"',
    )
    asked = {stage: set(unset(asking, parts_of(stage))) for stage in STAGES}
    assert asked == {
        "ingest": {"SOURCE"},
        "prepare": set(),
        "train": {"DEV"},
        "promote": {"PROD"},
        "score": set(),
        "load": {"WAREHOUSE_URL"},
        "run": {"SOURCE", "DEV", "PROD", "WAREHOUSE_URL"},
    }


# --- the start of a stage ---


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("a session was started")

    monkeypatch.setattr(session, "get_session", start)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.usefixtures("no_session")
def test_every_stage_ends_before_a_session_where_a_variable_is_missing(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKE_ROOT", raising=False)
    (tmp_path / "spec.yaml").write_text(text(tmp_path, lake="${LAKE_ROOT}"))
    result = manymodels(stage, str(tmp_path / "spec.yaml"))
    assert result.exit_code == 1
    assert f"manymodels {stage} cannot start here" in result.output
    assert "variable LAKE_ROOT: is not set, and lake of the spec uses it" in result.output


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.usefixtures("no_session")
def test_every_stage_ends_before_a_session_where_the_lake_may_not_be_written(
    stage: str, tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(text(tmp_path, lake="/proc/lake"))
    result = manymodels(stage, str(tmp_path / "spec.yaml"))
    assert result.exit_code == 1
    assert "write lake: /proc cannot be written to" in result.output


@pytest.mark.parametrize(("stage", "name"), [("train", "development"), ("promote", "production")])
def test_a_stage_ends_at_once_where_its_mlflow_does_not_listen(
    stage: str, name: str, tmp_path: Path, closed_port: int
) -> None:
    away = spec(tmp_path, f'mlflow: {{{name}: {{tracking: "http://127.0.0.1:{closed_port}"}}}}')
    preflight(away, "prepare", session=True)
    with pytest.raises(NotReady, match=f"mlflow {name}: 127.0.0.1:{closed_port} does not answer"):
        preflight(away, stage, session=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_a_package_that_the_runtime_lacks(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = runtime._version
    monkeypatch.setattr(runtime, "_version", lambda name: None if name == "lightgbm" else installed(name))
    with pytest.raises(
        NotReady, match=r"package lightgbm: is not installed.*pip install 'manymodels-spark\[lightgbm\]'"
    ):
        preflight(spec(tmp_path, "candidates: [lightgbm]"), stage, session=True)


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("command", ["status", "report", "quarantine"])
def test_who_only_looks_needs_no_right_to_write(command: str, tmp_path: Path) -> None:
    locked = spec(tmp_path, lake="/proc/lake")
    preflight(locked, command, session=True)
    with pytest.raises(NotReady, match="lake"):
        preflight(locked, "prepare", session=True)


def test_a_run_ends_at_once_where_its_last_stage_could_not_load(tmp_path: Path, closed_port: int) -> None:
    (tmp_path / "data.csv").write_text("store,date,units\n")
    away = f"warehouse: {{postgres: 'postgresql://me:pw@127.0.0.1:{closed_port}/x'}}"
    late = spec(tmp_path, away, source=f"csv: '{tmp_path}/data.csv'")
    preflight(late, "train", session=True)
    with pytest.raises(NotReady, match="write warehouse: .*refused") as told:
        preflight(late, "run", session=True)
    assert "pw" not in str(told.value)


def test_an_ingest_ends_at_once_where_its_source_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="read source: nothing is at"):
        preflight(spec(tmp_path, source=f"parquet: '{tmp_path}/*.parquet'"), "ingest", session=True)


def test_a_server_behind_a_proxy_is_not_called_away(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "")
    assert repositories.mlflow_answers("production", f"http://mlflow.test:{closed_port}") is None


def test_only_the_load_asks_for_the_warehouse_s_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = runtime._version
    monkeypatch.setattr(runtime, "_version", lambda name: None if name == "psycopg" else installed(name))
    postgres = spec(tmp_path, "warehouse: {postgres: 'postgresql://x'}")
    preflight(postgres, "train", session=True)
    with pytest.raises(NotReady, match="package psycopg"):
        preflight(postgres, "load", session=True)


def test_a_stage_names_a_wrong_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = runtime._version
    monkeypatch.setattr(runtime, "_version", lambda name: "1.5.3" if name == "pandas" else installed(name))
    with pytest.raises(NotReady, match=r"package pandas: is 1\.5\.3, and pandas<3,>=2\.2 is needed"):
        preflight(spec(tmp_path), "train", session=True)


# --- this machine ---


def test_delta_of_another_spark_is_refused_with_the_one_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_version", {"pyspark": "4.2.0", "delta-spark": "4.4.1"}.get)
    assert failures(runtime.spark()) == [
        "delta: delta-spark 4.4.1 is installed, and 4.4.0 goes with pyspark 4.2.0. Run: pip install "
        "delta-spark==4.4.0"
    ]


def test_a_spark_that_is_not_supported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_version", {"pyspark": "2.4.8"}.get)
    assert "pyspark 2.4 is not among the supported versions" in failures(runtime.spark())[0]


def test_no_spark_at_all_is_a_failure_here_and_none_on_a_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_version", {}.get)
    assert failures(runtime.spark()) == [
        "spark: pyspark is not installed. Run: pip install 'manymodels-spark[local]'"
    ]
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    assert only(runtime.spark()).state == only(runtime.java()).state == "skipped"


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.9.19")
    assert failures(runtime.python()) == [
        "python: 3.9.19, and >=3.11 is needed. Use a newer Python, or a runtime of the platform that "
        "brings one"
    ]


@pytest.mark.parametrize(
    ("said", "found"), [('openjdk version "11.0.2" 2019-01-15', "11"), ('java version "1.8.0_392"', "8")]
)
def test_an_old_java_is_refused(
    said: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    assert failures(runtime.java())[0].startswith(
        f"java: {found}, and 17 or newer is needed. Install openjdk-17-jre-headless"
    )


def test_a_full_disk_is_told_with_the_room_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 300 * 1024**2))
    wrong = failures(places.disk(spec(tmp_path)))
    assert [line.partition(":")[0] for line in wrong] == ["disk for temporary files", "disk for the lake"]
    assert "0.3 GiB free" in wrong[0] and "TMPDIR" in wrong[0]


def test_stan_fits_here_and_is_not_asked_for_without_prophet(tmp_path: Path) -> None:
    assert list(runtime.stan(spec(tmp_path, "candidates: [theta]"))) == []
    assert only(runtime.stan(spec(tmp_path, "candidates: [prophet]"))).state == "ok"


# --- places ---


def test_a_place_is_tried_by_writing_and_left_as_it_was(tmp_path: Path) -> None:
    assert places.write_to("write lake", str(tmp_path / "a" / "lake")).state == "ok"
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").write_text("")
    assert places.write_to("write lake", str(tmp_path / "file" / "lake")).state == "failed"


def test_a_place_that_only_the_platform_reaches_is_not_called_good(tmp_path: Path) -> None:
    states = {
        place: places.write_to("write", place).state
        for place in ("main.sales", "dbfs:/Volumes/a/b/c", "mlflow-artifacts:/x")
    }
    assert set(states.values()) == {"skipped"}


def test_storage_that_refuses_names_the_role_to_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str) -> Any:
        raise PermissionError(f"AuthorizationPermissionMismatch at {host}")

    monkeypatch.setattr(places, "_service", refuse)
    found = places.write_to("write lake", "abfss://lake@account.dfs.core.windows.net/tables")
    assert found.state == "failed"
    assert "AuthorizationPermissionMismatch" in found.found
    assert "Storage Blob Data Contributor on container lake" in found.advice


# --- MLflow, source, warehouse ---


def test_an_mlflow_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev.db").write_bytes(b"not a database" * 100)
    wrong = failures(repositories.mlflow(spec(tmp_path), "mlflow.development"))
    assert "dev.db: file is not a database" in wrong[0]
    sqlite3.connect(tmp_path / "prod.db").execute("CREATE TABLE a (b)")
    assert only(repositories.mlflow(spec(tmp_path), "mlflow.production")).state == "ok"


def test_databricks_without_an_address_says_how_to_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABRICKS_HOST", "DATABRICKS_RUNTIME_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "cfg"))
    found = repositories.mlflow_answers("production", "databricks://prod")
    assert found is not None and found.advice.endswith("databricks auth login --profile prod")

    (tmp_path / "cfg").write_text("[prod]\nhost = https://adb\n")
    assert repositories.mlflow_answers("production", "databricks://prod") is None


def test_a_cluster_of_databricks_has_no_profiles_and_reads_a_secret_scope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "cfg"))
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    found = repositories.mlflow_answers("production", "databricks://prod")
    assert found is not None and found.advice.endswith("databricks://SCOPE:PREFIX")
    assert repositories.mlflow_answers("production", "databricks://manymodels:prod") is None
    assert repositories.mlflow_answers("production", "databricks") is None


def test_the_doctor_says_who_signs_in_and_for_how_long_a_token_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.synapse(monkeypatch, lives=3600)
    lake = "abfss://lake@account.dfs.core.windows.net/tables"
    asking = spec(tmp_path, "warehouse: {synapse: {server: w.sql.azuresynapse.net, database: d}}", lake=lake)
    found = list(identity.identity(asking))
    assert [finding.check for finding in found] == ["sign in to storage", "sign in to the SQL pool"]
    assert {finding.state for finding in found} == {"ok"}
    assert "Synapse: the workspace's identity" in found[0].found and "lives for 60 minutes" in found[0].found
    assert list(identity.identity(spec(tmp_path))) == [], "nothing of Azure, nobody to sign in"


def test_the_doctor_says_what_to_do_where_nobody_can_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_SERVICE", "Microsoft.ProjectArcadia")
    monkeypatch.setitem(sys.modules, "notebookutils", None)
    lake = "abfss://lake@account.dfs.core.windows.net/tables"
    (wrong,) = failures(identity.identity(spec(tmp_path, lake=lake)))
    assert "notebookutils" in wrong and "az login" in wrong


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    globbed = spec(tmp_path, source=f"csv: '{tmp_path}/*.csv'")
    assert failures(sources.source(globbed))[0].startswith(f"read source: nothing is at {tmp_path}")
    (tmp_path / "a.csv").write_text("store,date,units\n")
    assert only(sources.source(globbed)).state == "ok"


def test_a_table_of_a_source_is_asked_for(tmp_path: Path) -> None:
    database = tmp_path / "source.duckdb"
    duckdb.connect(str(database)).execute("CREATE TABLE sales (store int)").close()
    there, missing = (
        spec(tmp_path, source=f"jdbc: {{url: 'jdbc:duckdb:{database}', table: {name}}}")
        for name in ("sales", "sails")
    )
    assert only(sources.source(there)).state == "ok"
    assert "sails does not exist" in failures(sources.source(missing))[0]


def test_a_source_whose_server_does_not_listen_is_named(tmp_path: Path, closed_port: int) -> None:
    away = spec(
        tmp_path, source=f"jdbc: {{url: 'jdbc:sqlserver://127.0.0.1:{closed_port};database=x', table: a}}"
    )
    assert f"127.0.0.1:{closed_port} does not answer" in failures(sources.source(away))[0]


def test_a_warehouse_that_is_open_elsewhere_just_now_does_not_stop_a_run(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    duckdb.connect(str(path)).close()
    with duckdb.connect(str(path), read_only=True):
        assert (
            only(warehouses.warehouse(spec(tmp_path))).found
            == f"{path} is open elsewhere; a load waits a little for it"
        )


def test_a_warehouse_that_cannot_be_opened_is_named(tmp_path: Path, closed_port: int) -> None:
    (tmp_path / "warehouse.duckdb").write_bytes(b"x" * 5000)
    assert "not a valid DuckDB database" in failures(warehouses.warehouse(spec(tmp_path)))[0]
    pool = spec(tmp_path, f"warehouse: {{synapse: {{server: '127.0.0.1,{closed_port}', database: d}}}}")
    assert "Resume the pool" in failures(warehouses.warehouse(pool))[0]


# --- the command ---


def test_a_machine_without_a_spec_is_checked_alone() -> None:
    result = manymodels("doctor")
    assert result.exit_code == 0, result.output
    assert "this machine is fit" in result.output


def test_the_doctor_passes_where_nothing_is_missing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("store,date,units\n")
    (tmp_path / "spec.yaml").write_text(
        text(tmp_path, "candidates: [theta]", source=f"csv: '{tmp_path}/data.csv'")
    )
    result = manymodels("doctor", str(tmp_path / "spec.yaml"))
    assert result.exit_code == 0, result.output
    assert "nothing is missing" in result.output
    assert sorted(os.listdir(tmp_path)) == ["data.csv", "spec.yaml"]


def test_the_doctor_tells_every_failure_at_once_with_what_to_do(tmp_path: Path, closed_port: int) -> None:
    (tmp_path / "spec.yaml").write_text(
        text(
            tmp_path,
            f'mlflow: {{development: {{tracking: "http://127.0.0.1:{closed_port}"}}}}',
            lake="/proc/lake",
        )
    )
    result = manymodels("doctor", str(tmp_path / "spec.yaml"))
    assert result.exit_code == 1
    for line in (
        "/proc cannot be written to",
        "does not answer",
        "nothing is at",
        "Correct its permissions",
        "failed",
    ):
        assert line in " ".join(result.output.split())


def test_a_check_that_hangs_is_a_failure_and_does_not_hold_the_others() -> None:
    never = threading.Event()

    def hangs() -> Iterator[Finding]:
        never.wait()
        yield ok("slow", "")

    findings = together({"slow": hangs, "quick": lambda: iter([ok("quick", "")])}, 0.2)
    assert [(finding.check, finding.state) for finding in findings] == [("slow", "failed"), ("quick", "ok")]
    never.set()


def test_a_check_that_breaks_is_a_failure_with_its_error() -> None:
    def breaks() -> Iterator[Finding]:
        raise OSError("no route\nlong trace")
        yield

    assert failures(together({"network": breaks}, 5)) == [
        "network: no route. Correct what it says, then run the doctor again"
    ]


def test_secrets_in_a_driver_s_message_are_blotted_out() -> None:
    assert (
        first_line(ValueError("cannot open postgresql://me:pw@db/x?password=pw2&a=1"))
        == "cannot open postgresql://***@db/x?password=***&a=1"
    )


def test_an_examination_needs_no_variable_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOURCE", "LAKE_ROOT", "DEV"):
        monkeypatch.delenv(name, raising=False)
    more = 'mlflow: {development: {tracking: "${DEV}"}}\ncandidates: [theta]'
    found = {
        finding.check: finding
        for finding in examine(spec(tmp_path, more, source='csv: "${SOURCE}"', lake="${LAKE_ROOT}"))
    }
    wrong = {name for name, finding in found.items() if finding.state == "failed"}
    assert wrong == {"variable SOURCE", "variable LAKE_ROOT", "variable DEV"}
    assert found["read source"].found == "wants SOURCE"
