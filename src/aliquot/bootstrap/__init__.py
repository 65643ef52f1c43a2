"""The composition root: builds every service once, registers tools, jobs and loops, binds the doors that point upwards.

Nothing here decides anything; it only connects.
"""

from aliquot.bootstrap.background import Background
from aliquot.bootstrap.build import build
from aliquot.bootstrap.services import DatabaseUrls, Services

__all__ = ["Background", "DatabaseUrls", "Services", "build"]
