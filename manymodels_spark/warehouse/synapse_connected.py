"""What both endpoints of Synapse share: queries, views and the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manymodels_spark.errors import WarehouseError
from manymodels_spark.warehouse import synapse_sql as sql
from manymodels_spark.warehouse.base import Warehouse
from manymodels_spark.warehouse.synapse_names import name as bracketed
from manymodels_spark.warehouse.synapse_pool import Pool, driver_errors, in_words

if TYPE_CHECKING:
    import pandas as pd


class ConnectedToSynapse(Warehouse):
    """What both endpoints share."""

    dialect = "synapse"

    def __init__(self, pool: Pool, spec: str) -> None:
        super().__init__(spec)
        self._pool = pool
        self.schema = pool.schema

    def tables(self) -> set[str]:
        """See Warehouse. The serverless endpoint has views where a pool has tables."""
        with in_words("the views"):
            return {str(row[0]) for row in self._pool.rows(sql.all_tables(self._pool.schema))}

    def put_view(self, name: str, select: str) -> None:
        """See Warehouse. Raises WarehouseError that says what to grant where the identity may make none."""
        view = self._pool.table(name)
        try:
            if name in self.tables():
                self._pool.run(f"DROP VIEW {view}")
            self._pool.run(f"CREATE VIEW {view} AS\n{select}")
        except driver_errors() as error:
            raise WarehouseError(
                f"Synapse refused view {name}: {error}. Where a permission is missing, an administrator "
                "runs: GRANT CREATE VIEW TO [the identity]; "
                f"GRANT ALTER ON SCHEMA::{bracketed(self.schema)} TO [the identity]"
            ) from error

    def fetch(self, sql: str) -> pd.DataFrame:
        """See Warehouse."""
        import pandas as pd

        cursor = self._pool.run(sql)
        columns = [column[0] for column in cursor.description or ()]
        return pd.DataFrame([tuple(row) for row in cursor.fetchall()] if columns else [], columns=columns)

    def close(self) -> None:
        """See Warehouse."""
        self._pool.connection.close()
