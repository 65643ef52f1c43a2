"""All SQL of the ledger that the serving login runs."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from aliquot.platform.db import Transaction


class EventRow(NamedTuple):
    """One row of `audit_event`."""

    id: uuid.UUID
    at: datetime
    actor: str
    action: str
    record_type: str
    record_id: str
    body: bytes


# One statement for one event or many: arrays travel as seven parameters, so the server plans and parses the same text.
_INSERT = text(
    "INSERT INTO audit_event (id, at, actor, action, record_type, record_id, body) SELECT * FROM unnest("
    "CAST(:ids AS uuid[]), CAST(:ats AS timestamptz[]), CAST(:actors AS text[]), CAST(:actions AS text[]), "
    "CAST(:types AS text[]), CAST(:records AS text[]), CAST(:bodies AS bytea[]))"
)


async def insert_events(tx: Transaction, rows: Sequence[EventRow]) -> None:
    ids, ats, actors, actions, types, records, bodies = (list(column) for column in zip(*rows, strict=True))
    parameters = {"ids": ids, "ats": ats, "actors": actors, "actions": actions, "types": types, "records": records, "bodies": bodies}
    await tx.execute(_INSERT, parameters)
