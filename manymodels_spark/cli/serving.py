"""The command that serves: `manymodels serve SPEC`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from manymodels_spark.cli.common import console, spec_argument
from manymodels_spark.errors import ManyModelsError


@click.command()
@spec_argument
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for all addresses of this machine."
)
@click.option("--port", default=8000, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes, each with a cache of its own.",
)
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    help="A folder of model files instead of the production MLflow.",
)
@click.option("--cache-mb", type=float, help="Models' bytes kept in memory, by default 512.")
@click.option("--cache-models", type=int, help="At most so many models in memory.")
@click.option("--rss-mb", type=float, help="Memory of the whole process above which models are dropped.")
@click.option("--ttl", type=float, help="Seconds until a champion is asked for again, by default 300.")
@click.option(
    "--disk", type=click.Path(path_type=Path), help="A folder for verified payloads: restarts are warm."
)
@click.option(
    "--warm",
    type=click.Path(path_type=Path),
    help="A file of partitions to load at the start: ids or JSON keys.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="A file of bearer keys, one a line (or MANYMODELS_SERVE_KEYS).",
)
@click.option("--entra-tenant", help="Tenant whose tokens are taken, with --entra-audience.")
@click.option("--entra-audience", help="The application that tokens must be for.")
@click.option("--entra-role", "entra_roles", multiple=True, help="A role, one of which tokens must have.")
@click.option("--entra-scope", "entra_scopes", multiple=True, help="A scope, one of which tokens must have.")
@click.option(
    "--entra-client", "entra_clients", multiple=True, help="Client id of an application that may ask."
)
@click.option(
    "--open",
    is_flag=True,
    default=None,
    help="Answer everybody, also beyond this machine: something else decides who gets here.",
)
@click.option(
    "--allow-pickle",
    is_flag=True,
    default=None,
    help="Also load pickled models: whoever writes them runs code here.",
)
def serve(
    spec: str, host: str, port: int, workers: int, warm: Path | None, key_file: Path | None, **given: Any
) -> None:
    """Answer score requests for every partition, each with its champion, loaded on first use."""
    from manymodels_spark.families.checked_spec import load_spec
    from manymodels_spark.serving.launch import access_of, launch
    from manymodels_spark.serving.settings import ServingSettings, require_access_control

    load_spec(spec)
    models = given.pop("models")
    # An option that may be repeated is an empty tuple where it was not given.
    named = {name: None if value == () else value for name, value in given.items()}
    settings = ServingSettings.of_environment(warm=_lines(warm), keys=_lines(key_file), **named)
    require_access_control(settings, host)
    access = access_of(settings, host)
    console.print(f"http://{host}:{port}  page, /v1/score, /openapi.json; {access}", highlight=False)
    launch(spec, settings, host=host, port=port, workers=workers, models=models)


def _lines(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ManyModelsError(
            f"{path} cannot be read ({error.strerror}). Correct the option or the file's rights"
        ) from error
    found = tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    if not found:
        raise ManyModelsError(f"{path} holds no line but comments. Add what it should say, or leave it out")
    return found


COMMANDS = (serve,)
