"""Refusals of the chat."""

from aliquot.kernel.problems import Conflict, InvalidInput, NotFound, Problem, Unavailable


class EmptyMessage(InvalidInput):
    code, sentence = "empty_message", "The message is empty."


class MessageTooLong(InvalidInput):
    code, sentence = "message_too_long", "The message is too long."


class UnknownConversation(NotFound):
    code, sentence = "unknown_conversation", "This conversation does not exist, or it is not yours."


class UnknownRun(NotFound):
    code, sentence = "unknown_run", "This run does not exist, or it is not yours."


class UnknownParent(InvalidInput):
    code, sentence = "unknown_parent", "The parent message is not part of this conversation."


class RunFinished(Conflict):
    code, sentence = "run_finished", "This run has already ended."


class Interrupted(Problem):
    code, status, sentence = "interrupted", 500, "The answer was interrupted. The text so far is kept; you can regenerate it."
    retryable = True


class TooManySteps(Problem):
    code, status, sentence = "too_many_steps", 500, "The assistant needed too many steps and was stopped."


class LeaseLost(Exception):
    """Another process took this run over; this one must stop writing at once."""


class ShuttingDown(Unavailable):
    code, sentence = "shutting_down", "The server is being stopped; please try again in a moment."
