"""Refusals of access records."""

from aliquot.kernel.problems import Conflict, InvalidInput


class OwnReview(Conflict):
    code, sentence = "own_review", "Somebody else must review this access."


class AlreadyReviewed(Conflict):
    code, sentence = "already_reviewed", "This access was reviewed before."


class OneOfTwo(InvalidInput):
    code, sentence = "one_of_two", "Ask for a patient or for a person."
