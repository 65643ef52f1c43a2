"""Refusals of the chat."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound, Problem, Unavailable


class EmptyMessage(InvalidInput):
    code, sentence = "empty_message", "The message is empty."


class MessageTooLong(InvalidInput):
    code, sentence = "message_too_long", "The message is too long."


class UnknownConversation(NotFound):
    code, sentence = "unknown_conversation", "This conversation does not exist, or it is not yours."


class ClientIdTaken(Conflict):
    code, sentence = "client_id_taken", "You have a conversation with this client id already, under another title. PATCH renames it."


class ConversationReadOnly(Forbidden):
    code, sentence = "conversation_read_only", "This conversation is shared with you for reading only."


class NotTheOwner(Forbidden):
    code, sentence = "not_the_owner", "Only the owner of this conversation may do that."


class SharedPermissionMissing(Forbidden):
    code, sentence = "shared_permission_missing", "Tools were used in this conversation that you have no permission for."


class UnknownRun(NotFound):
    code, sentence = "unknown_run", "This run does not exist, or it is not yours."


class NotYourRun(Forbidden):
    code, sentence = "not_your_run", "Only the person who started this run or the owner of the conversation may cancel it."


class ConversationClosed(Conflict):
    code, sentence = "conversation_closed", "This session is closed and takes no more messages; continue it as a copy."


class RestoreExpired(Problem):
    code, status, sentence = "restore_expired", 410, "This conversation was deleted too long ago to be restored."


class UnknownMessage(NotFound):
    code, sentence = "unknown_message", "This message does not exist, or it is not in a conversation of yours."


class NothingToAnswer(InvalidInput):
    code, sentence = "nothing_to_answer", "There is no question behind this message that could be answered again."


class NotYourMessage(Forbidden):
    code, sentence = "not_your_message", "Only the person who asked can have it answered again. Ask yourself: send it as your own message."


class AnswerInProgress(Conflict):
    code, sentence = "answer_in_progress", "This question is being answered at this moment."


class UnknownParent(InvalidInput):
    code, sentence = "unknown_parent", "The parent message is not part of this conversation."


class RunFinished(Conflict):
    code, sentence = "run_finished", "This run has already ended."


class MessageSigned(Conflict):
    code, sentence = "message_signed", "This message was signed and cannot be changed. Write a new one instead."


class RecordSigned(Conflict):
    code, sentence = "record_signed", "This conversation was signed, so it is kept. It can be archived instead."


class Interrupted(Problem):
    code, status, sentence = "interrupted", 500, "The answer was interrupted. The text so far is kept; you can regenerate it."
    retryable = True


class TooManySteps(Problem):
    code, status, sentence = "too_many_steps", 500, "The assistant needed too many steps and was stopped."


class LeaseLost(Exception):
    """Another process took this run over; this one must stop writing at once."""


class ShuttingDown(Unavailable):
    code, sentence = "shutting_down", "The server is being stopped; please try again in a moment."
