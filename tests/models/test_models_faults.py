"""A provider that is busy, refuses, breaks, hangs, talks nonsense or repeats itself: what the person is told, and what is repeated."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from aliquot.ledger.api import LedgerApi
from aliquot.models.api import ModelsApi
from aliquot.models.contracts import ModelDone, ModelEvent, Notice, TextDelta
from aliquot.models.errors import (
    ContextTooLong,
    ModelNotConfigured,
    NoModelForPatientData,
    ProviderBusy,
    ProviderInterrupted,
    ProviderMisbehaved,
    ProviderRefused,
    RepeatedItself,
    UnknownModel,
)
from aliquot.platform.settings import Settings
from tests.conftest import PATIENCE
from tests.models.asking import ask, collect, done_of, events_of, notices, text_of, until
from tests.models.conftest import Bench
from tests.peers.models_server import Turn

PROVIDERS = ["openai-compatible", "anthropic", "bedrock"]
PRICE = {"input": 3, "output": 15}
SENTENCE = "The AI service is temporarily busy, please try again"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_busy_answers_are_repeated_after_1_2_and_4_seconds_with_a_notice_each(bench: Bench, provider: str) -> None:
    bench.server.script(*[Turn(status=status, error_code="Busy") for status in (429, 500, 503)], Turn(text="At last."))
    events = await events_of(bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE)), ask())
    assert notices(events) == ["retry"] * 3
    assert bench.time.waits == [1, 2, 4]
    assert done_of(events).message.text == "At last."


async def test_a_provider_that_stays_busy_is_a_sentence_and_a_503(bench: Bench) -> None:
    bench.server.default = lambda body: Turn(status=503)
    with pytest.raises(ProviderBusy) as caught:
        await events_of(bench.api(), ask())
    assert (caught.value.status, caught.value.detail, caught.value.retryable) == (503, SENTENCE, True)
    assert len(bench.server.requests) == 4


async def test_retry_after_is_honoured_and_holds_back_other_calls_too(bench: Bench) -> None:
    bench.server.script(Turn(status=429, retry_after="7"), Turn(text="one"))
    events = await events_of(bench.api(), ask())
    assert bench.time.waits == [7]
    assert "7 s" in next(e.text for e in events if isinstance(e, Notice))


async def test_a_wait_beyond_patience_is_not_waited_out(bench: Bench) -> None:
    bench.server.script(Turn(status=429, retry_after="600"))
    api = bench.api()
    with pytest.raises(ProviderBusy) as caught:
        await events_of(api, ask())
    assert bench.time.waits == []
    with pytest.raises(ProviderBusy) as second:
        await events_of(api, ask())
    assert 590 < (second.value.retry_after or 0) <= (caught.value.retry_after or 0) == 600
    assert len(bench.server.requests) == 1


async def test_the_queue_of_waiting_calls_is_bounded(bench: Bench) -> None:
    api = bench.api(bench.model(requests_in_flight=1, idle_seconds=60), model_queue=2)
    bench.server.default = lambda body: Turn(text="x", hang_after=2)
    begun = asyncio.Event()

    async def hold() -> None:
        async with aclosing(api.stream(ask())) as stream:
            async for _ in stream:
                begun.set()

    holder = asyncio.create_task(hold())
    await begun.wait()
    waiting = [asyncio.create_task(events_of(api, ask())) for _ in range(2)]
    await until(lambda: api._lanes["fake"]._queue._waiting == 2)
    with pytest.raises(ProviderBusy):
        await events_of(api, ask())
    for task in (holder, *waiting):
        task.cancel()
    await asyncio.gather(holder, *waiting, return_exceptions=True)
    assert api._lanes["fake"]._queue._waiting == 0


FAULTS: list[dict[str, Any]] = [{"break_after": 5}, {"end_after": 5}, {"error_after": 5, "error_code": "internalServerException"}]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_broken_after_text_is_not_repeated_and_keeps_what_arrived(bench: Bench, provider: str) -> None:
    api = bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE))
    for fault in FAULTS:
        bench.server.script(Turn(text="one two three four five six seven", **fault))
        await _broken_after_text(api)
    assert len(bench.server.requests) == len(FAULTS)


async def _broken_after_text(api: ModelsApi) -> None:
    seen: list[ModelEvent] = []
    with pytest.raises(ProviderInterrupted) as caught:
        await collect(api, ask(), seen)
    assert text_of(seen) == caught.value.message.text != ""
    assert "one two three four five six seven".startswith(caught.value.message.text)
    assert caught.value.usage.input_tokens > 0
    assert caught.value.usage.estimated
    assert not any(isinstance(e, ModelDone) for e in seen)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_broken_before_any_text_is_repeated(bench: Bench, provider: str) -> None:
    bench.server.script(Turn(text="one two", break_after=1), Turn(text="one two"))
    events = await events_of(bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE)), ask())
    assert notices(events) == ["retry"]
    assert text_of(events) == "one two"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_silence_is_a_timeout_not_an_endless_wait(bench: Bench, provider: str) -> None:
    bench.server.script(Turn(text="a b c d e f", hang_after=4))
    api = bench.api(bench.model(provider=provider, idle_seconds=0.3, price_per_million_tokens=PRICE))
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ProviderInterrupted):
            await events_of(api, ask())


async def test_a_trickle_beyond_the_whole_time_allowed_is_ended(bench: Bench) -> None:
    bench.server.script(Turn(text="a b c d e f g h", itl=0.02))
    api = bench.api(bench.model(timeout_seconds=2))

    def slow() -> None:
        bench.time.at += 1.5

    with pytest.raises(ProviderInterrupted):
        await collect(api, ask(), [], slow)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_nonsense_is_a_clear_problem(bench: Bench, provider: str) -> None:
    api = bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE))
    for raw in (b"<html>Bad gateway</html>", b"data: {not json\n\n", b"data: 17\n\n", b"", bytes(range(256)) * 50):
        bench.time.at += 31  # past the open breaker
        bench.server.default = lambda body, raw=raw: Turn(raw=raw)
        with pytest.raises((ProviderMisbehaved, ProviderBusy)) as caught:
            await events_of(api, ask())
        assert caught.value.status in {502, 503}
        assert "html" not in caught.value.detail


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_refusal_is_not_repeated_and_its_text_stays_here(bench: Bench, provider: str) -> None:
    bench.server.script(Turn(status=401, error_code="invalid_api_key", error_message="Incorrect API key provided: sk-SECRET"))
    with pytest.raises(ProviderRefused) as caught:
        await events_of(bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE)), ask())
    assert "SECRET" not in str(caught.value.document())
    assert bench.time.waits == []
    assert len(bench.server.requests) == 1


async def test_a_provider_that_finds_the_prompt_too_long_says_so(bench: Bench) -> None:
    bench.server.script(Turn(status=400, error_code="context_length_exceeded"))
    with pytest.raises(ContextTooLong) as caught:
        await events_of(bench.api(), ask())
    assert caught.value.status == 413


async def test_a_model_that_repeats_itself_is_stopped(bench: Bench) -> None:
    bench.server.script(Turn(text="I am sorry, I do not know that. ", repeat=2_000, whole=True, hang_after=1_500))
    with pytest.raises(RepeatedItself) as caught:
        await events_of(bench.api(), ask())
    assert caught.value.code == "model_repeats"
    assert 5_000 < len(caught.value.message.text) < 60_000
    assert await asyncio.to_thread(bench.server.requests[0].disconnected.wait, 5)


async def test_a_long_table_is_not_taken_for_a_loop(bench: Bench) -> None:
    table = "".join(f"| S-{n:04} | ok | 4.{n % 10} |\n" for n in range(600))
    bench.server.script(Turn(text=table))
    assert text_of(await events_of(bench.api(), ask())) == table


@pytest.mark.parametrize(("provider", "events_with_the_first_word"), [("openai-compatible", 2), ("anthropic", 4), ("bedrock", 2)])
async def test_closing_the_iterator_ends_the_providers_call(bench: Bench, provider: str, events_with_the_first_word: int) -> None:
    bench.server.default = lambda body: Turn(text="a b c", hang_after=events_with_the_first_word)
    api = bench.api(bench.model(provider=provider, idle_seconds=60, price_per_million_tokens=PRICE))
    async with asyncio.timeout(PATIENCE):
        async with aclosing(api.stream(ask())) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
        assert await asyncio.to_thread(bench.server.requests[0].disconnected.wait, 5)


async def test_cancelling_the_consumer_ends_the_providers_call(bench: Bench) -> None:
    bench.server.default = lambda body: Turn(hang_after=1)
    api = bench.api()
    task = asyncio.create_task(api.complete(ask()))
    assert await asyncio.to_thread(bench.server.arrived.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(bench.server.requests[0].disconnected.wait, 5)


async def test_the_next_model_of_the_file_answers_when_one_cannot(bench: Bench) -> None:
    broken = bench.model("broken", base_url="http://127.0.0.1:9/v1", timeout_seconds=1)
    events = await events_of(bench.api(broken, bench.model("spare")), ask())
    assert notices(events)[-1] == "fallback"
    assert done_of(events).model == "spare"
    assert "answers instead" in [e.text for e in events if isinstance(e, Notice)][-1]


async def test_without_fallback_the_failure_is_the_answer(bench: Bench) -> None:
    broken = bench.model("broken", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ProviderBusy):
        await events_of(bench.api(broken, bench.model("spare")), ask(model="broken", fallback=False))
    assert bench.server.requests == []


async def test_three_failed_calls_open_the_breaker_and_one_trial_closes_it(bench: Bench) -> None:
    api = bench.api(bench.model("flaky"), bench.model("spare"))
    bench.server.default = lambda body: Turn(text="fine")
    for _ in range(3):
        bench.server.script(*[Turn(status=500)] * 4)
        assert notices(await events_of(api, ask())) == ["retry"] * 3 + ["fallback"]
    before = len(bench.server.requests)
    assert notices(await events_of(api, ask())) == ["fallback"]
    assert len(bench.server.requests) == before + 1
    [flaky, _] = await api.list_models()
    assert (flaky.available, flaky.name) == (False, "flaky")
    bench.time.at += 31
    assert done_of(await events_of(api, ask())).model == "flaky"
    assert (await api.list_models())[0].available


async def test_a_failed_trial_opens_the_breaker_again(bench: Bench) -> None:
    api = bench.api()
    bench.server.default = lambda body: Turn(status=500)
    for _ in range(3):
        with pytest.raises(ProviderBusy):
            await events_of(api, ask())
    bench.time.at += 31
    with pytest.raises(ProviderBusy):
        await events_of(api, ask())
    before = len(bench.server.requests)
    with pytest.raises(ProviderBusy) as caught:
        await events_of(api, ask())
    assert len(bench.server.requests) == before
    assert 0 < (caught.value.retry_after or 0) <= 30


async def test_a_trial_that_brings_output_lets_others_in_before_it_ends(bench: Bench) -> None:
    api = bench.api(bench.model(idle_seconds=60))
    bench.server.default = lambda body: Turn(status=500)
    for _ in range(3):
        with pytest.raises(ProviderBusy):
            await events_of(api, ask())
    bench.time.at += 31
    bench.server.script(Turn(text="slow but alive", hang_after=3), Turn(text="second"))
    async with aclosing(api.stream(ask())) as trial:
        assert isinstance(await anext(trial), TextDelta)
        assert text_of(await events_of(api, ask())) == "second"


async def test_patient_data_goes_only_where_it_may(bench: Bench) -> None:
    api = bench.api(bench.model("public"), bench.model("ward", patient_data=True, model="ward-model"))
    done = await api.complete(ask(patient_data=True))
    assert done.model == "ward"
    assert [r.body["model"] for r in bench.server.requests] == ["ward-model"]
    with pytest.raises(NoModelForPatientData):
        await api.complete(ask(patient_data=True, model="public"))
    with pytest.raises(NoModelForPatientData):
        await bench.api(bench.model("public")).complete(ask(patient_data=True))
    assert len(bench.server.requests) == 1


async def test_no_model_and_unknown_model_are_facts(bench: Bench) -> None:
    empty = ModelsApi(Settings(data_dir=bench.folder), bench.database, LedgerApi(bench.vault, bench.clock), bench.clock)
    assert not empty.configured
    assert await empty.list_models() == ()
    assert await empty.provider() is None
    with pytest.raises(ModelNotConfigured):
        await empty.complete(ask())
    with pytest.raises(UnknownModel):
        await bench.api().complete(ask(model="nothing"))


async def test_a_missing_key_is_told_to_the_administrator_and_the_model_is_skipped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    api = bench.api(bench.model("keyed", api_key_env="NO_SUCH_KEY"), bench.model("open"))
    assert done_of(await events_of(api, ask())).model == "open"
    assert "sk-of-somebody-else" not in str(bench.server.requests[0].headers)
    keyed = (await api.list_models())[0]
    assert (keyed.available, keyed.problem) == (False, "The environment variable NO_SUCH_KEY is not set.")
