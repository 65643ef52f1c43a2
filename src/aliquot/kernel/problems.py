"""Errors are facts: one class per fact, with a stable code, an HTTP status and a sentence for a person.

A `Problem` is an expected refusal. It reaches an HTTP client as `application/problem+json` (RFC 9457), a WebSocket or SSE
client as an `error` frame, the terminal as its sentence. Anything else that is raised is a bug and answers 500 without detail.
"""

from typing import Any, ClassVar


class Problem(Exception):
    """Base of all expected refusals. Subclasses set `code`, `status` and a default sentence."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = "Something went wrong on our side."
    retryable: ClassVar[bool] = False
    gives_way: ClassVar[bool] = False
    """An earlier step of a plan may remove what is refused for; otherwise no plan is made of it."""

    def __init__(self, detail: str | None = None, *, retry_after: float | None = None, **members: Any) -> None:
        super().__init__(detail or self.sentence)
        self.detail = detail or self.sentence
        self.retry_after = retry_after
        self.members = members
        """Extra members of the problem document (RFC 9457 §3.2); must be JSON and free of secrets."""

    def document(self) -> dict[str, Any]:
        """The RFC 9457 members of this problem."""
        return {
            "type": f"urn:aliquot:problem:{self.code}",
            "title": self.sentence,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }


class InvalidInput(Problem):
    code, status, sentence = "invalid_input", 422, "The request is not valid."


class NotFound(Problem):
    """Also the answer for what exists but belongs to somebody else: existence is not disclosed."""

    code, status, sentence = "not_found", 404, "There is nothing here, or it is not yours."


class Unauthenticated(Problem):
    code, status, sentence = "unauthenticated", 401, "Please log in."


class Forbidden(Problem):
    code, status, sentence = "forbidden", 403, "You may not do this."


class Conflict(Problem):
    code, status, sentence = "conflict", 409, "This does not fit the present state."


class TooLarge(Problem):
    code, status, sentence = "too_large", 413, "This is too large."


class RateLimited(Problem):
    code, status, sentence = "rate_limited", 429, "Rate limit exceeded. Please wait before sending more messages."
    retryable = True


class Unavailable(Problem):
    code, status, sentence = "unavailable", 503, "This part of Aliquot is not available at the moment."
    retryable = True
