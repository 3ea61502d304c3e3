"""PySpark's daemon, whose workers save after every task which lines they have run.

Spark ends its Python workers with a signal, and what they had measured until
then would be lost. Settings: `spark.python.daemon.module=tests.measured_daemon`;
coverage itself starts with each process (`patch` in pyproject.toml).
"""

from __future__ import annotations

from typing import Any

import coverage
from pyspark import daemon

_work = daemon.worker


def _measured(*args: Any) -> Any:
    try:
        return _work(*args)
    finally:
        if (running := coverage.Coverage.current()) is not None:
            running.save()


if __name__ == "__main__":
    daemon.worker = _measured
    daemon.manager()
