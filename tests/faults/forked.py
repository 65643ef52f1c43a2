"""Commands of `aliquot` as processes forked from one that has imported the code and fitted the router; used as `subprocess.Popen` is.

Both take a core five seconds, longer than most of what is tested. The forks are otherwise processes like any other.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["aliquot.cli.doctor", "aliquot.cli.main", "aliquot.cli.serve", "tests.faults.loaded"])


class Forked:
    """`aliquot ARGUMENTS`, its output appended to the files."""

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, out: Path, err: Path) -> None:
        self._process = _context.Process(target=_command, args=(list(arguments), dict(env), cwd, out, err), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("aliquot", seconds)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _command(arguments: list[str], env: dict[str, str], cwd: Path, out: Path, err: Path) -> None:
    """In the fork: become the process a shell would have started, and run the command."""
    from aliquot.cli.main import app  # noqa: PLC0415 - the test's own process does not start commands

    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for path, descriptor in ((Path(os.devnull), 0), (out, 1), (err, 2)):
        opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["aliquot", *arguments]
    app(arguments, prog_name="aliquot")
