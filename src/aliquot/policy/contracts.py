"""What other domains see of policy: what is asked, what is decided, and approvals."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Timestamp
from aliquot.platform.db import Transaction
from aliquot.records.signatures.contracts import Proof, SignableRecord

TRAINING_EXPIRED = "training-expired"
"""The id under which a decision says that a training is missing or out of date."""

_SHOWN_MAX, _SHOWN_CHARS = 8, 60
"""How many unnamed values a warning names, and how much of each."""

Effect = Literal["read", "write", "external", "instrument"]
Verdict = Literal["allow", "deny", "confirm"]
Band = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """What the policy may know about a tool."""

    name: str
    effect: Effect
    permissions: tuple[str, ...]
    """Permissions of identity the person needs besides the policy's consent."""
    schema_sha256: str
    """Hash of the canonical JSON of the tool's argument schema."""
    gmp_critical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """May `principal` call `tool` with `arguments`?"""

    principal: Principal
    tool: ToolFacts
    arguments: dict[str, Any]
    """Validated against the tool's schema."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Typed facts the tool's domain adds for the policy (`foreign_run: true`, `instrument_state: "idle"`, …): str, int or bool."""
    tainted: bool = False
    """Untrusted text (documents, tool results from outside) is in the context that led to this call."""
    run_id: uuid.UUID | None = None
    trainings: frozenset[str] | None = None
    """Keys of the person's trainings that are in date (`records.training`), where the bundle asks for any; None: not known, and then
    the fact `training_valid` answers (golden cases, people who do not exist)."""
    intent: str | None = None
    """What the message that led here asks for, as it was classified; for policies the fact `intent`. None: there was no message."""
    unnamed: tuple[str, ...] | None = None
    """Values of the arguments that nobody named in the conversation that led here (`guard.unnamed`); for policies the fact
    `unnamed_values`, how many. None: there was no conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a request came about, as it was sealed with it: that does not change when it is edited or executed."""

    tainted: bool
    intent: str | None
    unnamed: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    policy_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer, never without a reason (`default-deny` when nothing permits)."""

    decision: Verdict
    reasons: tuple[Reason, ...]
    risk: int
    """0 to 100; shown to people, never overrides the decision."""
    obligations: tuple[str, ...]
    """Of `confirm`, `sign`, `two_person`, `reason_required`, `training_valid`."""
    policy_version: str
    """SHA-256 of the active bundle."""
    input_sha256: str
    """HMAC-SHA256 of everything that went in, under a key of the site: comparable with later decisions, not guessable."""
    took_us: int = 0
    band: Band = "low"
    """The band of the risk, by the bundle's rules."""


PLAN = "plan"
"""What an approval of a whole plan has in the place of a tool's name; no tool may be called so."""
OWN_DECISION = "own_decision"
"""Obligation of a call that is decided by itself, never together with others."""

