"""Who signs in to Azure: one provider of credentials for each platform, found by what the platform sets.

Whatever signs in (artifacts, the SQL pool, the doctor, deployments) asks `credential()`, on the driver and on
executors. Where a platform gives tokens to the driver only, as Synapse does, the driver hands a fresh one to
the executors with each wave of work: `hand_out()`, then `use()` there. No token reaches a log or a table.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spark.github import github_assertion

STORAGE = "https://storage.azure.com/.default"
DATABASE = "https://database.windows.net/.default"
SERVICE_CREDENTIAL = "MANYMODELS_SERVICE_CREDENTIAL"
# A token that ends within these seconds is not used for new work: uploads and logins take less.
MARGIN = 300.0
# https://learn.microsoft.com/azure/synapse-analytics/spark/microsoft-spark-utilities (audiences of getToken)
_AUDIENCES = {
    STORAGE: "Storage",
    DATABASE: "DW",
    "https://vault.azure.net/.default": "Vault",
    "https://management.azure.com/.default": "AzureManagement",
}
Environment = Mapping[str, str]


class Token(NamedTuple):
    """A bearer token and the time at which it ends, in seconds since 1970, as azure-core's AccessToken."""

    token: str
    expires_on: int


@dataclass(frozen=True)
class Provider:
    """How one platform signs in.

    Attributes:
        name: the platform and the identity, as the documentation's table says it.
        found: whether the environment is that of the platform.
        make: a credential of azure-core's form (`get_token(scope)`), made on the platform.
        on_executors: whether executors sign in by themselves; else the driver hands tokens out.

    """

    name: str
    found: Callable[[Environment], bool]
    make: Callable[[Environment], Any]
    on_executors: bool = True


class Refreshed:
    """A credential over a function that gives a new token; one is kept until shortly before its end."""

    def __init__(self, fetch: Callable[[str], Token]) -> None:
        self._fetch, self._kept, self._lock = fetch, dict[str, Token](), threading.Lock()

    def get_token(self, *scopes: str, **_: Any) -> Token:
        """A token for the first scope that lives at least as long as `MARGIN` where the platform has one."""
        (scope, *_rest) = scopes
        with self._lock:
            kept = self._kept.get(scope)
            if kept is None or kept.expires_on - time.time() < MARGIN:
                kept = self._kept[scope] = self._fetch(scope)
            return kept


@dataclass(frozen=True)
class Handed:
    """Tokens by scope that the driver gave to an executor; it cannot ask for new ones."""

    tokens: Mapping[str, Token] = field(repr=False)

    def get_token(self, *scopes: str, **_: Any) -> Token:
        """The token for the first scope. Raises ManyModelsError where there is none or it has ended."""
        token = self.tokens.get(scopes[0])
        if token is None:
            raise ManyModelsError(f"the driver handed this executor no token for {scopes[0]}")
        if token.expires_on <= time.time():
            raise ManyModelsError(
                f"the token for {scopes[0]} ended while this task ran: a wave takes longer than a token "
                "lives. Lower limits.partitions_per_wave in the spec and run the same command again"
            )
        return token


def provider(environ: Environment = os.environ) -> Provider:
    """The provider of the platform at hand; that of azure-identity's defaults where no other is found."""
    return next(one for one in PROVIDERS if one.found(environ))


def credential() -> Any:
    """The credential to sign in to Azure with: what the driver handed out, else the platform's own.

    Raises:
        ManyModelsError: the platform's own library is missing, with what to do.

    """
    if _process.handed is not None:
        return _process.handed
    with _process.lock:
        if _process.credential is None:
            _process.credential = _made(provider())
        return _process.credential


def hand_out(*scopes: str) -> Handed | None:
    """On the driver: fresh tokens for the next wave's executors; None where they sign in themselves."""
    if provider().on_executors:
        return None
    return Handed({scope: credential().get_token(scope) for scope in scopes or (STORAGE,)})


