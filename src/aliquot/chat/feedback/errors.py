"""Refusals of feedback."""

from aliquot.kernel.problems import InvalidInput, NotFound


class UnknownMessage(NotFound):
    code, sentence = "unknown_message", "This message does not exist, or you may not read it."


class NotAnAnswer(InvalidInput):
    code, sentence = "not_an_answer", "Only answers of the assistant can be rated."


class NoFeedback(NotFound):
    code, sentence = "no_feedback", "You have not rated this answer."