ApprovalState = Literal["pending", "approved", "executing", "done", "failed", "unknown", "rejected", "withdrawn", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would happen, computed without side effects: a sentence, details, and the versions of the records it rests on.

    An approval binds all of it. At the execution `changes`, `resource_versions` and the number of warnings must be the same again,
    so they must not depend on the moment; the sentences may ("ends about 15:40").
    """

    summary: str
    changes: tuple[dict[str, Any], ...] = ()
    """`{record, field, before, after}` rows."""
    warnings: tuple[str, ...] = ()
    resource_versions: dict[str, int] = field(default_factory=dict)
    """`instrument:PCR-02` → version; part of what the approval binds."""

    def warned(self, unnamed: tuple[str, ...] | None) -> "Preview":
        """As a person is shown it: with what nobody named as the first warning."""
        return replace(self, warnings=(_unnamed_warning(unnamed), *self.warnings)) if unnamed else self


def _unnamed_warning(values: tuple[str, ...]) -> str:
    shown = [_shown(value) for value in values[:_SHOWN_MAX]]
    shown += [f"{len(values) - _SHOWN_MAX} more"] if len(values) > _SHOWN_MAX else []
    listed = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    were, them = ("was", "it") if len(values) == 1 else ("were", "them")
    return f"{listed} {were} not named in this conversation: the assistant added {them}."


def _shown(value: str) -> str:
    """A value inside a sentence: what a model wrote must not garble the warning about it."""
    text = "".join(character if character.isprintable() else "\ufffd" for character in value)
    text = text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
    return f"“{text}”" if " " in text else text


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A step of a plan as it is shown, and as an approval of the whole binds it."""

    tool: ToolFacts
    arguments: dict[str, Any]
    decision: Decision
    """Of the policy, about this step alone."""
    preview: Preview | None
    """None when it cannot be computed yet, because the step depends on an earlier one."""
    after: tuple[int, ...] = ()
    """Places, from 0, of the earlier steps it depends on."""
    touches: tuple[str, ...] = ()
    """Records it changes, as far as that is known: `instrument:PCR-02`."""
    versions: dict[str, int] = field(default_factory=dict)
    """Without a preview: versions of the records it rests on, as far as they are known."""
    unnamed: tuple[str, ...] | None = None
    """As in `Query`."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of the preview; without one, what is known already."""
        return (self.preview or Preview(summary="").warned(self.unnamed)).warnings

    @property
    def own_decision(self) -> bool:
        """Whether it cannot be covered by a decision about the whole."""
        return self.tool.gmp_critical or OWN_DECISION in self.decision.obligations


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A stored request to act. It binds tool, schema, arguments, resource versions, policy version and preview by hash."""

    id: uuid.UUID
    state: ApprovalState
    requester_id: uuid.UUID
    requester_name: str
    run_id: uuid.UUID | None
    """The run that asked."""
    next_run_id: uuid.UUID | None
    """The run that continues after the decision; allocated by the decision."""
    call_id: str
    tool: str
    arguments: dict[str, Any]
    preview: Preview
    decision: Decision
    binding_sha256: str
    created_at: Timestamp
    expires_at: Timestamp
    decided_by: uuid.UUID | None = None
    decided_at: Timestamp | None = None
    reason: str | None = None
    may_decide: bool = False
    """Whether the person who asks may decide it now."""
    superseded_by: uuid.UUID | None = None
    """The request with edited arguments that took this one's place; this one is withdrawn."""


Meaning = str
"""One of the site's `signature_meanings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The two components of an electronic signature (21 CFR 11.200): the session names the person, this proves it again."""

    meaning: Meaning
    password: str | None = field(default=None, repr=False)
    otp: str | None = field(default=None, repr=False)
    sso: str | None = field(default=None, repr=False)
    """The proof of a fresh single sign-on (`POST /api/auth/oidc/step-up`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A verified signature."""

    printed_name: str
    """The signer's name as it was at that moment (21 CFR 11.50)."""
    person: Principal | None = None
    proof: Proof | None = None
    """What the signature record is made of; None from a verifier that leaves none."""


class BundleSignatures(Protocol):
    """Signatures under activations of bundles, and who administers the policy."""

    def prove(self, tx: Transaction, principal: Principal, signature: Signature) -> Awaitable[Signed]:
        """As `VerifySignature`."""
        ...

    def leave(self, tx: Transaction, signed: Signed, record: SignableRecord, meaning: str, reason: str | None) -> Awaitable[uuid.UUID]:
        """Store a signature that was proven in the same transaction; its id."""
        ...

    def signers(self, tx: Transaction, record: SignableRecord) -> Awaitable[set[uuid.UUID]]:
        """Who signed this very record for approval and did not revoke it."""
        ...

    def administrators(self, tx: Transaction) -> Awaitable[set[uuid.UUID]]:
        """Active people who may change the policy."""
        ...


class VerifySignature(Protocol):
    """Checks that `principal` may sign and that the password or one-time password is theirs, at this moment.

    Raises a Problem otherwise. What it writes to `tx` for a failure (lock-out counters) is kept by `kept_refusals`.
    """

    def __call__(self, tx: Transaction, principal: Principal, signature: Signature) -> Awaitable[Signed]: ...


ContinueRun = Callable[[Transaction, uuid.UUID], Awaitable[None]]
"""Defers the continuation of a run (the approval's `next_run_id`) in the given transaction."""


EndWait = Callable[[Transaction, uuid.UUID, ApprovalState], Awaitable[None]]
"""Tells the run that asked, in the given transaction, that its approval ended undecided (expired, withdrawn)."""


WaitForOther = Callable[[Transaction, uuid.UUID, uuid.UUID], Awaitable[None]]
"""Tells a run that waits, in the given transaction, which approval it waits for now."""


class EditCall(Protocol):
    """Puts a request with other arguments in the place of a pending one. Comes from `tools`, which stands above policy."""

    def __call__(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID, arguments: dict[str, Any]) -> Awaitable[Approval]: ...


class DescribeCall(Protocol):
    """What the policy is told about a call that somebody only asks about: the tool's facts and the facts of this call.

    Comes from `tools`, which stands above policy. Raises NotFound for an unknown tool, InvalidInput for arguments that do not fit.
    """

    def __call__(
        self, tx: Transaction, principal: Principal, tool: str, arguments: dict[str, Any]
    ) -> Awaitable[tuple[ToolFacts, dict[str, Any]]]: ...


Choice = Literal["approve", "reject"]
ListRole = Literal["mine", "inbox"]
"""`mine`: what I asked for. `inbox`: what waits for my decision."""
ExecutionOutcome = Literal["ok", "failed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """An approval that ran out, and the run that waits for it."""

    approval_id: uuid.UUID
    run_id: uuid.UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One logged decision: who asked for which tool and what the answer was. What went in is kept sealed, for replays only."""

    id: uuid.UUID
    at: Timestamp
    user_id: uuid.UUID
    tool: str
    decision: Verdict
    reasons: tuple[Reason, ...]
    risk: int
    obligations: tuple[str, ...]
    policy_version: str
    input_sha256: str
    took_us: int
    run_id: uuid.UUID | None
    intent: str | None = None
    unnamed_values: int | None = None
    """How many values of the arguments nobody had named; None: there was no conversation."""
