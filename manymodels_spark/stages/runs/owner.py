"""Which process works on a run, and whether it still exists.

A process id says something only within one boot of one machine and one PID namespace: two containers may
share their hostname, and each has a process 7. So an owner carries all of these, and only a process of the
same boot and namespace is looked up. Everything else must show by its heartbeat that it lives. Linux and
macOS; elsewhere the boot is unknown, and the heartbeat alone counts.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

OWNER_TYPE = "struct<host: string, pid: bigint, started: double, boot: string, namespace: string>"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_STATE, _START_TICKS = 0, 19  # fields of /proc/PID/stat behind the command's name, see proc(5)


@dataclass(frozen=True)
class Owner:
    """A process. `started` distinguishes it from a later one with the same id: on Linux in clock ticks since
    boot, elsewhere in seconds since 1970. `boot` is empty where the system does not say; then nothing else is
    asked of it.
    """

    host: str = ""
    pid: int = 0
    started: float = 0.0
    boot: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    @classmethod
    def parse(cls, text: str) -> Owner:
        """An owner as version 0.1 wrote it, `HOST:PID`: only its heartbeat shows whether it lives."""
        host, _, pid = text.rpartition(":")
        return cls(host, int(pid) if pid.isdigit() else 0)


def this_process() -> Owner:
    """The process that asks."""
    return of_process(os.getpid())


def is_running(owner: Owner) -> bool | None:
    """Whether a process exists; None where this process cannot ask: another machine, another boot, another
    PID namespace, or a system that does not say.
    """
    here = this_process()
    if not owner.boot or (owner.boot, owner.namespace) != (here.boot, here.namespace):
        return None
    try:
        return _started(owner.pid) == owner.started
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return False
    except (OSError, psutil.Error):  # it exists, and this user may not look
        return None


@lru_cache(maxsize=1)
def of_process(pid: int) -> Owner:
    """A process of this machine and namespace by its id. A fork has another id, so that it is asked anew."""
    boot, namespace = _boot_and_namespace()
    started = 0.0
    with suppress(OSError, psutil.Error):
        started = _started(pid) or 0.0
    return Owner(socket.gethostname(), pid, started, boot if started else "", namespace)


def _boot_and_namespace() -> tuple[str, str]:
    """The ids of this boot and of this PID namespace (macOS has only one); empty where they are unknown."""
    try:
        if sys.platform == "darwin":
            return _sysctl("kern.bootsessionuuid"), ""
        return _BOOT.read_text().strip(), os.readlink(_NAMESPACE)
    except OSError:
        return "", ""


def _started(pid: int) -> float | None:
    """When a process began, by a clock that nobody sets where there is one; None for one that has ended and
    was not waited for yet (a zombie). Raises OSError or psutil.Error where it is not there.
    """
    if sys.platform.startswith("linux"):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[_STATE] in "ZX" else float(fields[_START_TICKS])
    process = psutil.Process(pid)
    return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())


def _sysctl(name: str) -> str:
    """A text from the kernel of macOS. Raises OSError."""
    size, buffer = ctypes.c_size_t(64), ctypes.create_string_buffer(64)
    library = ctypes.CDLL(None, use_errno=True)
    if library.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0) != 0:
        raise OSError(ctypes.get_errno(), f"sysctl {name}")
    return buffer.value.decode()
