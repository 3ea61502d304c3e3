"""The commands that bring a deployment folder into a cloud: `manymodels deploy azureml` and `deploy lock`."""

from __future__ import annotations

from pathlib import Path

import click

from manymodels_spark.cli.common import console
from manymodels_spark.deploy import azureml as azure
from manymodels_spark.errors import ManyModelsError


@click.group()
def deploy() -> None:
    """Bring what `deploy/` describes into a cloud."""


@deploy.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("deploy/azureml"),
    show_default=True,
    help="Where the files are.",
)
@click.option(
    "--part",
    "parts",
    type=click.Choice(list(azure.PARTS)),
    multiple=True,
    help="Only this part; may be repeated.",
)
@click.option("--subscription", envvar="AZURE_SUBSCRIPTION_ID", help="Or AZURE_SUBSCRIPTION_ID.")
@click.option("--resource-group", envvar="AZURE_RESOURCE_GROUP", help="Or AZURE_RESOURCE_GROUP.")
@click.option("--workspace", envvar="AZUREML_WORKSPACE", help="Or AZUREML_WORKSPACE.")
@click.option("--registry", envvar="AZUREML_REGISTRY", help="Or AZUREML_REGISTRY; for the part `registry`.")
@click.option("--pin", is_flag=True, help="Only write this wheel's and lock's version into the files.")
@click.option("--dry-run", is_flag=True, help="Check the files and print what would be done; asks no cloud.")
def azureml(
    folder: Path,
    parts: tuple[str, ...],
    subscription: str | None,
    resource_group: str | None,
    workspace: str | None,
    registry: str | None,
    pin: bool,
    dry_run: bool,
) -> None:
    """Create or update environment, components, nightly schedule and endpoint in an Azure ML workspace.

    Only by name: `--part registry` shares environment and components, `--part production` schedules the
    production pipeline, `--part pipeline` starts a run now.
    """
    from manymodels_spark.deploy.pins import pinned, version_of

    if pin:
        for path, text in pinned(folder).items():
            path.write_text(text, encoding="utf-8")
        console.print(f"{folder} is pinned to {version_of(folder)}", highlight=False)
        return
    steps = azure.plan(folder, parts or azure.DEFAULT)
    if dry_run:
        for number, step in enumerate(steps, 1):
            console.print(f"{number}. {step}", markup=False, highlight=False)
        console.print(f"{len(steps)} steps, none was done", highlight=False)
        return
    if not (subscription and resource_group and workspace):
        raise ManyModelsError(
            "--subscription, --resource-group and --workspace are expected, or --dry-run to see what would "
            "be done"
        )
    to = azure.Workspace.signed_in(subscription, resource_group, workspace, registry)
    azure.carry_out(steps, to, lambda line: console.print(line, markup=False, highlight=False))
    console.print(f"{len(steps)} steps done", highlight=False)


@deploy.command()
@click.option("--extra", "extras", multiple=True, help="Also what this extra requires, e.g. azure.")
@click.option(
    "--constraints",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("constraints.txt"),
    show_default=True,
    help="The file of tested versions.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)
def lock(extras: tuple[str, ...], constraints: Path, out: Path) -> None:
    """Write the tested versions of all that the package requires, but for Spark and Delta."""
    from manymodels_spark.deploy.lock import lock as locked

    lines = locked(constraints, extras)
    out.write_text(
        "\n".join(["# Made by `manymodels deploy lock`; do not edit.", *lines, ""]), encoding="utf-8"
    )
    console.print(f"{out}: {len(lines)} versions", highlight=False)


COMMANDS = (deploy,)
