"""What the commands share: friendly errors, the spec argument, a job with its progress.

Commands import what they call when they run, so that `--help` needs neither pandas nor a spec's models.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from manymodels_spark import observe
from manymodels_spark.errors import ManyModelsError, SpecError, TooManyFailures

if TYPE_CHECKING:
    from manymodels_spark.spec import Spec
    from manymodels_spark.stages.runs.job import Job, Progress

F = TypeVar("F", bound=Callable[..., Any])

console = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)
EXIT_ERROR, EXIT_SPEC, EXIT_FAILURES = 1, 2, 3

# Commands that talk to MLflow, whose import takes seconds.
_WITH_MODELS = frozenset({"run", "train", "promote", "score"})

spec_argument = click.argument("spec", type=click.Path(dir_okay=False))
only_option = click.option(
    "--only", metavar="SQL", help="Only these partitions, e.g. 'store = 12 and item < 5'."
)


class FriendlyGroup(click.Group):
    """Prints errors that a user can act on as they are, without a trace, and ends with a code for each kind.

    1 an error, 2 a mistake in the spec or the command, 3 too many partitions failed.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SpecError as error:
            _print_error(error)
            ctx.exit(EXIT_SPEC)
        except TooManyFailures as error:
            _print_error(error, "red")
            ctx.exit(EXIT_FAILURES)
        except ManyModelsError as error:
            _print_error(error, "red")
            ctx.exit(EXIT_ERROR)
        except ModuleNotFoundError as error:
            from manymodels_spark.cli.extras import explained

            known = explained(error)
            if known is None:
                raise
            _print_error(known, "red")
            ctx.exit(EXIT_ERROR)


def _print_error(error: ManyModelsError, style: str = "") -> None:
    """The error as text, or as a line of JSON where standard error holds such."""
    if observe.is_json():
        observe.log_event("error", logging.ERROR, kind=type(error).__name__, message=str(error))
    else:
        errors.print(str(error), style=style, markup=False, highlight=False)


def job_of(path: str) -> Job:
    """A job on the platform's session, with a progress bar in a terminal.

    First the spec is checked, then what the command needs of this machine: both end within seconds where they
    fail.
    """
    spec, progress = job_parts(path)
    from manymodels_spark.spark.session import session_of
    from manymodels_spark.stages.runs.job import Job

    return Job.of(spec, session_of(spec), progress)


def job_parts(path: str) -> tuple[Spec, Progress]:
    """The checked spec of a job and its progress, for a command that makes the session itself."""
    from manymodels_spark.doctor import preflight
    from manymodels_spark.families.checked_spec import load_spec

    spec, command = load_spec(path), str(click.get_current_context().command.name)
    preflight(spec, command)
    _silence_query_logger()
    from manymodels_spark.stages.runs.progress import Bars, Events, Lines

    if command in _WITH_MODELS:
        _import_ahead(spec)
    return spec, Events() if observe.is_json() else Bars(console) if console.is_terminal else Lines(console)


def _import_ahead(spec: Spec) -> None:
    """Import what the command is about to need while Java starts, on another core.

    What Spark's session imports itself is imported first: two threads that import one package at once may see
    half of it.
    """
    import pandas  # noqa: F401
    import pyspark.sql  # noqa: F401

    modules = ["mlflow", "mlflow.entities", "manymodels_spark.stages.pipeline"]
    if spec.mlflow.development.tracking.startswith("sqlite"):
        modules.append("mlflow.store.tracking.sqlalchemy_store")

    def load() -> None:
        with suppress(ImportError):  # whoever needs it says so
            for name in modules:
                import_module(name)

    Thread(target=load, name="imports", daemon=True).start()


def _silence_query_logger() -> None:
    """Keep PySpark from logging a refused query as JSON: the error itself is printed."""
    with suppress(ImportError):  # Spark 3.5 has no such logger
        from pyspark.logger import PySparkLogger

        PySparkLogger.getLogger("SQLQueryContextLogger").disabled = True


def age(text: str | None) -> timedelta | None:
    """`7d`, `12h`, `30m` as a timedelta. Raises click.BadParameter."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)([dhm])", text)
    if not found:
        raise click.BadParameter(f"{text!r} is no age. Expected a number with d, h or m, e.g. 7d")
    unit = {"d": "days", "h": "hours", "m": "minutes"}[found.group(2)]
    return timedelta(**{unit: int(found.group(1))})


def variables_of(text: str) -> dict[str, str]:
    """NAME to value of lines NAME=VALUE. Empty values, empty lines and lines with `#` are left out.

    Raises click.UsageError for a line of another form.
    """
    found = {}
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name.isidentifier():
            raise click.UsageError(f"--set: {line!r} has not the form NAME=VALUE")
        if value:
            found[name] = value
    return found
