"""Who signs in to Azure here, and does the platform give a token for each thing that the spec signs in to?"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress

from manymodels_spark.doctor.findings import Finding, failed, first_line, ok
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spark import credentials
from manymodels_spark.spark.storage import CONNECTION, SCHEMES
from manymodels_spark.spec import Spec
from manymodels_spark.spec.places import Synapse
from manymodels_spark.spec.source import resolve


def identity(spec: Spec) -> Iterator[Finding]:
    """One finding for each kind of thing that is signed in to, with the time for which the token lives."""
    for what, scope in _scopes(spec).items():
        yield _token(f"sign in to {what}", scope)


def _scopes(spec: Spec) -> dict[str, str]:
    """What the spec signs in to, and the scope of its tokens. A connection string needs no token."""
    found = {}
    roots = (spec.lake, spec.mlflow.development.artifacts, spec.mlflow.production.artifacts)
    if not os.environ.get(CONNECTION) and any(map(_in_azure, roots)):
        found["storage"] = credentials.STORAGE
    if isinstance(spec.warehouse, Synapse):
        found["the SQL pool"] = credentials.DATABASE
    return found


def _in_azure(location: str | None) -> bool:
    with suppress(ManyModelsError):  # a variable that is not set has a finding of its own
        return location is not None and resolve(location).startswith(SCHEMES)
    return False


def _token(check: str, scope: str) -> Finding:
    name = credentials.provider().name
    try:
        minutes = (credentials.credential().get_token(scope).expires_on - time.time()) / 60
    except Exception as error:
        advice = "Sign in with `az login`, or give the job its identity: docs/platforms.md, Who signs in"
        return failed(check, f"{name}: {first_line(error)}", advice)
    return ok(check, f"{name}; the token lives for {minutes:.0f} minutes and is renewed")
