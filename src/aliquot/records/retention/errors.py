"""Refusals of retention."""

from aliquot.kernel.problems import Conflict, InvalidInput


class FixedSchedule(Conflict):
    code, sentence = "fixed_schedule", "Records of this kind are always kept for ever."


class AlreadyReleased(Conflict):
    code, sentence = "already_released", "This hold was released before."


class ReasonNeeded(InvalidInput):
    code, sentence = "reason_needed", "Keeping records for a shorter time needs a reason."


class OneTarget(InvalidInput):
    code, sentence = "one_target", "A hold is on a person, a conversation or a kind of record: name exactly one."