def use(handed: Handed | None) -> None:
    """On an executor: sign in with what the driver handed out; None leaves it to the platform."""
    _process.handed = handed


def forget() -> None:
    """Look for the platform again at the next call, as after a change of the environment."""
    _process.credential = _process.handed = None


@dataclass
class _Process:
    """What this process signs in with."""

    credential: Any = None
    handed: Handed | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_process = _Process()


def _made(chosen: Provider) -> Any:
    try:
        return chosen.make(os.environ)
    except ImportError as error:
        raise ManyModelsError(
            f"signing in to Azure by {chosen.name} needs {error.name}. "
            "Run: pip install 'manymodels-spark[azure]'"
        ) from error


def _synapse(_: Environment) -> Refreshed:
    tokens = import_module("notebookutils").mssparkutils.credentials  # there on Synapse's driver only

    def fetch(scope: str) -> Token:
        if scope not in _AUDIENCES:
            raise ManyModelsError(
                f"Synapse gives no token for {scope}. It has {', '.join(sorted(_AUDIENCES))}"
            )
        token = str(tokens.getToken(_AUDIENCES[scope]))
        return Token(token, _end_of(token))

    return Refreshed(fetch)


def _end_of(token: str) -> int:
    """The time at which a JSON Web Token ends (RFC 7519, claim `exp`); its signature is not looked at."""
    try:
        body = token.split(".")[1]
        return int(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, ValueError):
        raise ManyModelsError("the platform gave a token that says no end; it is not used") from None


def _unity_catalog(environ: Environment) -> Any:
    runtime = import_module("databricks.service_credentials")  # in Databricks' runtime only
    return runtime.getServiceCredentialsProvider(environ[SERVICE_CREDENTIAL])


def _azureml(environ: Environment) -> Any:
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=environ["DEFAULT_IDENTITY_CLIENT_ID"])


def _devops(environ: Environment) -> Any:
    from azure.identity import AzurePipelinesCredential

    return AzurePipelinesCredential(
        tenant_id=environ["AZURESUBSCRIPTION_TENANT_ID"],
        client_id=environ["AZURESUBSCRIPTION_CLIENT_ID"],
        service_connection_id=environ["AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"],
        system_access_token=environ["SYSTEM_ACCESSTOKEN"],
    )


def _github(environ: Environment) -> Any:
    from azure.identity import ClientAssertionCredential

    return ClientAssertionCredential(
        environ["AZURE_TENANT_ID"], environ["AZURE_CLIENT_ID"], lambda: github_assertion(environ)
    )


def _federated(environ: Environment) -> Any:
    from azure.identity import WorkloadIdentityCredential

    return WorkloadIdentityCredential()


def _default(_: Environment) -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _names(*names: str) -> Callable[[Environment], bool]:
    """Whether all of these variables are there and not empty."""
    return lambda environ: all(environ.get(name) for name in names)


# In the order in which they are looked for: what only one platform sets comes first.
PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "Synapse: the workspace's identity, by mssparkutils",
        lambda environ: environ.get("AZURE_SERVICE") == "Microsoft.ProjectArcadia",
        _synapse,
        on_executors=False,
    ),
    Provider(
        "Databricks: a service credential of Unity Catalog",
        _names(SERVICE_CREDENTIAL, "DATABRICKS_RUNTIME_VERSION"),
        _unity_catalog,
    ),
    Provider("Azure ML: the job's identity", _names("DEFAULT_IDENTITY_CLIENT_ID"), _azureml),
    Provider(
        "Azure Pipelines: the service connection",
        _names("SYSTEM_ACCESSTOKEN", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"),
        _devops,
    ),
    Provider(
        "GitHub Actions: its OpenID Connect token",
        _names("ACTIONS_ID_TOKEN_REQUEST_URL", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
        _github,
    ),
    Provider(
        "workload identity: a file with a federated token",
        _names("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
        _federated,
    ),
    Provider("azure-identity: environment, managed identity or `az login`", lambda _: True, _default),
)
