"""`POST /ag-ui`: runs for clients of the Agent User Interaction Protocol (https://ag-ui.com).

The thread is a conversation under the caller's own id and the server keeps its history: of the messages sent along only the last
one, a user's, is read; the earlier ones only when the thread is new here.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from aliquot.bootstrap import Services
from aliquot.chat.contracts import PriorTurn, StartRun
from aliquot.chat.errors import UnknownConversation
from aliquot.chat.streaming import stream
from aliquot.identity.contracts import Principal
from aliquot.identity.http import require
from aliquot.kernel.problems import Forbidden, InvalidInput
from aliquot.platform.db import Transaction
from aliquot.platform.http import require_unicode
from aliquot.web.openai import ToolsNotAccepted
from aliquot.web.wire.agui import AgUiEncoder

router = APIRouter(tags=["ag-ui"])

Person = Annotated[Principal, Depends(require("chat.use"))]
_Name = Annotated[str, Field(min_length=1, max_length=255)]


class DecideElsewhere(Forbidden):
    code, sentence = "session_required", "Approvals are decided with a login session at /api/approvals, not by resuming a run here."


class _Model(BaseModel):
    """As the protocol has it: fields this server does not know are let pass."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Part(_Model):
    type: str
    text: str = ""


class AgUiMessage(_Model):
    role: Literal["developer", "system", "assistant", "user", "tool", "activity", "reasoning"]
    content: str | list[Part] | dict[str, Any] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content) if isinstance(self.content, list) else ""


class RunAgentInput(_Model):
    """The fields used. `state`, `context` and `forwardedProps` are accepted and not read."""

    thread_id: _Name
    run_id: _Name
    messages: list[AgUiMessage] = Field(min_length=1, max_length=200)
    tools: list[Any] | None = None
    resume: list[Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _unicode(cls, value: Any) -> Any:
        require_unicode(value)
        return value


@router.post("/ag-ui")
async def run_agent(
    request: Request,
    body: RunAgentInput,
    person: Person,
    key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)] = None,
) -> Response:
    """Answer the last message of the thread as AG-UI events."""
    services: Services = request.app.state.services
    if body.tools:
        raise ToolsNotAccepted
    if body.resume:
        raise DecideElsewhere
    *earlier, last = body.messages
    if last.role != "user":
        raise InvalidInput("messages: the last one must be a user's")
    if isinstance(last.content, list) and any(part.type != "text" for part in last.content):
        raise InvalidInput("messages: only text is taken here; attach files by /api/attachments")
    async with services.chat.runs.starting() as tx:
        history = () if await _known(services, tx, person, body.thread_id) else _turns(earlier)
        start = StartRun(principal=person, message=last.text, conversation=body.thread_id, history=history, idempotency_key=key)
        started = await services.chat.runs.start(tx, start)
    return stream(services.chat, started.run_id, AgUiEncoder(body.thread_id, body.run_id), reader=person)


async def _known(services: Services, tx: Transaction, person: Principal, thread: str) -> bool:
    try:
        await services.chat.conversations.find(tx, person, thread, "write")
    except UnknownConversation:
        return False
    return True


def _turns(messages: list[AgUiMessage]) -> tuple[PriorTurn, ...]:
    """What the caller says was said before; system text of a caller is untrusted and read as a user's."""
    said = [message for message in messages if message.role in ("developer", "system", "user", "assistant") and message.text]
    return tuple(PriorTurn(role="assistant" if message.role == "assistant" else "user", text=message.text) for message in said)
