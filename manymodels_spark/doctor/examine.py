"""All checks at once, each within its time; and the few that every stage makes before it starts anything."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from manymodels_spark.doctor import identity, places, repositories, runtime, sources, warehouses
from manymodels_spark.doctor.findings import Finding, failed, first_line
from manymodels_spark.doctor.needs import (
    DEVELOPMENT,
    EVERYTHING,
    PRODUCTION,
    SOURCE,
    WAREHOUSE,
    environment,
    part,
    parts_of,
    unset,
    writes,
)
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spec import Spec
from manymodels_spark.spec.source import resolve

Look = Callable[[], Iterator[Finding]]
SECONDS = 40.0


class NotReady(ManyModelsError):
    """A stage cannot run here. Carries every finding that says why."""

    def __init__(self, what: str, findings: list[Finding]) -> None:
        self.findings = findings
        lines = "\n".join(f"  {finding}" for finding in findings)
        super().__init__(
            f"{what} cannot start here:\n\n{lines}\n\n`manymodels doctor SPEC` checks everything that the "
            "spec needs"
        )


def examine(spec: Spec | None, seconds: float = SECONDS) -> list[Finding]:
    """Every check of this machine, and with a spec of all that it names.
    All run at once; nothing is started.
    """
    looks: dict[str, Look] = {
        "python": runtime.python,
        "java": runtime.java,
        "spark": runtime.spark,
        "packages": partial(runtime.packages, spec),
        "libraries": partial(runtime.native, spec),
        "stan": partial(runtime.stan, spec),
        "disk": partial(places.disk, spec),
    }
    if spec is not None:
        looks |= {
            "variables": partial(environment, spec),
            "identity": partial(identity.identity, spec),
            "places": partial(places.places, spec, EVERYTHING),
            "mlflow": partial(repositories.repositories, spec),
            "source": partial(sources.source, spec),
            "warehouse": partial(warehouses.warehouse, spec),
        }
    with _silence():
        return together(looks, seconds)


def preflight(spec: Spec, stage: str, *, session: bool = False) -> None:
    """Raise NotReady, within seconds, where a stage would fail later for want of
    something that can be seen now.

    `session` says that there is one already, so that its Java and Spark are not asked for.
    """
    paths = parts_of(stage)
    findings = list(environment(spec, paths))
    if not session:
        findings += [*runtime.python(), *runtime.java(), *runtime.spark()]
    loads = WAREHOUSE in paths
    findings += [*runtime.packages(spec, warehouse=loads), *(runtime.native(spec) if loads else ())]
    if not any(finding.state == "failed" for finding in findings):
        findings += [*(_local_places(spec, paths) if writes(stage) else ()), *_answers(spec, paths)]
    if wrong := [finding for finding in findings if finding.state == "failed"]:
        raise NotReady(f"manymodels {stage}", wrong)


@contextmanager
def _silence() -> Iterator[None]:
    """What libraries log on the way would tear the table apart."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def together(looks: dict[str, Look], seconds: float) -> list[Finding]:
    """The findings of all looks, in their order.
    One that takes too long is a failure of its own and is left behind.
    """
    found: dict[str, list[Finding]] = {}

    def one(name: str, look: Look) -> None:
        try:
            found[name] = list(look())
        except Exception as error:
            found[name] = [failed(name, first_line(error), "Correct what it says, then run the doctor again")]

    threads = {
        name: threading.Thread(target=one, args=(name, look), daemon=True) for name, look in looks.items()
    }
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(seconds)
    late = {
        name: [failed(name, f"no answer within {seconds:g} s", "Check the network and the credentials")]
        for name in looks
    }
    return [finding for name in looks for finding in found.get(name, late[name])]


def _local_places(spec: Spec, paths: tuple[str, ...]) -> Iterator[Finding]:
    """Those places that are folders of this machine;
    asking for others takes longer than a stage's start may.
    """
    named = {
        "lake": spec.lake,
        DEVELOPMENT: spec.mlflow.development.artifacts,
        PRODUCTION: spec.mlflow.production.artifacts,
    }
    for path, location in named.items():
        if path not in paths or location is None or unset(spec, (path,)):
            continue
        if (folder := places.local_folder(resolve(location))) is not None:
            yield places.write_to(f"write {path}", str(folder))


def _answers(spec: Spec, paths: tuple[str, ...]) -> Iterator[Finding]:
    """The source, tracking servers and warehouse, as far as they answer within seconds."""
    if SOURCE[0] in paths:
        yield from sources.source(spec)
    if WAREHOUSE in paths:
        yield from warehouses.warehouse_answers(spec)
    for path in (DEVELOPMENT, PRODUCTION):
        if path in paths and not unset(spec, (path,)):
            finding = repositories.mlflow_answers(path.rpartition(".")[2], resolve(part(spec, path).tracking))
            yield from [finding] if finding else []
