"""Background work of the laboratory."""

from aliquot.lab.api import LabApi
from aliquot.platform.db import Transaction


async def advance(tx: Transaction, lab: LabApi) -> int:
    """Write down the runs that are over. May run anywhere, at any time, any number of times; how many it wrote down."""
    return await lab.advance(tx)
