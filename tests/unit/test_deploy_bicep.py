"""The infrastructure in `deploy/bicep`: its syntax by a parser, and by tests of our own what a parser cannot
see.

Nothing here knows which properties Azure takes: that only its own compiler or a deployment can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import read
from pycep import BicepParser

ROOT = Path(__file__).parents[2]
BICEP = ROOT / "deploy" / "bicep"
FILES = sorted(BICEP.rglob("*.bicep"))
PARSER = BicepParser()
TREES: dict[Path, Any] = {path: PARSER.parse(file_path=path) for path in FILES}
MAIN, ACCESS = BICEP / "main.bicep", BICEP / "access.bicep"
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)

# Azure's own list of built-in roles, copied by hand:
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
BUILT_IN = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "Azure Kubernetes Service RBAC Cluster Admin": "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b",
    "AzureML Data Scientist": "f6c7c914-8db3-469d-8ca1-694a8f32e121",
    "AzureML Registry User": "1823dd4f-9b8c-4ab6-ab4e-7397a3684615",
    "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Key Vault Certificate User": "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",
    "Key Vault Secrets Officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Network Contributor": "4d97b98b-1d4f-4787-a291-c67834d212e7",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
}


def config(module: dict[str, Any]) -> dict[str, Any]:
    """The body of a module or resource, whether it stands in a loop or not."""
    inner = module["config"]
    return config(inner) if "config" in inner else inner


def modules() -> Iterator[tuple[Path, str, Path, dict[str, Any]]]:
    """(file, symbol, the module's file, parameters passed) of every module that is used."""
    for path, tree in TREES.items():
        for symbol, module in tree.get("modules", {}).items():
            yield path, symbol, path.parent / module["detail"]["path"], config(module).get("params", {})


def grants() -> Iterator[tuple[str, str, str]]:
    """(identity, role, place) of every assignment in access.bicep."""
    tree = TREES[ACCESS]
    for module in tree["modules"].values():
        body = config(module)["params"]
        place = body.get("containerName") or ("vault" if "vaultName" in body else "databricks")
        loop = module["config"].get("loop_type")
        listed = (
            tree["variables"][loop["detail"]["array_name"]]["value"]["function"]["parameters"]["input_array"]
            if loop
            else []
        )
        for identity in listed or [body["principalId"]]:
            yield identity, body["role"], place


def code(path: Path) -> str:
    return re.sub(r"//.*", "", path.read_text())


def test_a_mistake_of_syntax_would_be_found(tmp_path: Path) -> None:
    broken = tmp_path / "broken.bicep"
    broken.write_text(MAIN.read_text().replace("params: {", "params {", 1))
    with pytest.raises(Exception, match="line"):
        PARSER.parse(file_path=broken)


def test_every_module_exists_and_none_is_left_over() -> None:
    used = {target.resolve() for _, _, target, _ in modules()}
    assert used == {path.resolve() for path in FILES} - {MAIN.resolve()}


@pytest.mark.parametrize(
    ("path", "symbol", "target", "given"),
    list(modules()),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_module_is_given_its_parameters_no_more_and_no_fewer(
    path: Path, symbol: str, target: Path, given: dict[str, Any]
) -> None:
    declared = TREES[target]["parameters"]
    needed = {name for name, one in declared.items() if one["default"] is None}
    assert needed <= set(given) <= set(declared), f"{path.name}: {symbol}"


@each_file
def test_every_parameter_and_variable_is_used(path: Path) -> None:
    text = code(path)
    for name in [*TREES[path].get("parameters", {}), *TREES[path].get("variables", {})]:
        assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is declared in vain"


@each_file
def test_every_output_that_is_read_exists(path: Path) -> None:
    targets = {symbol: target for owner, symbol, target, _ in modules() if owner == path}
    for symbol, output in re.findall(r"(\w+)!?\.outputs\.(\w+)", code(path)):
        assert output in TREES[targets[symbol]]["outputs"], f"{symbol} has no output {output}"


@each_file
def test_every_parent_and_scope_is_a_resource_of_the_file(path: Path) -> None:
    tree = TREES[path]
    for named in re.findall(r"^\s+(?:parent|scope): (\w+)$", code(path), re.MULTILINE):
        assert named in tree["resources"], named
    for symbol, resource in tree.get("resources", {}).items():
        assert re.fullmatch(r"Microsoft\.\w+(/\w+)+", resource["type"]), symbol
        assert re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", resource["api_version"]), symbol


def test_a_resource_type_has_one_version_everywhere() -> None:
    versions: dict[str, set[str]] = {}
    for tree in TREES.values():
        for resource in tree.get("resources", {}).values():
            versions.setdefault(resource["type"], set()).add(resource["api_version"])
    assert {kind: found for kind, found in versions.items() if len(found) > 1} == {}


def test_the_parameter_file_gives_what_main_requires() -> None:
    given = json.loads((BICEP / "main.parameters.json").read_text())["parameters"]
    declared = TREES[MAIN]["parameters"]
    assert {name for name, one in declared.items() if one["default"] is None} <= set(given) <= set(declared)
    allowed = next(one["argument"] for one in declared["platform"]["decorators"] if one["type"] == "allowed")
    assert given["platform"]["value"] in allowed
    assert 3 <= len(given["prefix"]["value"]) <= 11


# --- rights ---


def test_role_ids_are_those_of_the_built_in_roles() -> None:
    assert json.loads((BICEP / "roles.json").read_text()) == BUILT_IN


def test_every_role_that_is_named_is_in_the_list_and_none_is_left_over() -> None:
    used: set[str] = set()
    for path in FILES:
        text = code(path)
        used |= set(re.findall(r"^\s+role: '([^']+)'$", text, re.MULTILINE))
        used |= set(re.findall(r"roles\['([^']+)'\]", text)) | set(re.findall(r"roles\.(?!json)(\w+)", text))
    assert used == set(BUILT_IN)


def test_the_trainer_does_not_write_into_production() -> None:
    writers = {
        identity
        for identity, role, place in grants()
        if place == "production" and role == "Storage Blob Data Contributor"
    }
    assert writers == {"promoterId", "connectorId", "synapseId"}, (
        "Unity Catalog and a Synapse workspace have one identity each"
    )
    members = {
        target: given["memberIds"] for _, target, path, given in modules() if path.name == "learning.bicep"
    }
    assert "trainer" not in json.dumps(members["learningProduction"]) and "trainer" in json.dumps(
        members["learningDevelopment"]
    )


def test_rights_are_on_single_resources_and_the_broadest_is_what_databricks_asks_for() -> None:
    assert [grant for grant in grants() if grant[1] in {"Contributor", "Owner"}] == [
        ("factoryId", "Contributor", "databricks")
    ]
    for path in FILES:
        scopes = re.findall(r"roleAssignments@.*?scope: (\w+)", code(path), re.DOTALL)
        kinds = {TREES[path]["resources"][scope]["type"] for scope in scopes}
        assert not kinds & {"Microsoft.Resources/resourceGroups"}
        assert code(path).count("roleAssignments@") == len(scopes), "every assignment names its scope"


def test_identities_that_read_secrets_cannot_write_them() -> None:
    vault = {(identity, role) for identity, role, place in grants() if place == "vault"}
    assert {identity for identity, role in vault if role == "Key Vault Secrets Officer"} == {
        "operatorsObjectId"
    }
    assert all(
        role == "Key Vault Secrets User"
        for identity, role in vault
        if identity not in {"operatorsObjectId", "ingressId"}
    )
    assert {role for identity, role in vault if identity == "ingressId"} == {"Key Vault Certificate User"}


@each_file
def test_no_secret_is_made_kept_or_put_out(path: Path) -> None:
    text = code(path)
    assert not re.search(
        r"(?i)listkeys|listAdminKeys|adminPassword|administratorLoginPassword|connectionString|\.listSecrets",
        text,
    )
    for name, output in TREES[path].get("outputs", {}).items():
        assert not re.search(
            r"(?i)password|secret|token|key(?!Vault)",
            f"{name} {json.dumps(output['value'])}".replace("vault", ""),
        ), name


def test_storage_and_registries_take_identities_only() -> None:
    for path, tree in TREES.items():
        for symbol, resource in tree.get("resources", {}).items():
            if resource["existing"]:
                continue
            properties = config(resource).get("properties", {})
            if resource["type"] == "Microsoft.Storage/storageAccounts":
                assert {properties["allowSharedKeyAccess"], properties["allowBlobPublicAccess"]} == {False}, (
                    f"{path.name}: {symbol}"
                )
            if resource["type"] == "Microsoft.ContainerRegistry/registries":
                assert properties["adminUserEnabled"] is False
            if resource["type"] == "Microsoft.KeyVault/vaults":
                assert (
                    properties["enableRbacAuthorization"] is True
                    and properties["enablePurgeProtection"] is True
                )


# --- the switch for a private network, and what a person hears of ---


def test_the_private_network_closes_what_holds_data() -> None:
    for name in ("lake", "vault"):
        text = code(BICEP / "modules" / f"{name}.bicep")
        assert "publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'" in text
        assert "defaultAction: privateNetwork ? 'Deny' : 'Allow'" in text
    assert "customVirtualNetworkId" in code(BICEP / "modules" / "databricks.bicep")
    endpoints = [
        (given["group"], given["zoneId"])
        for _, _, target, given in modules()
        if target.stem == "privateEndpoint"
    ]
    assert sorted(group for group, _ in endpoints) == ["blob", "dfs", "registry", "vault"]
    network = TREES[BICEP / "modules" / "network.bicep"]
    subnets = {one["name"] for one in config(network["resources"]["network"])["properties"]["subnets"]}
    assert {"endpoints", "postgres", "cluster", "databricks-host", "databricks-container"} == subnets


def test_postgres_takes_identities_only_and_keeps_backups_for_the_longest_time() -> None:
    tree = TREES[BICEP / "modules" / "postgres.bicep"]
    server = config(tree["resources"]["server"])["properties"]
    assert (server["authConfig"]["activeDirectoryAuth"], server["authConfig"]["passwordAuth"]) == (
        "Enabled",
        "Disabled",
    )
    assert server["backup"]["backupRetentionDays"] == 35
    assert {"mlflow", "mlflow_auth", "mlflow_dev", "mlflow_dev_auth"} == set(
        tree["variables"]["databases"]["value"]
    )


def test_pods_are_identities_by_the_service_accounts_of_the_manifests() -> None:
    named = set(re.findall(r"'system:serviceaccount:([\w:-]+)'", code(BICEP / "modules" / "cluster.bicep")))
    accounts = {
        ":".join(read(path)["metadata"][key] for key in ("namespace", "name"))
        for path in (ROOT / "deploy" / "aks").rglob("serviceaccount.yaml")
    }
    assert named == accounts | {"manymodels:mlflow-dev"}


def test_a_failed_pipeline_of_any_service_is_mailed_to_the_operators() -> None:
    tree = TREES[BICEP / "modules" / "alerts.bicep"]["resources"]
    rules = {name: config(one)["properties"] for name, one in tree.items() if name != "operators"}
    metrics = {name: one["criteria"]["allOf"][0]["metricName"] for name, one in rules.items()}
    assert metrics == {
        "factory": "PipelineFailedRuns",
        "synapse": "IntegrationPipelineRunsEnded",
        "learning": "Failed Runs",
    }
    assert all(one["enabled"] is True and one["actions"] for one in rules.values())
    assert config(tree["operators"])["properties"]["emailReceivers"]


# --- the rest of deploy/ ---


def test_azure_ml_is_there_twice_and_each_has_its_own_group() -> None:
    scopes = {
        symbol: config(module)["scope"]
        for symbol, module in TREES[MAIN]["modules"].items()
        if symbol.startswith("learning")
    }
    assert scopes == {"learningDevelopment": "development", "learningProduction": "production"}


def test_containers_and_pools_have_the_names_that_specs_and_jobs_use() -> None:
    containers = set(TREES[BICEP / "modules" / "lake.bicep"]["variables"]["containers"]["value"])
    named = {
        one
        for place in (ROOT / "deploy", ROOT / "conf" / "platforms")
        for path in place.rglob("*.*")
        if path.is_file() and "__pycache__" not in path.parts
        for one in re.findall(r"abfss://(\w+)@manymodelslake", path.read_text())
    }
    assert named <= containers
    synapse = TREES[BICEP / "modules" / "synapse.bicep"]["resources"]
    shipped = json.loads((ROOT / "deploy/synapse/bigDataPool/models.json").read_text())
    assert config(synapse["spark"])["name"] == shipped["name"]
    assert config(synapse["spark"])["properties"]["autoScale"] == shipped["properties"]["autoScale"]
    spec = yaml.safe_load((ROOT / "conf/platforms/synapse.yaml").read_text())
    assert config(synapse["pool"])["name"] == spec["warehouse"]["synapse"]["database"]
