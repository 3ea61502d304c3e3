"""Does the warehouse let this identity in, and may it make tables there?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from manymodels_spark.doctor.findings import Finding, failed, first_line, ok, skipped
from manymodels_spark.doctor.needs import WAREHOUSE, unset
from manymodels_spark.doctor.places import write_to
from manymodels_spark.doctor.reach import CONNECT_SECONDS, listens
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spec import Spec
from manymodels_spark.spec.places import DuckDB, Postgres, Synapse
from manymodels_spark.spec.source import resolve


def warehouse_answers(spec: Spec) -> Iterator[Finding]:
    """What can be asked of the warehouse within seconds: its file, its schema,
    or whether its server listens.
    """
    if not unset(spec, (WAREHOUSE,)) and isinstance(spec.warehouse, Synapse):
        yield from [finding] if (finding := _synapse_listens(spec.warehouse)) else []
    else:
        yield from warehouse(spec)


def warehouse(spec: Spec) -> Iterator[Finding]:
    """Whether the warehouse lets this identity in and may be written to."""
    if missing := unset(spec, (WAREHOUSE,)):
        yield skipped("write warehouse", f"requires {', '.join(missing)}")
        return
    try:
        match spec.warehouse:
            case DuckDB() as duck:
                yield _duckdb_file(Path(resolve(duck.path)))
            case Postgres() as postgres:
                yield _postgres_schema(postgres)
            case Synapse() as synapse:
                yield _synapse(synapse)
    except ManyModelsError as error:
        yield failed("write warehouse", first_line(error), "See `warehouse` in the spec")


def _duckdb_file(path: Path) -> Finding:
    import duckdb

    if path.exists():
        try:
            duckdb.connect(str(path)).close()
        except duckdb.Error as error:
            if "lock" in str(error).lower() or "configuration" in str(error):
                return skipped("write warehouse", f"{path} is open elsewhere; a load waits a little for it")
            return failed(
                "write warehouse",
                first_line(error),
                "Close the program that has the file open, or correct its permissions",
            )
    return write_to("write warehouse", str(path.absolute().parent))


def _postgres_schema(part: Postgres) -> Finding:
    """The right to make tables in the schema, or to make the schema."""
    import psycopg

    sql = (
        "SELECT CASE WHEN to_regnamespace(quote_ident(%(s)s)) IS NULL THEN "
        "has_database_privilege(current_database(), 'CREATE') "
        "ELSE has_schema_privilege(%(s)s, 'CREATE') END, current_user"
    )
    try:
        with psycopg.connect(resolve(part.url), connect_timeout=int(CONNECT_SECONDS) + 2) as connection:
            may, user = connection.execute(sql, {"s": part.schema_name}).fetchone() or (False, "?")
    except psycopg.Error as error:
        return failed(
            "write warehouse",
            first_line(error),
            "Correct warehouse.postgres.url, its user or the server's pg_hba.conf",
        )
    if not may:
        return failed(
            "write warehouse",
            f"{user} may not create tables in schema {part.schema_name}",
            f'GRANT CREATE, USAGE ON SCHEMA "{part.schema_name}" TO "{user}"',
        )
    return ok("write warehouse", f"schema {part.schema_name} as {user}")


def _synapse(part: Synapse) -> Finding:
    from manymodels_spark.warehouse.synapse_pool import connect

    if finding := _synapse_listens(part):
        return finding
    connect(part).close()
    return ok("write warehouse", f"{part.database} at {resolve(part.server)}")


def _synapse_listens(part: Synapse) -> Finding | None:
    host, _, port = resolve(part.server).removeprefix("tcp:").partition(",")
    if wrong := listens(host, int(port or 1433)):
        advice = "Resume the pool, let this machine through its firewall, or correct warehouse.synapse.server"
        return failed("write warehouse", wrong, advice)
    return None
