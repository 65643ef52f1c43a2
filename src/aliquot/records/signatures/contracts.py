"""What other domains see of signatures: what can be signed, what is asked, what was signed."""

import uuid
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aliquot.identity.contracts import Principal, Secret
from aliquot.kernel.canonical import sha256_hex
from aliquot.kernel.clock import Timestamp
from aliquot.platform.db import Transaction

SIGN = "records.sign"
"""The permission that is the right to sign; it comes with the person, not with a role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignableRecord:
    """One version of a record, as it would be signed now."""

    kind: str
    """As in audit events: `conversation`, `instrument_run`, `protocol`, `policy_bundle`, `approval`."""
    id: str
    version: int
    """From 1. The bytes of one version (and part) never change; an edit is a later version."""
    part: str = ""
    """Which part of the record, where a version number alone does not say it: the head message of a conversation's branch."""
    title: str
    content: bytes = field(repr=False)
    """RFC 8785 JSON of all that is signed; holds kind, id, version and part, so that no two records have the same bytes."""
    authors: frozenset[uuid.UUID]
    """Whose work it is, as far as known."""
    subjects: tuple[uuid.UUID, ...]
    """Whose keys seal the copy of the content that is kept: all of those the record itself lies under. Erasing one erases the copy."""

    @property
    def sha256(self) -> str:
        return sha256_hex(self.content)


class SignableKind(Protocol):
    """One kind of record that can be signed. Registered by bootstrap; its domain stands above records."""

    name: str
    direct: bool
    """False when a signature is only left by another act (the decision of an approval)."""

    async def locate(self, tx: Transaction, principal: Principal, reference: str) -> str:
        """The record's id for signatures and audit. Raises NotFound for what does not exist or `principal` may not read."""
        ...

    async def current(self, tx: Transaction, principal: Principal, record_id: str, part: str | None) -> SignableRecord:
        """The version that would be signed now, or the one that `part` names. Raises NotFound, NotSignable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What proves at the moment of signing that it is the person."""

    password: str | None = field(default=None, repr=False)
    otp: str | None = field(default=None, repr=False)
    sso: str | None = field(default=None, repr=False)
    """The proof of a fresh authentication at the provider (`POST /api/auth/oidc/step-up`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A signature somebody wants to give. `version` and `sha256` are what they saw: anything else now is refused."""

    kind: str
    reference: str
    meaning: str
    secrets: Secrets
    reason: str | None = None
    part: str | None = None
    version: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That the person gave secrets of theirs just now (21 CFR 11.200)."""

    given: tuple[Secret, ...]
    continued: bool
    """In one continuous period after all components were executed; else all of them were executed now."""


SignatureState = Literal["pending", "final"]
ContentState = Literal["current", "superseded", "altered", "damaged", "erased"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A signer took a signature back. Both stay."""

    id: uuid.UUID
    printed_name: str
    revoked_at: Timestamp
    reason: str | None
    """None when its writer was erased."""
    event_id: uuid.UUID
    state: SignatureState


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature with what 21 CFR 11.50 wants shown: printed name, date and time, meaning."""

    id: uuid.UUID
    record_type: str
    record_id: str
    version: int
    part: str | None
    sha256: str
    """Of the record's canonical content."""
    meaning: str
    signer_id: uuid.UUID
    printed_name: str
    """As it was at that moment."""
    signed_at: Timestamp
    time_zone: str
    """Of the site, an IANA name: `signed_at` is UTC."""
    reason: str | None
    """None when none was given or its writer was erased."""
    state: SignatureState
    """Final once a signed checkpoint of the log covers it."""
    content: ContentState
    """How the record stands to what was signed: still this version, a later one, erased, or (faults) changed without a new version,
    or the signature itself does not hold together."""
    event_id: uuid.UUID
    statement_sha256: str
    """Of the signed statement: the event of the log holds it, and the statement is a line of `signatures.jsonl` in an export."""
    revoked: Revocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Where one meaning stands for the current version."""

    meaning: str
    required: int
    """Distinct persons."""
    given: int
    complete: bool
    refusal: str | None
    """Code of why this person may not give it now; None when they may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signable:
    """What would be signed now, for the client to show next to the record."""

    record_type: str
    record_id: str
    version: int
    part: str | None
    sha256: str
    title: str
    bytes: int
    meanings: tuple[Requirement, ...]
    accountability_accepted: bool
    components: tuple[Secret, ...]
    """Which secrets the next signature takes: all of these at the beginning of a continuous period, one of them within it."""
    continued: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Accountability:
    """The text a person accepts before the first signature (21 CFR 11.10(j)); `version` is its SHA-256."""

    version: str
    text: str
    accepted_at: Timestamp | None
