"""The composition root: builds every service once, registers tools, jobs and loops, binds the doors that point upwards.

Nothing here decides anything; it only connects.
"""

from aliquot.bootstrap.background import Background
from aliquot.bootstrap.services import DatabaseUrls, Services
from aliquot.bootstrap.wiring import build

__all__ = ["Background", "DatabaseUrls", "Services", "build"]
