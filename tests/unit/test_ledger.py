"""Who may work on a stage: processes of this machine are looked at, those of others must tell that they are
alive.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta

import pytest

from manymodels_spark.stages.runs.lock import EXPIRY, RUNNING, Run, is_alive, owner

NOW = datetime(2026, 11, 24, 3).timestamp()


def run_of(by: str, silent: timedelta) -> Run:
    return Run("20261124T030000-abc", RUNNING, "spec", by, NOW - silent.total_seconds())


@pytest.mark.parametrize(
    ("silent", "alive"),
    [(timedelta(minutes=2), True), (EXPIRY - timedelta(seconds=1), True), (EXPIRY, False)],
)
def test_a_run_of_another_machine_is_alive_while_it_tells_so(silent: timedelta, alive: bool) -> None:
    assert is_alive(run_of("elsewhere:1", silent), NOW) is alive


def test_a_process_of_this_machine_is_looked_at_however_silent_it_is() -> None:
    here = socket.gethostname()
    assert is_alive(run_of(f"{here}:{os.getppid()}", timedelta(days=1)), NOW)
    assert not is_alive(run_of(f"{here}:4194304", timedelta(0)), NOW), "no process has that number"
    assert not is_alive(run_of(owner(), timedelta(0)), NOW), "this process may go on with what it began"
