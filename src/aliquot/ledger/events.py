"""The bytes of an audit event (DESIGN §4): built once, stored, hashed, exported and verified as they are."""

import re
import uuid
from datetime import datetime
from typing import Any

import msgspec

from aliquot.kernel.clock import rfc3339
from aliquot.ledger.contracts import AuditEvent
from aliquot.ledger.errors import EventMalformed, EventTooLarge
from aliquot.platform.vault import Vault

BODY_BYTES_MAX = 32_768
_CONTENTS_MAX = 64
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_ACTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
# RFC 8785 for what an event holds (ASCII member names, strings, whole numbers below 2**53), in C; a test compares it with
# the general encoder, which costs a third of an append.
_encode = msgspec.json.Encoder(order="deterministic").encode
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL text holds no NUL, UTF-8 no lone surrogate


def event_body(event: AuditEvent, *, event_id: uuid.UUID, at: datetime, vault: Vault) -> bytes:
    """RFC 8785 JSON of `event`. Raises EventMalformed, EventTooLarge (> 32 KiB), and Erased when the subject's key is gone."""
    _check(event)
    value: dict[str, Any] = {
        "v": 1,
        "id": str(event_id),
        "at": rfc3339(at),
        "actor": event.actor,
        "via": event.via,
        "action": event.action,
        "record": {"type": event.record.type, "id": event.record.id, "version": event.record.version},
        "outcome": event.outcome,
        "content": _commitments(event, vault),
        "versions": event.versions,
    }
    optional = {
        "on_behalf_of": event.on_behalf_of,
        "ip": event.ip,
        "run_id": None if event.run_id is None else str(event.run_id),
        "tool": event.tool,
        "reason": event.reason,
    }
    value.update({name: given for name, given in optional.items() if given is not None})
    try:
        body = _encode(value)
    except (ValueError, TypeError) as error:  # a lone surrogate; what is no JSON
        raise EventMalformed from error
    if len(body) > BODY_BYTES_MAX:
        raise EventTooLarge
    return body


def _commitments(event: AuditEvent, vault: Vault) -> list[dict[str, str]]:
    """The contents as HMACs under the subject's key: erasing the subject leaves hashes nobody can test a guess against."""
    if not event.content:
        return []
    if event.subject is None:
        raise EventMalformed("An audit event with content needs the subject whose key commits it.")
    commitments = []
    for name in sorted(event.content):
        code, key_id = vault.commit(event.subject, event.content[name])
        commitments.append({"name": name, "hmac": code, "key_id": key_id})
    return commitments


def _check(event: AuditEvent) -> None:
    """Names come from our own code, ids may come from outside: both must fit the columns, the indexes and UTF-8."""
    fits = (
        _ACTION.fullmatch(event.action)
        and len(event.action) <= 100
        and _NAME.fullmatch(event.record.type)
        and 1 <= len(event.record.id) <= 255
        and 1 <= len(event.actor) <= 255
        and len(event.content) <= _CONTENTS_MAX
        and all(_NAME.fullmatch(name) for name in event.content)
        and all(_NAME.fullmatch(name) and isinstance(version, str) for name, version in event.versions.items())
        and type(event.record.version) is int
        and abs(event.record.version) < 2**53
        and not _UNSTORABLE.search(event.record.id + event.actor)
    )
    if not fits:
        raise EventMalformed
