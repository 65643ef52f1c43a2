"""The fixtures of the ledger's tests: the routes stand on the real sequencer."""

from tests.ledger.conftest import folder, log_key, sequencer, sequencer_database

__all__ = ["folder", "log_key", "sequencer", "sequencer_database"]
