"""HTTP ground: problem documents, the request-body base model, pages.

Refusals leave as `application/problem+json` (RFC 9457); a bug leaves as a 500 without detail.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from aliquot.kernel.problems import InvalidInput, NotFound, Problem, RateLimited
from aliquot.kernel.visible import plain_text
from aliquot.platform.telemetry import places

log = structlog.get_logger(__name__)

Item = TypeVar("Item")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _plain(text: str) -> str:
    if not plain_text(text):
        raise ValueError("holds control characters, or marks that turn the direction of text: it would not read as it is")
    return text


PLAIN = AfterValidator(_plain)
"""For reasons and comments that others decide by: what they see is what was written."""


class Body(BaseModel):
    """Base of every request body: camelCase and snake_case are both accepted, both at once and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, str_strip_whitespace=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        require_unicode(value)
        by_camel = {_camel(name): name for name in cls.model_fields}
        result: dict[str, Any] = {}
        for key, item in value.items():
            name = by_camel.get(str(key), str(key))
            if name in result:
                raise ValueError(f"{name} is given twice, in both spellings")
            result[name] = item
        return result


def require_unicode(value: Any) -> None:
    """Raises ValueError when a text anywhere in the JSON `value` holds half a surrogate pair: it could be neither stored nor sent."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str):
            try:
                part.encode()
            except UnicodeEncodeError:
                raise ValueError("a text in it is not valid Unicode") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """One page of a list; `next` is the cursor of the following one, None at the end."""

    items: Sequence[Item]
    next: str | None = None


def problem_response(problem: Problem) -> JSONResponse:
    """`problem` as an HTTP answer."""
    document = jsonable_encoder(problem.document())
    headers = {}
    if problem.retry_after is not None:
        seconds = max(1, math.ceil(problem.retry_after))
        headers["Retry-After"] = str(seconds)
        document |= {"retryAfter": seconds}
    if isinstance(problem, RateLimited):
        document |= {"error": problem.sentence, "retryAfter": document.get("retryAfter", 60)}
        headers.setdefault("Retry-After", str(document["retryAfter"]))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(document, status_code=problem.status, headers=headers, media_type="application/problem+json")


class _HttpRefusal(Problem):
    """A refusal by the framework itself (unknown path, wrong method, malformed form)."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self._status, self._code = status, code

    def document(self) -> dict[str, Any]:
        return super().document() | {
            "type": f"urn:aliquot:problem:{self._code}", "title": self.detail, "status": self._status, "code": self._code,
        }  # fmt: skip


_PATH_ONLY = "*"
"""A method no route has: what matches it in part matches the path."""


def _allowed(request: Request) -> list[str]:
    """The methods of all routes of the path (RFC 9110 §10.2.1), each of which the framework would name alone; with GET also HEAD."""
    scope = {**request.scope, "method": _PATH_ONLY, "path_params": {}}
    methods: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


_FRAMEWORK = {
    400: ("bad_request", "The request cannot be read."),
    404: (NotFound.code, NotFound.sentence),
    405: ("method_not_allowed", "This path does not take that method."),
    413: ("too_large", "The request is too large."),
    415: ("unsupported_media_type", "This content type is not accepted here."),
}


_MOMENT = "should be a time with its zone, such as 2026-11-21T00:00:00Z"
_SENTENCES = {
    "extra_forbidden": "there is no such field",
    "missing": "this field is missing",
    "dict_type": "should be an object",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be a text",
    "json_invalid": "this is not JSON",
    "timezone_aware": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "datetime_parsing": _MOMENT,
}
_SUBJECT = re.compile(r"^(Input|String|List|Tuple|Dictionary|Value|Object) should ")
_UNION_TAG = re.compile(r".*[\[(].*|str|int|float|bool|none|dict|list|[A-Z][a-z]+([A-Z][a-z]+)*")


def validation_problem(errors: Sequence[Any]) -> InvalidInput:
    """A 422 that names the fields, never their values."""
    listed = [{"field": _field(e["loc"]), "message": _sentence(e)} for e in errors[:20]]
    first = listed[0] if listed else {"field": "body", "message": "not valid"}
    named = first["message"] if first["field"] == "body" else f"{first['field']}: {first['message']}"
    return InvalidInput(named, errors=listed)


def _field(place: Sequence[int | str]) -> str:
    """`items.0.name`: without the names of alternatives that pydantic puts between."""
    if place and place[0] == "header":
        return str(place[-1])
    parts = [part for part in place if part != "body"]
    kept = [str(part) for at, part in enumerate(parts) if at == 0 or isinstance(part, int) or not _UNION_TAG.fullmatch(part)]
    return ".".join(kept) or "body"


def _sentence(error: Any) -> str:
    """What is wrong, in words of people who know no pydantic."""
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return _SENTENCES.get(error["type"]) or _SUBJECT.sub("should ", text)


def bug_response(error: Exception) -> JSONResponse:
    """The answer to an error nobody expected: its kind and place are logged, never its message, and nothing of it is shown."""
    log.error("unhandled_error", error=type(error).__name__, trace=places(error))
    return problem_response(Problem())


def install_problem_handlers(app: FastAPI, shape: Callable[[Request, Problem], JSONResponse | None] | None = None) -> None:
    """Answer every refusal of `app` as a problem document. `shape` may give another form for some paths (`/v1`)."""

    def answer(request: Request, problem: Problem, status: int | None = None) -> JSONResponse:
        response = shape(request, problem) if shape is not None else None
        response = response or problem_response(problem)
        if status is not None:
            response.status_code = status
        return response

    async def on_problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)  # noqa: S101 - registered for this class
        return answer(request, error)

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return answer(request, validation_problem(error.errors()))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        code, sentence = _FRAMEWORK.get(error.status_code, ("http_error", "The request was refused."))
        response = answer(request, _HttpRefusal(error.status_code, code, sentence), error.status_code)
        response.headers.update(error.headers or {})
        if error.status_code == 405 and request.method not in (allowed := _allowed(request)):  # else it was the endpoint that refused
            response.headers["Allow"] = ", ".join(allowed)
        return response

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
