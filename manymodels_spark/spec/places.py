"""The parts of a spec that say where things go: MLflow's repositories and the warehouse."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from manymodels_spark.spec.parts import Megabytes, Part
from manymodels_spark.spec.source import Environ


class Repository(Part):
    """One MLflow: where runs, models and artifacts go."""

    tracking: Environ
    registry: Environ | None = None
    artifacts: Environ | None = None
    experiment: str | None = None


class Mlflow(Part):
    """The development MLflow and the separate production one."""

    development: Repository = Repository(tracking="sqlite:///.manymodels/dev.db")
    production: Repository = Repository(tracking="sqlite:///.manymodels/prod.db")
    keep: Annotated[int, Field(ge=1)] | None = None


class DuckDB(Part):
    """The embedded warehouse: one file."""

    kind: Literal["duckdb"] = "duckdb"
    path: Environ = ".manymodels/warehouse.duckdb"
    table: str | None = None
    memory: Megabytes = 2048
    staging: Environ | None = None


class Postgres(Part):
    """A Postgres database."""

    kind: Literal["postgres"] = "postgres"
    url: Environ
    schema_name: Annotated[str, Field(alias="schema")] = "public"
    table: str | None = None
    staging: Environ | None = None


class Synapse(Part):
    """A Synapse dedicated SQL pool, or the serverless endpoint where no load is needed."""

    kind: Literal["synapse"] = "synapse"
    server: Environ
    database: str
    schema_name: Annotated[str, Field(alias="schema")] = "dbo"
    table: str | None = None
    staging: Environ | None = None
    serverless: bool = False
    distribution: str | None = None
    load: Literal["delete_insert", "switch", "rename"] = "delete_insert"


def warehouse_part(value: object) -> object:
    """`{duckdb: path}` or `{postgres: {...}}` as the part that it names."""
    if isinstance(value, dict) and len(value) == 1 and "kind" not in value:
        ((kind, options),) = value.items()
        if isinstance(options, str):
            options = {"path" if kind == "duckdb" else "url": options}
        return {"kind": kind, **(options or {})}
    return value


Warehouse = Annotated[DuckDB | Postgres | Synapse, Field(discriminator="kind")]
