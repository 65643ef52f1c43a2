"""Imported before commands are forked: fits the router, which the forks then find fitted."""

from pathlib import Path

from aliquot.kernel.clock import SystemClock
from aliquot.lab.api import LabApi
from aliquot.lab.tools import lab_tools
from aliquot.ledger.api import LedgerApi
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.routing.api import RoutingApi

_nowhere = Path("/nonexistent")
_clock, _vault = SystemClock(), Vault(bytes(32), _nowhere)
_lab = LabApi(ledger=LedgerApi(_vault, _clock), clock=_clock, settings=Settings(data_dir=_nowhere), vault=_vault)
RoutingApi(lab_tools(_lab)).fit()
