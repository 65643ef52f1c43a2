"""What is left out of a long conversation, and what never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.models.context import MIN_OUTPUT_TOKENS, Fitted, TokenEstimator, fit
from aliquot.models.contracts import ModelMessage, ToolUse
from aliquot.models.errors import ContextTooLong
from tests.models.asking import LOOKUP, ask, events_of, notices
from tests.models.conftest import Bench


def user(text: str, **more: bool) -> ModelMessage:
    return ModelMessage(role="user", text=text, **more)


def calls(*ids: str) -> ModelMessage:
    return ModelMessage(role="assistant", tool_uses=tuple(ToolUse(call_id=i, name="look", arguments='{"a": 1}') for i in ids))


def result(call_id: str, text: str = "r" * 60, pinned: bool = False) -> ModelMessage:
    return ModelMessage(role="tool", call_id=call_id, text=text, pinned=pinned)


def fitted(*messages: ModelMessage, window: int = 1_000, output: int = 300) -> Fitted:
    return fit(system="s", messages=messages, tools=(), context_tokens=window, max_output_tokens=output)


def test_what_fits_is_left_alone() -> None:
    messages = (user("a"), ModelMessage(role="assistant", text="b"), user("c"))
    assert fitted(*messages).messages == messages


def test_the_oldest_turn_goes_whole() -> None:
    old = (user("x" * 900), calls("1"), result("1"), ModelMessage(role="assistant", text="y"))
    new = (user("a" * 300), ModelMessage(role="assistant", text="b" * 300), user("c" * 300))
    kept = fitted(*old, *new)
    assert kept.messages == new
    assert kept.dropped == 4


def test_a_pinned_result_keeps_its_call_and_lets_the_rest_of_its_turn_go() -> None:
    pinned = (calls("1", "2"), result("1", pinned=True), result("2"))
    messages = (user("x" * 1_500), *pinned, ModelMessage(role="assistant", text="z" * 600), user("now"))
    kept = fitted(*messages).messages
    assert kept[:3] == pinned
    assert kept[-1] == user("now")
    assert len(kept) < len(messages)


def test_a_single_message_that_is_too_large_is_a_clear_error() -> None:
    with pytest.raises(ContextTooLong) as caught:
        fitted(user("x" * 30_000))
    assert "shorten" in caught.value.detail


def test_the_answer_gets_less_room_before_anything_fails() -> None:
    kept = fitted(user("x" * 1_900), output=900)
    assert MIN_OUTPUT_TOKENS <= kept.max_output_tokens < 900


MESSAGES = st.lists(
    st.one_of(
        st.builds(user, st.text(max_size=600), pinned=st.booleans()),
        st.builds(lambda t: ModelMessage(role="assistant", text=t), st.text(max_size=600)),
        st.builds(lambda n, p: (n, p), st.integers(1, 3), st.booleans()),
    ),
    min_size=1,
    max_size=14,
)


def _flat(items: list[object]) -> tuple[ModelMessage, ...]:
    messages: list[ModelMessage] = []
    for number, item in enumerate(items):
        if isinstance(item, ModelMessage):
            messages.append(item)
        else:
            count, pinned = item  # type: ignore[misc]  # the tuple strategy above
            ids = [f"{number}-{i}" for i in range(count)]
            messages += [calls(*ids), *(result(i, pinned=pinned) for i in ids)]
    return tuple(messages)


@given(MESSAGES, st.integers(600, 2_500))
def test_the_rule_holds_for_any_history(items: list[object], window: int) -> None:
    messages = _flat(items)
    try:
        kept = fitted(*messages, window=window)
    except ContextTooLong:
        return
    assert kept.input_tokens + kept.max_output_tokens <= window
    positions = [next(i for i, m in enumerate(messages) if m is k) for k in kept.messages]
    assert positions == sorted(positions)
    assert all(m in kept.messages for m in messages if m.pinned)
    newest = next((m for m in reversed(messages) if m.role == "user"), None)
    assert newest is None or any(m is newest for m in kept.messages)
    asked = {u.call_id for m in kept.messages for u in m.tool_uses}
    answered = {m.call_id for m in kept.messages if m.role == "tool"}
    assert asked == answered


def test_estimates_follow_what_the_endpoint_reports_within_bounds() -> None:
    estimator = TokenEstimator()
    before = estimator.text("m", "word " * 500)
    for _ in range(50):
        estimator.learn("m", estimated=1_000, reported=800)
    assert estimator.text("m", "word " * 500) < before
    for _ in range(500):
        estimator.learn("m", estimated=1_000, reported=1_000_000)
    assert estimator.factor("m") <= 2.2
    assert estimator.text("other", "試験" * 100) >= 200


async def test_the_person_is_told_and_the_provider_gets_only_what_fits(bench: Bench) -> None:
    history = tuple(user(f"question {n} " + "x" * 900) for n in range(12))
    api = bench.api(bench.model(context_tokens=2_000, max_output_tokens=300))
    events = await events_of(api, ask(messages=history, tools=(LOOKUP,)))
    assert notices(events) == ["context_trimmed"]
    [request] = bench.server.requests
    sent = [m["content"][:12] for m in request.body["messages"]]
    assert sent[0] == "Be brief."
    assert sent[-1] == "question 11 "
    assert 2 <= len(sent) < 12
