"""Refusals of tool calls."""

import traceback

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound, Problem, TooLarge, Unavailable


class UnknownTool(NotFound):
    """Also the answer for a tool this person may not see."""

    code, sentence = "unknown_tool", "There is no such tool."


class ToolWithdrawn(UnknownTool):
    """A tool of an external server that was not seen yet, is gone, or shows another definition than the accepted one."""

    code, status = "tool_withdrawn", 503
    sentence = "This tool of an external server cannot be used at the moment: an administrator sees why."


class ArgumentsInvalid(InvalidInput):
    code, sentence = "arguments_invalid", "The arguments do not fit this tool."


class ToolDenied(Forbidden):
    """The policy, or a missing permission; the member `reasons` says why."""

    code, sentence = "denied", "The policy does not allow this."


class ToolFailed(Problem):
    """The tool broke in a way nobody foresaw; the detail stays in the log of the server."""

    code, status, sentence = "tool_failed", 502, "The tool failed."


class ToolUnavailable(Unavailable):
    """Its circuit breaker is open, or retries did not help."""

    code, sentence = "tool_unavailable", "The tool is not available at the moment."


class ToolTimeout(Problem):
    code, status, sentence = "tool_timeout", 504, "The tool did not answer in time."


class ResultTooLarge(TooLarge):
    code, sentence = "tool_result_too_large", "The result is too large. Ask for less, e.g. with a limit."


class ResultInvalid(Problem):
    """Not representable as canonical JSON, so it could not be recorded."""

    code, status, sentence = "tool_result_invalid", 502, "The tool gave a result that cannot be recorded."


class CallCancelled(Conflict):
    code, sentence = "cancelled", "The call was cancelled before it ended."


class CallInFlight(Conflict):
    """Another task or process executes this call at this moment."""

    code, sentence = "call_in_flight", "This call is being executed at this moment."
    retryable = True


class CallMismatch(Conflict):
    """The idempotency key was used before by somebody else, or for another tool or other arguments."""

    code, sentence = "call_mismatch", "This call was already made with other arguments."


class ToolRefused(Exception):
    """A tool cannot be registered: a mistake of its author, found at start. The text names the tool and the fault."""


def where(error: BaseException) -> list[str]:
    """The last places of a failure as `file:line`, for the log: its message may quote contents."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{frame.filename.rsplit('/src/', 1)[-1]}:{frame.lineno}" for frame in frames]
