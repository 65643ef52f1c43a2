"""`/v1`: the OpenAI chat-completion surface, for stock SDKs. Each call is a run in a conversation of kind `api`."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from aliquot.bootstrap import Services
from aliquot.chat.contracts import PriorTurn, StartRun
from aliquot.chat.streaming import stream
from aliquot.identity.contracts import Principal
from aliquot.identity.http import require
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.platform.http import problem_response, require_unicode
from aliquot.web.wire.openai import OpenAIEncoder

router = APIRouter(prefix="/v1", tags=["openai"])

Person = Annotated[Principal, Depends(require("chat.use"))]

DEFAULT_MODEL = "aliquot"
"""The site's own choice: its order of fallback, or its tools when no model is configured."""


class ToolsNotAccepted(InvalidInput):
    code, status, sentence = "tools_not_accepted", 400, "This server uses its own tools under its own policy; `tools` is not accepted."


class ModelNotFound(NotFound):
    code, sentence = "model_not_found", "The model does not exist here. GET /v1/models lists those that do."


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message as OpenAI clients send it. `system` and `developer` text of a caller is untrusted and read as a user's."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """The fields used; sampling parameters of the caller are accepted and left to the site's configuration."""

    model_config = ConfigDict(extra="ignore")
    model: str = Field(max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    n: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _unicode(cls, value: Any) -> Any:
        require_unicode(value)
        return value


@router.post("/chat/completions")
async def chat_completions(request: Request, body: ChatRequest, person: Person) -> Response:
    """Answer the last user message, with the others as history."""
    services: Services = request.app.state.services
    if body.tools or body.functions:
        raise ToolsNotAccepted
    if body.n not in (None, 1):
        raise InvalidInput("n: only one choice is given")
    if body.model not in await _names(services):
        raise ModelNotFound
    start = _start(person, body)
    async with services.chat.runs.starting() as tx:
        started = await services.chat.runs.start(tx, start)
    created = int(time.time())
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        return stream(services.chat, started.run_id, OpenAIEncoder(body.model, created, include_usage=usage), reader=person)
    answer = await services.chat.answer(person, started)
    if answer.error is not None:
        return JSONResponse(_error(answer.error["detail"], answer.error["code"]), status_code=503 if answer.error["retryable"] else 500)
    usage_counts = {"prompt_tokens": answer.run.usage.input_tokens, "completion_tokens": answer.run.usage.output_tokens}
    return JSONResponse(
        {
            "id": f"chatcmpl-{started.run_id}", "object": "chat.completion", "created": created, "model": body.model,
            "choices": [
                {
                    "index": 0, "finish_reason": "stop", "logprobs": None,
                    "message": {"role": "assistant", "content": answer.message.content if answer.message else "", "refusal": None},
                }
            ],
            "usage": usage_counts | {"total_tokens": sum(usage_counts.values())},
        }
    )  # fmt: skip


@router.get("/models")
async def models(request: Request, _: Person) -> dict[str, Any]:
    """The models a caller may name."""
    services: Services = request.app.state.services
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "aliquot"} for name in await _names(services)]
    return {"object": "list", "data": listed}


async def _names(services: Services) -> list[str]:
    return [DEFAULT_MODEL, *(info.name for info in await services.models.list_models())]


def _start(person: Principal, body: ChatRequest) -> StartRun:
    *earlier, last = body.messages
    if last.role != "user":
        raise InvalidInput("messages: the last one must be a user's")
    history = tuple(PriorTurn(role="assistant" if m.role == "assistant" else "user", text=m.text) for m in earlier if m.text)
    model = None if body.model == DEFAULT_MODEL else body.model
    return StartRun(principal=person, message=last.text, kind="api", model=model, history=history)


def error_shape(problem: Problem) -> JSONResponse:
    """A refusal as OpenAI's error object, with the same status and headers."""
    plain, facts = problem_response(problem), problem.document()
    status, code = facts["status"], facts["code"]
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")
    document = _error(problem.detail, code, "server_error" if status >= 500 else kind)
    response = JSONResponse(document, status_code=status)
    response.headers.update({k: v for k, v in plain.headers.items() if k.lower() in ("retry-after", "www-authenticate")})
    return response


def _error(message: str, code: str, kind: str = "server_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}
