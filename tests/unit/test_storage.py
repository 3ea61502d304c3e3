"""Azure storage: when a spec needs it, and what the environment makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import make_spec

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spark.jars import checksums, coordinates
from manymodels_spark.spark.storage import azure_settings, needs_azure

LAKE = "abfss://lake@account.dfs.core.windows.net/forecasts"
PROVIDER = "fs.azure.account.oauth.provider.type"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, False),
        ({"lake": LAKE}, True),
        ({"lake": "${LAKE}"}, True),
        ({"lake": "${NOT_SET}"}, False),
        ({"source": {"parquet": LAKE}}, True),
        ({"source": {"delta": LAKE}}, True),
        ({"prepare": {"calendar": {"csv": LAKE}}}, True),
        ({"warehouse": {"duckdb": {"path": "w.duckdb", "staging": LAKE}}}, True),
        ({"lake": "s3a://bucket/lake"}, False),
    ],
)
def test_azure_is_needed_where_a_place_of_the_spec_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], wanted: bool
) -> None:
    monkeypatch.setenv("LAKE", LAKE)
    assert needs_azure(make_spec(tmp_path, **changes)) is wanted


def test_an_account_key_comes_from_a_connection_string_or_from_two_variables() -> None:
    expected = {"fs.azure.account.key.shop.dfs.core.windows.net": "a2V5=="}
    connection = (
        "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=a2V5==;EndpointSuffix=core.windows.net"
    )
    assert azure_settings({"AZURE_STORAGE_CONNECTION_STRING": connection}) == expected
    assert azure_settings({"AZURE_STORAGE_ACCOUNT": "shop", "AZURE_STORAGE_KEY": "a2V5=="}) == expected


def test_an_emulator_is_reached_at_its_own_address_without_tls() -> None:
    connection = (
        "AccountName=devstoreaccount1;AccountKey=k;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    )
    found = azure_settings({"AZURE_STORAGE_CONNECTION_STRING": connection})
    assert found["fs.azure.abfs.endpoint"] == "127.0.0.1:10000"
    assert found["fs.azure.always.use.https"] == "false"


@pytest.mark.parametrize(
    ("variables", "provider"),
    [
        ({"AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": "s"}, "ClientCredsTokenProvider"),
        ({"AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/token"}, "WorkloadIdentityTokenProvider"),
        ({}, "MsiTokenProvider"),
    ],
)
def test_an_identity_is_used_as_azures_own_tools_use_it(variables: dict[str, str], provider: str) -> None:
    found = azure_settings({"AZURE_CLIENT_ID": "c", **variables})
    assert found["fs.azure.account.auth.type"] == "OAuth"
    assert found[PROVIDER] == f"org.apache.hadoop.fs.azurebfs.oauth2.{provider}"
    assert found["fs.azure.account.oauth2.client.id"] == "c"


def test_an_environment_without_azure_changes_nothing() -> None:
    assert azure_settings({"PATH": "/bin"}) == {}


def test_a_connection_string_without_a_key_says_what_is_missing() -> None:
    with pytest.raises(ManyModelsError, match="no AccountName and AccountKey") as caught:
        azure_settings({"AZURE_STORAGE_CONNECTION_STRING": "SharedAccessSignature=sv=secret"})
    assert "secret" not in str(caught.value).replace("AZURE_CLIENT_SECRET", "")


def test_every_library_is_fetched_with_a_checksum() -> None:
    wanted = [coordinate for group in ("core", "azure", "kafka") for coordinate in coordinates(group, "4.2")]
    files = {f"{name}-{release}.jar" for _, name, release in (coordinate.split(":") for coordinate in wanted)}
    assert files <= checksums().keys()
