"""Whether a run's process still exists: asked of the system, within one boot and one PID namespace only."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace

import psutil
import pytest

from manymodels_spark.stages.runs import lock, owner
from manymodels_spark.stages.runs.owner import Owner, is_running, this_process

WHO = (
    "import json; from dataclasses import asdict;"
    "from manymodels_spark.stages.runs.owner import this_process;"
    "print(json.dumps(asdict(this_process())), flush=True); input()"
)
LONG_AGO = 0.0


def started(*before: str) -> tuple[subprocess.Popen[str], Owner]:
    """Another process, waiting for its end, and what it says of itself."""
    command = [*before, sys.executable, "-c", WHO]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait()
        pytest.skip(f"{before[0]} is not allowed here")
    return process, Owner(**json.loads(line))


def test_a_process_exists_until_it_is_killed_also_before_anybody_waited_for_it() -> None:
    process, other = started()
    assert is_running(other) is True
    process.kill()
    deadline = time.monotonic() + 30
    while is_running(other) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_running(other) is False, "a zombie works no more"
    process.wait()
    assert is_running(other) is False


def test_a_later_process_with_the_same_id_is_another_one() -> None:
    assert is_running(replace(this_process(), started=this_process().started - 1)) is False


def test_a_container_with_the_same_hostname_and_no_such_process_here_is_trusted_to_its_heartbeat() -> None:
    process, inside = started("unshare", "--pid", "--fork", "--mount-proc")
    here = this_process()
    assert (inside.host, inside.boot) == (here.host, here.boot)
    assert inside.pid < 10 and inside.namespace != here.namespace
    assert is_running(inside) is None
    run = lock.Run("r", "train", lock.RUNNING, "spec", inside, seen=1000.0)
    assert lock.is_alive(run, now=1000.0 + 599) is True
    assert lock.is_alive(run, now=1000.0 + 601) is False
    process.communicate("\n")


@pytest.mark.parametrize("change", [{"boot": "another"}, {"boot": ""}, {"namespace": "pid:[1]"}])
def test_another_boot_another_namespace_or_a_system_that_does_not_tell_cannot_be_asked(
    change: dict[str, str],
) -> None:
    assert is_running(replace(this_process(), **change)) is None


def test_a_live_process_of_this_machine_keeps_its_run_however_long_it_is_silent() -> None:
    process, other = started()
    run = lock.Run("r", "train", lock.RUNNING, "spec", other, seen=LONG_AGO)
    assert lock.is_alive(run, time.time()) is True
    process.communicate("\n")
    assert lock.is_alive(run, time.time()) is False


def test_what_version_0_1_wrote_is_trusted_to_its_heartbeat() -> None:
    note = {"note": "spec a=b owner=my:host:77 c1a1", "signature": None, "claim": None, "owner": None}

    class Row(dict[str, object]):
        """As Spark gives one."""

    row = Row(run_id="r", stage="train", status="running", seen=5.0, **note)
    run = lock.Run.of(row)
    assert (run.signature, run.owner, run.claim) == ("spec a=b", Owner("my:host", 77), "c1a1")
    assert is_running(run.owner) is None


def test_macos_is_asked_for_its_boot_session_and_psutil_for_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(owner, "_sysctl", lambda name: f"{name} 1F-2E")
    owner.of_process.cache_clear()
    here = this_process()
    assert (here.boot, here.namespace) == ("kern.bootsessionuuid 1F-2E", "")
    assert here.started == psutil.Process(here.pid).create_time()
    assert is_running(here) is True
    assert is_running(replace(here, pid=2**22 + 1)) is False
    monkeypatch.undo()
    owner.of_process.cache_clear()


def test_a_system_without_proc_is_trusted_to_the_heartbeat(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(owner, "_BOOT", tmp_path_factory.mktemp("empty") / "boot_id")
    owner.of_process.cache_clear()
    assert this_process().boot == ""
    assert is_running(this_process()) is None
    monkeypatch.undo()
    owner.of_process.cache_clear()


def test_an_owner_is_printed_as_host_and_process() -> None:
    assert str(Owner("elsewhere", 7)) == "elsewhere:7"
    assert set(asdict(Owner())) == {"host", "pid", "started", "boot", "namespace"}
