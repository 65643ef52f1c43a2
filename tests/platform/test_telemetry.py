"""What reaches standard error."""

import subprocess
import sys

_PROGRAM = """
import logging
from aliquot.platform.telemetry import configure_logs
configure_logs(json_lines=True)
try:
    raise ValueError("patient 4711")
except ValueError:
    logging.getLogger("somelibrary").exception("could not store %s", "patient 4711")
"""


def test_a_librarys_exception_is_logged_without_its_message() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert "somelibrary" in done.stderr
    assert "ValueError" in done.stderr
    assert "4711" not in done.stderr
