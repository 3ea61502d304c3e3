"""Who signs in to Azure on which platform: stand-ins issue short-lived tokens; a run outlives three."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest
from identities import claims, issuer, synapse, takes

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spark import credentials
from manymodels_spark.spark.credentials import DATABASE, STORAGE, Handed, Token, provider

SIGNS = (
    "AZURE",
    "DATABRICKS",
    "ACTIONS_",
    "SYSTEM_ACCESS",
    "DEFAULT_IDENTITY",
    "MANYMODELS_",
    "MSI_",
    "IDENTITY_",
)
HOUR = 3600


@pytest.fixture(autouse=True)
def _a_bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(credentials.os.environ):
        if name.startswith(SIGNS):
            monkeypatch.delenv(name)


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`let_pass(seconds)`: from now on the clock of this process is so much later."""
    now, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + sum(ahead))
    return ahead.append


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AZURE_SERVICE": "Microsoft.ProjectArcadia"}, "Synapse"),
        ({"MANYMODELS_SERVICE_CREDENTIAL": "c", "DATABRICKS_RUNTIME_VERSION": "16.4"}, "Databricks"),
        ({"DATABRICKS_RUNTIME_VERSION": "16.4"}, "azure-identity"),
        ({"MANYMODELS_SERVICE_CREDENTIAL": "c"}, "azure-identity"),
        ({"DEFAULT_IDENTITY_CLIENT_ID": "i"}, "Azure ML"),
        ({"SYSTEM_ACCESSTOKEN": "t", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "s"}, "Azure Pipelines"),
        (
            {"ACTIONS_ID_TOKEN_REQUEST_URL": "u", "AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t"},
            "GitHub Actions",
        ),
        (
            {"AZURE_FEDERATED_TOKEN_FILE": "f", "AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t"},
            "workload identity",
        ),
        ({}, "azure-identity"),
    ],
)
def test_each_platform_is_known_by_what_it_sets(environ: dict[str, str], expected: str) -> None:
    assert provider(environ).name.startswith(expected)


def test_a_token_is_kept_until_shortly_before_its_end_and_then_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(credentials.time, "time", lambda: now[0])
    made: list[str] = []

    def fetch(scope: str) -> Token:
        made.append(scope)
        return Token(f"token {len(made)}", int(now[0]) + 3600)

    signing = credentials.Refreshed(fetch)
    seen = []
    for now[0] in (1000.0, 2000.0, 4299.0, 4301.0, 7000.0):
        seen.append(signing.get_token(STORAGE).token)
    assert seen == ["token 1", "token 1", "token 1", "token 2", "token 2"]
    assert signing.get_token(DATABASE).token == "token 3", "each scope has its own"


def test_a_run_in_a_synapse_pool_outlives_three_tokens_and_executors_get_a_fresh_one_a_wave(
    monkeypatch: pytest.MonkeyPatch, let_pass: Callable[[float], None]
) -> None:
    asked = synapse(monkeypatch, lives=HOUR)
    used = []
    for _ in range(4):
        handed = credentials.hand_out()
        at_executor = cloudpickle.loads(cloudpickle.dumps(handed))
        used.append(at_executor.get_token(STORAGE).token)
        assert takes(used[-1]), "storage takes the token of this wave"
        assert "none" not in repr(handed), "no token is printed"
        let_pass(HOUR - credentials.MARGIN + 1)
    assert [claims(one)["jti"] for one in used] == [1, 2, 3, 4] and asked == ["Storage"] * 4
    assert not takes(used[0])
    let_pass(credentials.MARGIN)
    with pytest.raises(ManyModelsError, match=r"lives. Lower limits.partitions_per_wave"):
        at_executor.get_token(STORAGE)


def test_an_executor_signs_in_with_what_the_driver_handed_out_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = synapse(monkeypatch, lives=3600)
    handed = Handed({STORAGE: Token("from the driver", int(time.time()) + 60)})
    credentials.use(handed)
    assert credentials.credential().get_token(STORAGE).token == "from the driver" and asked == []
    with pytest.raises(ManyModelsError, match="handed this executor no token for https://database"):
        credentials.credential().get_token(DATABASE)
    credentials.use(None)
    assert claims(credentials.credential().get_token(DATABASE).token)["aud"] == "DW"


