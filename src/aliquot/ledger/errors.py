"""Refusals of the ledger."""

from aliquot.kernel.problems import Conflict, InvalidInput, NotFound, TooLarge, Unavailable


class EventMalformed(InvalidInput):
    """The change it belongs to is rolled back with it: no audit, no change."""

    code, sentence = "audit_event_malformed", "This cannot be recorded in the audit trail, so it was not done."


class EventTooLarge(TooLarge):
    code, sentence = "audit_event_too_large", "This is too large to be recorded in the audit trail, so it was not done."


class NoSuchEvent(NotFound):
    code, sentence = "audit_event_not_found", "There is no such audit event."


class NotYetInLog(Conflict):
    code, sentence = "audit_event_pending", "This event is not in the log yet. Please try again in a second."
    retryable = True


class NoCheckpoint(Unavailable):
    code, sentence = "no_checkpoint", "The audit log has no signed checkpoint yet. Please try again in a second."


class NoLogKey(Unavailable):
    code, sentence = "log_key_unavailable", "This server does not hold the key of the audit log, so it cannot sign an export."


class ExportBusy(Unavailable):
    code, sentence = "export_busy", "Other exports are being made. Please try again in a minute."


class NoSuchTree(InvalidInput):
    code, sentence = "no_such_tree", "The log has no signed trees of these sizes: old must not exceed new, new not the newest checkpoint."


class CosignatureRefused(InvalidInput):
    code, sentence = "cosignature_refused", "This is not a cosignature of this log by a configured witness."


class LogForked(Conflict):
    code, sentence = "log_forked", "A checkpoint was cosigned that this log does not continue: the log was forked or rolled back."


class RotationUnderWay(Conflict):
    code, sentence = "rotation_under_way", "The log's key is being rotated already."


class StampRefused(Exception):
    """The time-stamping authority's answer is not a stamp of what was sent."""


class LogRefused(Exception):
    """The sequencer will not extend the log: what it finds contradicts what was signed. The text says what and why."""
