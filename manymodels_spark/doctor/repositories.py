"""Do both MLflows answer, and do they let this identity in?"""

from __future__ import annotations

import configparser
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from manymodels_spark.doctor.findings import Finding, failed, first_line, ok, skipped
from manymodels_spark.doctor.needs import DEVELOPMENT, PRODUCTION, part, unset
from manymodels_spark.doctor.places import write_to
from manymodels_spark.doctor.reach import by_proxy, listens
from manymodels_spark.spec import Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking.client import Client, public, server_uri


def repositories(spec: Spec) -> Iterator[Finding]:
    """The development and the production MLflow."""
    yield from mlflow(spec, DEVELOPMENT)
    yield from mlflow(spec, PRODUCTION)


def mlflow_answers(name: str, tracking: str) -> Finding | None:
    """A failed finding where nobody listens at a tracking server, or nothing says where it is.

    It takes seconds at most, and MLflow is not imported.
    """
    if tracking.startswith("databricks"):
        return _databricks(name, tracking)
    uri = urlparse(server_uri(tracking))
    if uri.scheme not in ("http", "https") or uri.hostname is None or by_proxy(uri.scheme, uri.hostname):
        return None
    wrong = listens(uri.hostname, uri.port or (443 if uri.scheme == "https" else 80))
    advice = "Start the server, open the network to it, or correct mlflow.*.tracking in the spec"
    return failed(f"mlflow {name}", wrong, advice) if wrong else None


def _databricks(name: str, tracking: str) -> Finding | None:
    """Outside of Databricks its workspace must be named: by variables, or by a profile of its command line.

    `databricks://SCOPE:PREFIX` is a secret scope, which only a workspace reads; a cluster has no profiles.
    """
    secrets = ":" in tracking.partition("://")[2]
    if secrets and "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return None
    profile = tracking.partition("://")[2] or os.environ.get("DATABRICKS_CONFIG_PROFILE") or "DEFAULT"
    settings = configparser.ConfigParser()
    settings.read(os.environ.get("DATABRICKS_CONFIG_FILE") or Path.home() / ".databrickscfg")
    known = profile in settings if profile != "DEFAULT" else bool(settings.defaults())
    named = "://" in tracking
    here = "DATABRICKS_HOST" in os.environ or "DATABRICKS_RUNTIME_VERSION" in os.environ
    if known or (here and not named):
        return None
    if named and "DATABRICKS_RUNTIME_VERSION" in os.environ:
        advice = "Name a secret scope and the prefix of its keys instead: databricks://SCOPE:PREFIX"
        return failed(f"mlflow {name}", f"{tracking}: a cluster has no profile {profile}", advice)
    advice = f"Set DATABRICKS_HOST with DATABRICKS_TOKEN, or run: databricks auth login --profile {profile}"
    return failed(
        f"mlflow {name}", f"{tracking}: neither DATABRICKS_HOST nor the profile {profile} is there", advice
    )


def mlflow(spec: Spec, path: str) -> Iterator[Finding]:
    """One repository: is it reachable with these credentials?"""
    name = path.rpartition(".")[2]
    if missing := unset(spec, (path,)):
        yield skipped(f"mlflow {name}", f"wants {', '.join(missing)}")
        return
    tracking = resolve(part(spec, path).tracking)
    yield mlflow_answers(name, tracking) or _search(name, tracking)


def _search(name: str, tracking: str) -> Finding:
    """Ask for one experiment."""
    check, address = f"mlflow {name}", public(tracking)
    if tracking.startswith("sqlite:///"):
        return _sqlite(check, Path(tracking.removeprefix("sqlite:///")))
    try:
        client = Client.connect(tracking)
        client.call(client.mlflow.search_experiments, max_results=1, patience=1)
    except Exception as error:
        advice = (
            "Check the address, MLFLOW_TRACKING_TOKEN or DATABRICKS_HOST, and that this identity may read "
            "and write experiments"
        )
        return failed(check, f"{address}: {first_line(error)}", advice)
    return ok(check, address)


def _sqlite(check: str, path: Path) -> Finding:
    if path.exists():
        try:
            with sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=2) as database:
                database.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            return failed(
                check,
                f"{path}: {first_line(error)}",
                "Name another file in mlflow.*.tracking, or correct its permissions",
            )
    return write_to(check, str(path.absolute().parent))
