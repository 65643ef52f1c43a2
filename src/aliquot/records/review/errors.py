"""Refusals of the review queue."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound


class UnknownItem(NotFound):
    code, sentence = "unknown_review", "There is no such entry in the review queue."


class AlreadyFlagged(Conflict):
    code, sentence = "already_flagged", "You have flagged this answer already; it waits for a reviewer."


class ReviewDecided(Conflict):
    code, sentence = "review_decided", "This was decided already. What was decided stays; flag the answer again to have it looked at anew."


class SelfReview(Forbidden):
    code, sentence = "self_review", "Somebody else has to decide this: you asked for this answer, or flagged it yourself."


class NotReadable(Forbidden):
    """The member `withheld` says why."""

    code, sentence = "review_not_readable", "You may not read this answer, so you cannot decide about it."


class CorrectionMismatch(InvalidInput):
    code, sentence = "correction_mismatch", "A correction belongs to the decision corrected, and that one needs it."
