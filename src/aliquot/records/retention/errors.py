"""Refusals of retention."""

from aliquot.kernel.problems import Conflict, InvalidInput, Problem


class FixedSchedule(Conflict):
    code, sentence = "fixed_schedule", "Records of this kind are always kept for ever."


class AlreadyReleased(Conflict):
    code, sentence = "already_released", "This hold was released before."


class ReasonNeeded(InvalidInput):
    code, sentence = "reason_needed", "Keeping records for a shorter time, or without an archive, needs a reason."


class Held(Conflict):
    code, sentence = "must_be_kept", "A legal hold stands on this: it cannot be deleted."


class OneTarget(InvalidInput):
    code, sentence = "one_target", "A hold is on a person, a conversation or a kind of record: name exactly one."


class ArchiveDamaged(Problem):
    """An archive did not verify where it lies: nothing was deleted for it."""

    code, status, sentence = "archive_damaged", 500, "The archive does not verify. Nothing was deleted for it."
