"""Warehouses: where a lake's tables go so that SQL, Power BI and other programs read them."""

from __future__ import annotations

from manymodels_spark.spec.places import DuckDB, Postgres, Synapse
from manymodels_spark.warehouse.base import Warehouse

__all__ = ["Warehouse", "open_warehouse"]


def open_warehouse(part: DuckDB | Postgres | Synapse, spec: str) -> Warehouse:
    """The warehouse that a spec names, connected. Raises WarehouseError where it cannot be reached."""
    match part:
        case DuckDB():
            from manymodels_spark.warehouse.duckdb import DuckDBWarehouse

            return DuckDBWarehouse(part, spec)
        case Postgres():
            from manymodels_spark.warehouse.postgres import PostgresWarehouse

            return PostgresWarehouse(part, spec)
        case Synapse():
            from manymodels_spark.warehouse.synapse import open_synapse

            return open_synapse(part, spec)
