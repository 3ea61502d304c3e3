"""MLflow's tables in SQLite, made once a process: its migrations take a second a database, and tests make
hundreds.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import mlflow.store.db.utils as db
import pytest
from mlflow.store.model_registry import sqlalchemy_store as registry

if TYPE_CHECKING:
    from sqlalchemy import Engine

_migrate = db._initialize_tables


def copy_tables(patch: pytest.MonkeyPatch) -> None:
    """Let MLflow, in this process, put the tables that were made once into each new SQLite store."""
    patch.setattr(db, "_initialize_tables", _initialize)
    patch.setattr(registry, "_initialize_tables", _initialize)


def new_store(path: Path) -> str:
    """The URI of a new store in this file, with its tables, for a server in another process."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_tables())
    return f"sqlite:///{path}"


def _initialize(engine: Engine) -> None:
    if engine.url.drivername != "sqlite" or not engine.url.database:
        _migrate(engine)
        return
    new_store(Path(engine.url.database))


@lru_cache(maxsize=1)
def _tables() -> str:
    from sqlalchemy import create_engine

    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        engine = create_engine(f"sqlite:///{path}")
        _migrate(engine)
        engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            return "\n".join(connection.iterdump())
