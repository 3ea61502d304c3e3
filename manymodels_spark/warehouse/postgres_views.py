"""A view of the loads in Postgres: replaced without taking away what others have on it.

`CREATE OR REPLACE VIEW` keeps rights and whatever is built on the view, and takes new columns at the end
only. Where others change, the view is dropped and made anew, and its owner, comment and rights are given
back. What is built on it by others would go with it, so that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manymodels_spark.errors import WarehouseError
from manymodels_spark.warehouse.base import quote, text

if TYPE_CHECKING:
    import psycopg

# Everything that stands on a view: other views by their rules, else whatever the catalog describes.
_DEPENDENTS = """
SELECT DISTINCT CASE WHEN c.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)
                     ELSE c.oid::regclass::text END
FROM pg_depend AS d
LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_class AS c ON c.oid = r.ev_class
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND d.deptype = 'n'
  AND c.oid IS DISTINCT FROM d.refobjid
ORDER BY 1
"""
_FACTS = """
SELECT pg_get_userbyid(relowner), obj_description(oid, 'pg_class'), coalesce(reloptions, '{}')
FROM pg_class WHERE oid = to_regclass(%s)
"""
# Rights on the whole view, and on single columns; grantee 0 is everybody.
_RIGHTS = """
SELECT NULL AS column, a.grantee, a.privilege_type, a.is_grantable,
       CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END
FROM pg_class AS c, aclexplode(c.relacl) AS a
WHERE c.oid = to_regclass(%s) AND a.grantee <> c.relowner
UNION ALL
SELECT t.attname, a.grantee, a.privilege_type, a.is_grantable,
       CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END
FROM pg_attribute AS t, aclexplode(t.attacl) AS a
WHERE t.attrelid = to_regclass(%s) AND NOT t.attisdropped
"""
_COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 "
    "AND NOT attisdropped ORDER BY attnum"
)


@dataclass(frozen=True)
class Right:
    """A right that somebody was given on a view, or on one column of it; `role` is None for everybody."""

    column: str | None
    role: str | None
    privilege: str
    grantable: bool

    def grant(self, view: str) -> str:
        """The statement that gives it again."""
        on = f"{self.privilege} ({quote(self.column)})" if self.column else self.privilege
        to = "PUBLIC" if self.role is None else quote(self.role)
        return f"GRANT {on} ON {view} TO {to}" + (" WITH GRANT OPTION" if self.grantable else "")


@dataclass(frozen=True)
class OwnView:
    """One view of the loads; every method runs within the caller's transaction."""

    connection: psycopg.Connection[Any]
    schema: str
    name: str

    @property
    def _named(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"

    def put(self, select: str) -> None:
        """Make the view or replace it. Raises WarehouseError where it must be made anew and something else is
        built on it; psycopg.Error where the query is refused.
        """
        import psycopg

        facts = self._rows(_FACTS, self._named)
        options = f" WITH ({', '.join(facts[0][2])})" if facts and facts[0][2] else ""
        body = f"VIEW {self._named}{options} AS {select}"
        try:
            with self.connection.transaction():
                self.connection.execute(f"CREATE OR REPLACE {body}")
        except psycopg.errors.InvalidTableDefinition:  # other columns than it has
            self._refuse_dependents()
            self._remake(body, facts[0][0], facts[0][1])

    def require_replaceable(self, columns: Sequence[str]) -> None:
        """Raise WarehouseError where the view has columns that these do not begin with, so that it must be
        made anew, and something else is built on it.
        """
        present = [row[0] for row in self._rows(_COLUMNS, self._named)]
        if present != list(columns[: len(present)]):
            self._refuse_dependents()

    def _remake(self, body: str, owner: str, comment: str | None) -> None:
        rights = [
            Right(column, role, privilege, grantable)
            for column, _, privilege, grantable, role in self._rows(_RIGHTS, self._named, self._named)
        ]
        self.connection.execute(f"DROP VIEW {self._named}")
        self.connection.execute(f"CREATE {body}")
        columns = {row[0] for row in self._rows(_COLUMNS, self._named)}
        for right in rights:
            if right.column is None or right.column in columns:
                self.connection.execute(right.grant(self._named))
        if comment is not None:
            self.connection.execute(f"COMMENT ON VIEW {self._named} IS {text(comment)}")
        if owner != self.connection.info.user:
            self.connection.execute(f"ALTER VIEW {self._named} OWNER TO {quote(owner)}")

    def _refuse_dependents(self) -> None:
        found = [row[0] for row in self._rows(_DEPENDENTS, self._named)]
        if found:
            raise WarehouseError(
                f"view {self.schema}.{self.name} gets other columns and must be made anew, and this is built "
                f"on it: {', '.join(found)}. Drop that first and create it again after the load, or build it "
                "on the loaded tables, whose columns stay"
            )

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()
