"""Azure storage for Spark: whether a spec needs it, and how the environment says to sign in.

The variables are those that Azure's own tools read, so that one setting serves Spark, MLflow and
azure-identity. This module must know neither a session nor a table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.source import resolve

SCHEMES = ("abfs://", "abfss://")
CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
_DFS = "dfs.core.windows.net"
_LOGIN = "https://login.microsoftonline.com"
_PROVIDERS = "org.apache.hadoop.fs.azurebfs.oauth2"
# What Azurite requires: it speaks the blob service's protocol, over plain HTTP, and has no folders.
_EMULATOR = {
    "fs.azure.fns.account.service.type": "BLOB",
    "fs.azure.ingress.service.type": "BLOB",
    "fs.azure.account.hns.enabled": "false",
    "fs.azure.always.use.https": "false",
    "fs.azure.ssl.channel.mode": "Default_JSSE",
    "fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
}
_COMMITTER = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
# Hadoop's own committer for these schemes requires a job id that Spark does not give it: a plain write would
# end in a NullPointerException. Its metrics are sent as Java ends: where the account is out of reach by then,
# Java would not end.
DRIVER = {
    "spark.hadoop.fs.azure.metrics.collection.enabled": "false",
    **{
        f"spark.hadoop.mapreduce.outputcommitter.factory.scheme.{scheme.removesuffix('://')}": _COMMITTER
        for scheme in SCHEMES
    },
}


def needs_azure(spec: Spec) -> bool:
    """Whether the spec's lake, source, calendar or staging folder lies in Azure storage.

    A variable that is not set is no matter here: whoever uses the place says so.
    """
    sources = [spec.source, *([spec.prepare.calendar] if spec.prepare.calendar else [])]
    places = [
        spec.lake,
        *(getattr(source, "path", None) for source in sources),
        getattr(spec.warehouse, "staging", None),
    ]
    return any(_resolved(place).startswith(SCHEMES) for place in places if place)


def azure_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Hadoop's settings for the storage account that the environment names; none where it names none.

    In this order: a connection string (with Azurite's endpoint, too), an account with its key, a service
    principal, a workload identity, a managed identity. Raises ManyModelsError for a connection string without
    account and key.
    """
    if connection := environ.get(CONNECTION):
        return _by_connection(connection)
    account = environ.get("AZURE_STORAGE_ACCOUNT") or environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    key = environ.get("AZURE_STORAGE_KEY") or environ.get("AZURE_STORAGE_ACCESS_KEY")
    if account and key:
        return {f"fs.azure.account.key.{account}.{_DFS}": key}
    return _by_identity(environ)


def _by_connection(connection: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection.split(";") if part)
    parts = {name: value for name, _, value in pairs}
    account, key = parts.get("AccountName"), parts.get("AccountKey")
    if not account or not key:
        raise ManyModelsError(
            f"{CONNECTION} holds no AccountName and AccountKey. Copy it from the storage account's page "
            "'Access keys', or "
            "sign in by identity instead: AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET"
        )
    keys = {f"fs.azure.account.key.{account}.{_DFS}": key}
    endpoint = urlsplit(parts.get("BlobEndpoint", ""))
    if endpoint.scheme != "http":
        return keys
    blob = {f"fs.azure.account.key.{account}.blob.core.windows.net": key}
    return {**keys, **blob, **_EMULATOR, "fs.azure.abfs.endpoint": endpoint.netloc}


def _by_identity(environ: Mapping[str, str]) -> dict[str, str]:
    client, tenant = environ.get("AZURE_CLIENT_ID"), environ.get("AZURE_TENANT_ID")
    if client is None:
        return {}
    known = {"fs.azure.account.auth.type": "OAuth", "fs.azure.account.oauth2.client.id": client}
    login = environ.get("AZURE_AUTHORITY_HOST", _LOGIN).rstrip("/")
    if tenant and (secret := environ.get("AZURE_CLIENT_SECRET")):
        return known | {
            "fs.azure.account.oauth.provider.type": f"{_PROVIDERS}.ClientCredsTokenProvider",
            "fs.azure.account.oauth2.client.endpoint": f"{login}/{tenant}/oauth2/token",
            "fs.azure.account.oauth2.client.secret": secret,
        }
    if tenant and (token := environ.get("AZURE_FEDERATED_TOKEN_FILE")):
        return known | {
            "fs.azure.account.oauth.provider.type": f"{_PROVIDERS}.WorkloadIdentityTokenProvider",
            "fs.azure.account.oauth2.msi.tenant": tenant,
            "fs.azure.account.oauth2.msi.authority": f"{login}/",
            "fs.azure.account.oauth2.token.file": token,
        }
    managed = {"fs.azure.account.oauth.provider.type": f"{_PROVIDERS}.MsiTokenProvider"}
    return known | managed | ({"fs.azure.account.oauth2.msi.tenant": tenant} if tenant else {})


def _resolved(place: str) -> str:
    try:
        return resolve(place)
    except ManyModelsError:
        return ""
