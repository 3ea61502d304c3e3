"""The command line: `manymodels COMMAND SPEC`. Thin: every command calls one function and prints what it
returns.
"""

from __future__ import annotations

import os
import sys

import click

from manymodels_spark import observe
from manymodels_spark._version import __version__
from manymodels_spark.cli import (
    deploying,
    doctor,
    inspecting,
    models,
    overview,
    running,
    serving,
    starting,
    tools,
)
from manymodels_spark.cli.common import FriendlyGroup, variables_of


@click.group(cls=FriendlyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="manymodels")
@click.option(
    "--log-json",
    is_flag=True,
    help="Write what happens as JSON lines to standard error (or set MANYMODELS_LOG_JSON=1).",
)
@click.option(
    "--set",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an environment variable that the spec names, or several, one a line. Not for secrets.",
)
def main(log_json: bool, variables: tuple[str, ...]) -> None:
    """One model per partition, thousands of them: train, promote, score and serve them from one spec."""
    os.environ.update(variables_of("\n".join(variables)))
    observe.configure(log_json)


for module in (starting, running, models, serving, deploying, inspecting, overview, doctor, tools):
    for command in module.COMMANDS:
        main.add_command(command)


def job() -> None:
    """The command line for platforms that take any SystemExit, even that of success, for a failure."""
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    sys.exit(main())
