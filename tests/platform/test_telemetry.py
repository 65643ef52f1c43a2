"""What reaches standard error."""

import subprocess
import sys

from tests.conftest import PATIENCE

_PROGRAM = """
import logging
from aliquot.platform.telemetry import configure_logs
configure_logs(json_lines=True)
try:
    raise ValueError("patient Quintessa")
except ValueError:
    logging.getLogger("somelibrary").exception("could not store %s", "patient Quintessa")
"""


def test_a_librarys_exception_is_logged_without_its_message() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert "somelibrary" in done.stderr
    assert "ValueError" in done.stderr
    assert "Quintessa" not in done.stderr