def test_synapse_has_tokens_for_its_audiences_only(monkeypatch: pytest.MonkeyPatch) -> None:
    synapse(monkeypatch, lives=3600)
    with pytest.raises(ManyModelsError, match="Synapse gives no token for https://graph"):
        credentials.credential().get_token("https://graph.microsoft.com/.default")


def test_on_databricks_driver_and_executors_ask_unity_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = ModuleType("databricks.service_credentials")
    runtime.getServiceCredentialsProvider = lambda name: ("credential", name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "databricks.service_credentials", runtime)
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    monkeypatch.setenv("MANYMODELS_SERVICE_CREDENTIAL", "manymodels")
    assert credentials.credential() == ("credential", "manymodels") and credentials.hand_out() is None


def outlives_three(signing: Any, let_pass: Callable[[float], None]) -> list[int]:
    """The numbers of the tokens that a run of four waves uses, one an hour; each must be taken when it is
    used.
    """
    numbers = []
    for _ in range(4):
        text = signing.get_token(STORAGE).token
        assert takes(text)
        numbers.append(claims(text)["jti"])
        let_pass(HOUR + 1)
    return numbers


def test_a_job_in_azure_ml_outlives_three_tokens_of_its_metadata_endpoint(
    monkeypatch: pytest.MonkeyPatch, let_pass: Callable[[float], None]
) -> None:
    with issuer(lives=HOUR) as metadata:
        monkeypatch.setenv("DEFAULT_IDENTITY_CLIENT_ID", "trainer")
        monkeypatch.setenv("MSI_ENDPOINT", f"{metadata.url}/msi/token")
        monkeypatch.setenv("MSI_SECRET", "s")
        numbers = outlives_three(credentials.credential(), let_pass)
    assert len(set(numbers)) == 4
    path, sent, headers = metadata.requests[-1]
    assert (path, sent["resource"], sent["clientid"]) == (
        "/msi/token",
        "https://storage.azure.com",
        "trainer",
    )
    assert headers["secret"] == "s"


def test_a_federated_token_is_read_anew_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, let_pass: Callable[[float], None]
) -> None:
    with issuer(lives=HOUR, secure_in=tmp_path) as entra:
        entra_signs_in(monkeypatch, entra.url, tmp_path)
        file = tmp_path / "federated"
        file.write_text("first")
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
        numbers = outlives_three(credentials.credential(), let_pass)
    sent = [sent for path, sent, _ in entra.requests if path.endswith("/token")]
    assert len(set(numbers)) == 4 and {one["client_assertion"] for one in sent} == {"first"}
    assert {(one["client_id"], one["scope"]) for one in sent} == {("promoter", STORAGE)}


def test_a_workflow_of_github_asks_for_a_new_federated_token_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, let_pass: Callable[[float], None]
) -> None:
    with issuer(lives=HOUR, secure_in=tmp_path) as entra, issuer(lives=HOUR) as github:
        entra_signs_in(monkeypatch, entra.url, tmp_path)
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{github.url}/github?version=1")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runtime")
        numbers = outlives_three(credentials.credential(), let_pass)
    sent = [sent for path, sent, _ in entra.requests if path.endswith("/token")]
    assert len(set(numbers)) == 4
    assert [claims(one["client_assertion"])["jti"] for one in sent] == [1, 2, 3, 4]
    assert {(one["audience"], headers["Authorization"]) for _, one, headers in github.requests} == {
        ("api://AzureADTokenExchange", "Bearer runtime")
    }


def entra_signs_in(monkeypatch: pytest.MonkeyPatch, url: str, folder: Path) -> None:
    """Microsoft Entra is the issuer at this address, over TLS."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "issuer.pem"))
    monkeypatch.setenv("AZURE_CLIENT_ID", "promoter")
    monkeypatch.setenv("AZURE_TENANT_ID", "tenant")


def test_github_without_the_permission_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    from manymodels_spark.spark.github import github_assertion

    with pytest.raises(ManyModelsError, match="id-token: write"):
        github_assertion({"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:9/?a=1"})


@pytest.mark.parametrize("scheme", ["abfs", "abfss"])
def test_artifacts_in_azure_are_signed_in_to_by_the_platform(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    from manymodels_spark.tracking.abfs import repository_at

    asked = synapse(monkeypatch, lives=3600)
    repository = repository_at(f"{scheme}://models@account.dfs.core.windows.net/a")
    signing = repository.client.credential if scheme == "abfs" else repository.fs_client.credential
    assert claims(signing.get_token(STORAGE).token)["aud"] == "Storage" and asked == ["Storage"]
