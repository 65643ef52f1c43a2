"""Starts a program within limits: `python confine.py BYTES COMMAND ARG…`. Only the standard library; it becomes the program."""

import contextlib
import os
import resource
import sys


def main() -> None:
    """Set the limits and become the program. 127 when there is no such program."""
    memory, command = int(sys.argv[1]), sys.argv[2:]
    for what, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, 100_000_000),
    ):
        with contextlib.suppress(ValueError, OSError):  # a stricter limit stands already
            resource.setrlimit(what, (most, most))
    try:
        os.execvp(command[0], command)  # noqa: S606 - the program an administrator declared, without a shell
    except OSError:
        sys.exit(127)


if __name__ == "__main__":
    main()
