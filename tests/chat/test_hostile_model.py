"""A model that calls tools with what no tool, stream or database can take: the run goes on or ends with a sentence, never as a bug."""

import pytest

from tests.chat.conftest import ask, model_site  # noqa: F401 - fixture
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Site


@pytest.mark.parametrize(
    "arguments",
    ['{"instrument":"\\ud800"}', '{"instrument":' + "[" * 5_000 + "]" * 5_000 + "}", '{"instrument":9007199254740993}'],
    ids=["half-surrogate", "deep", "big-integer"],
)
async def test_arguments_that_cannot_be_shown_are_refused_to_the_model(
    model_site: Site,  # noqa: F811
    model_server: ModelServer,  # noqa: F811
    arguments: str,
) -> None:
    model_server.script(Turn(tool_calls=(ToolCall(name="get_instrument_status", arguments=arguments),)), Turn(text="I cannot."))
    heard = await ask(await model_site.client("scientist"), "Is PCR-02 ready?")
    assert heard.of("tool_call_end")[0]["outcome"] == "failed"
    assert heard.text == "I cannot."
    assert heard.of("done")[0]["state"] == "done"


@pytest.mark.parametrize("call_id", ["a\x00b", "i" * 5_000], ids=["nul", "long"])
async def test_a_call_id_that_cannot_be_stored_is_the_providers_mistake(
    model_site: Site,  # noqa: F811
    model_server: ModelServer,  # noqa: F811
    call_id: str,
) -> None:
    model_server.default = lambda _: Turn(tool_calls=(ToolCall(name="get_protocols", arguments={}, id=call_id),))
    heard = await ask(await model_site.client("scientist"), "Which protocols are there?")
    assert heard.of("error")[0]["code"] == "model_misbehaved"
    assert heard.of("tool_call_end") == []
