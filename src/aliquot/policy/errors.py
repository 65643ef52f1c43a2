"""Refusals of policy."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, Problem, RateLimited, Unavailable


class RecordedRefusal(Problem):
    """A refusal that left its trace (a state, an audit event) in the transaction.

    The transaction should be committed before it travels on; `api.kept_refusals` does. A roll-back loses only the trace: every
    check is made again at the next try.
    """


class AlreadyDecided(RecordedRefusal, Conflict):
    code, status, sentence = "already_decided", 409, "This request was decided already."


class ApprovalExpired(RecordedRefusal, Conflict):
    code, status, sentence = "approval_expired", 409, "This request has expired. Please ask again."


class ApprovalStale(RecordedRefusal, Conflict):
    """What was approved is no longer what would happen. The detail says what differs, the member `changed` as codes; nothing was
    executed."""

    code, status, sentence = "approval_stale", 409, "Something changed since this was approved, so nothing was done. Please ask again."


class ApprovalDamaged(RecordedRefusal, Conflict):
    code, status, sentence = "approval_damaged", 409, "The stored request does not match its seal and cannot be used."


class IllegalTransition(RecordedRefusal, Conflict):
    code, status, sentence = "illegal_transition", 409, "The request is not in a state that allows this."


class OwnRequest(RecordedRefusal, Forbidden):
    code, status, sentence = "own_request", 403, "Somebody else has to decide this: you asked for it yourself."


class SessionRequired(RecordedRefusal, Forbidden):
    code, status, sentence = "session_required", 403, "This needs a login session; an API key cannot do it."


class MayNotSign(RecordedRefusal, Forbidden):
    code, status, sentence = "may_not_sign", 403, "This needs a signature, and you do not have the right to sign."


class SignatureRefused(RecordedRefusal, Forbidden):
    code, status, sentence = "signature_refused", 403, "The signature could not be verified."


class SignatureRequired(InvalidInput):
    code, sentence = "signature_required", "This needs a signature: its meaning and your password or one-time password."


class ReasonRequired(InvalidInput):
    code, sentence = "reason_required", "Please give a reason."


class PolicyChanging(Unavailable):
    code, sentence = "policy_changing", "The policy is being changed at this moment. Please try again."


class TooManyPending(Conflict):
    """Nobody can weigh so many requests at once. Not retried by itself: something has to be decided or withdrawn first."""

    code, sentence = "too_many_pending", "Too many of your requests wait for a decision. Decide or withdraw some of them first."


class TooManyDecisions(RecordedRefusal, RateLimited):
    code, status = "too_many_decisions", 429
    sentence = "You have approved very many requests in a short time. Please take a break, and look at each one."


class EditDenied(RecordedRefusal, Forbidden):
    """The member `reasons` says why. The request as it was still waits."""

    code, status, sentence = "denied", 403, "With these arguments the policy does not allow it. The request as it was still waits."


def reason_of(refusal: Problem) -> str:
    """How an event names a refusal: its code, and for a signature what was wrong with it."""
    cause = refusal.members.get("cause")
    return refusal.code if cause is None else f"{refusal.code}:{cause}"
