"""What is wrong with a body is said in sentences, with the field's name and none of the framework's words."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, Field, ValidationError, field_validator

from aliquot.chat.live.frames import parse
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.http import Body, validation_problem


class Part(Body):
    text: str


class Rated(Body):
    rating: Literal["up", "down"] | Annotated[int, Field(ge=1, le=5)] = "up"
    comment: Annotated[str, Field(max_length=3)] = ""
    parts: list[str | Part] = Field(default_factory=list)
    options: Part | None = None
    since: AwareDatetime | None = None

    @field_validator("comment")
    @classmethod
    def _plain(cls, value: str) -> str:
        if value == "<>":
            raise ValueError("no marks here")
        return value


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"rating": "left"}, "rating", "rating: should be 'up' or 'down'"),
        ({"comment": "long"}, "comment", "comment: should have at most 3 characters"),
        ({"comment": "<>"}, "comment", "comment: no marks here"),
        ({"other": 1}, "other", "other: there is no such field"),
        ({"options": {}}, "options.text", "options.text: this field is missing"),
        ({"options": 3}, "options", "options: "),
        ({"parts": ["a", {"x": 1}]}, "parts.1", "parts.1: should be a text"),
        ({"rating": "up", "Rating": 1}, "Rating", "Rating: there is no such field"),
        ({"since": "2026-11-21"}, "since", "since: should be a time with its zone, such as 2026-11-21T00:00:00Z"),
        ({"since": "2026-11-21T08:00:00"}, "since", "since: should be a time with its zone"),
        ({"since": "soon"}, "since", "since: should be a time with its zone"),
        ([], "body", "should be an object"),
    ],
)
def test_a_refusal_names_the_field_in_plain_words(body: Any, field: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Rated.model_validate(body)
    problem = validation_problem(refused.value.errors(include_input=False, include_url=False))
    assert problem.document()["errors"][0]["field"] == field
    assert problem.detail.startswith(said)
    for word in ("literal[", "Value error", "Input", "Extra inputs", "Rated", "Part"):
        assert word not in str(problem.document())


def test_a_resume_that_is_no_map_says_what_it_takes() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse('{"type":"resume","after":3}')
    assert refused.value.detail == 'after: should be a map of run ids to the number of the last frame seen of each: {"<run_id>": 3}'
