"""CPU time and memory of a server over time, from /proc: its process tree, and PostgreSQL's apart."""

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU in seconds since the processes began, memory in MB. The database's is its proportional share, because it is shared memory."""

    at: float
    cpu: float
    rss: float
    database_cpu: float
    database_pss: float


def tree(root: int) -> set[int]:
    """`root` and everything below it that is alive."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = {root}, [root]
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), []) if pid not in found]
        found.update(below)
        waiting += below
    return found


def sample(server: int, database: int | None) -> Sample:
    """Now. `database` is PostgreSQL's first process."""
    theirs = tree(database) if database is not None else set()
    ours = tree(server) - theirs
    rss = sum(_kilobytes(pid, "status", "VmRSS:") for pid in ours)
    pss = sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in theirs)
    return Sample(time.monotonic(), _cpu(ours), rss / 1024, _cpu(theirs), pss / 1024)


def database_of(server: int) -> int | None:
    """The PostgreSQL that belongs to an `aliquot serve`: its data folder is in the server's environment."""
    for variable in (_PROC / str(server) / "environ").read_bytes().split(b"\0"):
        name, _, value = variable.partition(b"=")
        pid_file = Path(value.decode()) / "pg" / "postmaster.pid"
        if name == b"ALIQUOT_DATA_DIR" and pid_file.exists():
            return int(pid_file.read_text().split("\n")[0])
    return None


async def watch(server: int, database: int | None, samples: list[Sample], every: float) -> None:
    """Sample until cancelled. In a thread: reading /proc must not hold up the streams' clocks."""
    while True:
        samples.append(await asyncio.to_thread(sample, server, database))
        await asyncio.sleep(every)


def _cpu(pids: Iterable[int]) -> float:
    """With the children that ended and were waited for."""
    return sum(sum(int(field) for field in fields[11:15]) for pid in pids if (fields := _stat(pid)) is not None) / _TICKS


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None when the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def _kilobytes(pid: int, file: str, name: str) -> int:
    try:
        lines = (_PROC / str(pid) / file).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
