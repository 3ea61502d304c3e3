"""MLflow in this very process, over an SQLite file:
what it can be spared where tens of thousands of models are logged.
"""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

SCHEME = "sqlite:///"
RARELY = 10_000


def make_folder_of(uri: str) -> None:
    """Make the folder that an SQLite file is to lie in."""
    if uri.startswith(SCHEME):
        Path(uri.removeprefix(SCHEME)).parent.mkdir(parents=True, exist_ok=True)


def keep_a_log(uri: str) -> None:
    """Let an SQLite file write ahead: a commit waits for the disk once instead of several times,
    and readers for nobody.

    It stays so for whoever opens the file later. Where a file system cannot do it, all goes on as it was.
    """
    file = Path(uri.removeprefix(SCHEME))
    if uri.startswith(SCHEME) and file.exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=1)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")


@contextmanager
def one_experiment(mlflow: Any) -> Iterator[None]:
    """For the time of a batch, look an experiment up once: the store asks for it at every model,
    a quarter of what one takes.

    A store behind a server stays as it is: it does not ask.
    """
    store = _store(mlflow)
    if store is None:
        yield
        return
    store.get_experiment = lru_cache(store.get_experiment)
    try:
        yield
    finally:
        vars(store).pop("get_experiment", None)


@contextmanager
def few_collections(mlflow: Any) -> Iterator[None]:
    """For the time of a batch, have Python look for garbage less often:
    the store makes so many rows of so many metrics that each time, and all that was ever imported with them,
    a third of the batch's time goes there.

    A store behind a server makes its rows elsewhere.
    """
    former = gc.get_threshold()
    if _store(mlflow) is None or not 0 < former[0] < RARELY:
        yield
        return
    gc.set_threshold(RARELY, *former[1:])
    try:
        yield
    finally:
        gc.set_threshold(*former)


def _store(mlflow: Any) -> Any:
    """The store that a client has in this very process."""
    store = getattr(getattr(mlflow, "_tracking_client", None), "store", None)
    return None if hasattr(store, "get_host_creds") else store
