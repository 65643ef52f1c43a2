"""The frames of `/ws/chat/{conversation_id}` (CONTRACT §2), both ways. Pure. `docs/streams.md` describes them for clients."""

import uuid
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, ValidationError, field_validator

from aliquot.chat.contracts import Message, StoredEvent
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.problems import InvalidInput, Problem
from aliquot.platform.http import Body, validation_problem
from aliquot.policy.contracts import Choice, Meaning

RESUME_RUNS_MAX = 1_000
_SEQ_MAX = 2**31 - 1
_Secret = Annotated[str | None, Field(min_length=1, max_length=1024, repr=False)]


class MalformedFrame(InvalidInput):
    code, sentence = "malformed_frame", "A frame is a JSON object with a `type`, as text."


class UnknownFrame(InvalidInput):
    code, sentence = "unknown_frame", "There is no frame of this type."


class MessageFrame(Body):
    """A message of the person. Sent again with the same `client_id` it is accepted once."""

    type: Literal["message"]
    content: str
    client_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    parent_id: uuid.UUID | None = None
    model: Annotated[str, Field(max_length=200)] | None = None
    attachment_ids: Annotated[tuple[uuid.UUID, ...], Field(max_length=20)] = ()


class TypingFrame(Body):
    type: Literal["typing"]
    active: bool = True


class CancelFrame(Body):
    """End a run; without `run_id` the person's newest one that is going on here."""

    type: Literal["cancel"]
    run_id: uuid.UUID | None = None


class SignatureFields(Body):
    meaning: Meaning
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None


class ApproveFrame(Body):
    """A decision about what asked for confirmation."""

    type: Literal["approve"]
    approval_id: uuid.UUID
    decision: Choice = "approve"
    reason: Annotated[str, Field(max_length=2_000)] | None = None
    signature: SignatureFields | None = None


class PingFrame(Body):
    type: Literal["ping"]
    id: Annotated[str, Field(max_length=100)] | int | None = None


class ResumeFrame(Body):
    """`after`: run id → number of the last frame seen of it (-1: none). Without `after`: what is going on, from its start."""

    type: Literal["resume"]
    after: Annotated[dict[uuid.UUID, Annotated[int, Field(ge=-1, le=_SEQ_MAX)]], Field(max_length=RESUME_RUNS_MAX)] | None = None

    @field_validator("after", mode="before")
    @classmethod
    def _a_map(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, dict):
            raise ValueError('should be a map of run ids to the number of the last frame seen of each: {"<run_id>": 3}')
        return value


Frame = MessageFrame | TypingFrame | CancelFrame | ApproveFrame | PingFrame | ResumeFrame

_KINDS: dict[str, type[Frame]] = {
    "message": MessageFrame,
    "typing": TypingFrame,
    "cancel": CancelFrame,
    "approve": ApproveFrame,
    "ping": PingFrame,
    "resume": ResumeFrame,
}


def parse(text: str) -> Frame:
    """The frame in `text`. Raises MalformedFrame, UnknownFrame, or InvalidInput naming the fields."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedFrame from error
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        raise MalformedFrame
    kind = _KINDS.get(document["type"])
    if kind is None:
        raise UnknownFrame(f"There is no such frame; there are {', '.join(_KINDS)}.")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise validation_problem(error.errors(include_input=False, include_url=False)) from error


def frame(kind: str, **fields: Any) -> str:
    """A frame to the client."""
    return msgspec.json.encode({"type": kind, **fields}).decode()


def person(principal: Principal) -> dict[str, str]:
    """A person as other people in the conversation see them."""
    return {"id": str(principal.id), "name": principal.name}


def run_event(event: StoredEvent) -> str:
    """A run event: its stored object with its kind as `type`."""
    return f'{{"type":"{event.kind}",{event.payload[1:].decode()}'


def message(run_id: uuid.UUID, asked: Message, author: dict[str, str]) -> str:
    """A person's message. It has the number 0 of the run it started."""
    return frame(
        "message", run_id=str(run_id), seq=0, id=str(asked.id), conversation_id=str(asked.conversation_id), role="user",
        content=asked.content, user=author, parent_id=str(asked.parent_id) if asked.parent_id else None,
        timestamp=rfc3339(asked.created_at),
    )  # fmt: skip


def message_complete(run_id: uuid.UUID, seq: int, answer: Message) -> str:
    """The whole answer. It has the number after the run's last event."""
    return frame("message_complete", run_id=str(run_id), seq=seq, **_answer(answer))


def message_complete_alone(answer: Message) -> str:
    """The whole answer for who did not hear how it came about: without a number, so that it stands in no resume's way."""
    return frame("message_complete", **_answer(answer))


def _answer(answer: Message) -> dict[str, Any]:
    return {
        "message_id": str(answer.id), "conversation_id": str(answer.conversation_id), "role": "assistant", "content": answer.content,
        "citations": list(answer.citations), "timestamp": rfc3339(answer.created_at), "incomplete": answer.incomplete,
    }  # fmt: skip


def error(problem: Problem, of: str | None = None, client_id: str | None = None) -> str:
    """A refusal. It has no `run_id`: that sets it apart from the run event `error`."""
    fields: dict[str, Any] = {"code": problem.code, "detail": problem.detail, "retryable": problem.retryable}
    if of is not None:
        fields["of"] = of
    if client_id is not None:
        fields["client_id"] = client_id
    if problem.retry_after is not None:
        fields["retry_after"] = round(problem.retry_after, 1)
    if "errors" in problem.members:
        fields["errors"] = problem.members["errors"]
    return frame("error", **fields)
