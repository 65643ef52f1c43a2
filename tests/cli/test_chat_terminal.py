"""A person at a terminal: logs in, asks, confirms, cancels, leaves, comes back."""

from collections.abc import Callable

from tests.cli.conftest import PASSWORD, Client, Terminal, colleague, runs_of, stop_runs, terminal, token_of
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Site

Clients = Callable[[str], Client]
START = "Start PCR-STD-35 on PCR-02"


async def log_in(shown: Terminal, person: str = "scientist") -> None:
    await shown.expect("E-mail: ")
    shown.type(f"{person}@demo.lab")
    await shown.expect("Password: ")
    shown.type(PASSWORD)
    await shown.expect("> ")


async def test_the_main_job_at_a_terminal(site: Site, client: Clients) -> None:
    async with terminal(client(site.url)) as shown:
        await log_in(shown)
        shown.type("Is PCR-02 ready?")
        await shown.expect("✓ get_instrument_status(instrument: PCR-02)")
        answer = await shown.expect("> ")
        assert "idle" in answer
        assert "|---" not in answer
        shown.type(START)
        preview = await shown.expect("Do this? [y/n] ")
        assert "Confirmation needed: start_run" in preview
        assert "expires" in preview
        assert "Sana Scientist (demo)" in preview
        shown.type("maybe")
        await shown.expect("Do this? [y/n] ")
        shown.type("")
        await shown.expect("it waits until it expires")
        await shown.expect("> ")
        shown.type("/approvals")
        await shown.expect("> ")
        shown.type("/decide 1")
        await shown.expect("Do this? [y/n] ")
        shown.type("n")
        await shown.expect("Reason (optional): ")
        shown.type("not today")
        await shown.expect("✗ start_run")
        await shown.expect("> ")
        shown.type(START)
        await shown.expect("Do this? [y/n] ")
        shown.type("y")
        await shown.expect("Reason (optional): ")
        shown.type("")
        await shown.expect("✓ start_run(")
        await shown.expect("> ")
        shown.type("/quit")
        assert await shown.end() == 0
        assert PASSWORD not in shown.raw
    scientist = await site.client("scientist")
    await stop_runs(site, "PCR-02")
    approvals = [a for a in (await scientist.get("/api/approvals")).json()["items"] if a["tool"] == "start_run"][:2]
    assert [approval["state"] for approval in approvals] == ["done", "rejected"]
    assert approvals[1]["reason"] == "not today"


async def test_ctrl_c_cancels_the_answer_and_the_conversation_goes_on(model_site: Site, model_server: ModelServer, client: Clients) -> None:
    model_server.script(Turn(text="first words here", hang_after=3), Turn(text="Second answer."))
    async with terminal(client(model_site.url), ALIQUOT_TOKEN=await token_of(model_site)) as shown:
        await shown.expect("> ")
        shown.type("Tell me a long story")
        await shown.expect("first")
        shown.interrupt()
        await shown.expect("Cancelled. What was said so far is kept.")
        await shown.expect("> ")
        shown.type("And now?")
        await shown.expect("Second answer.")
        await shown.expect("> ")
        shown.type("/quit")
        assert await shown.end() == 0


async def test_a_second_ctrl_c_leaves_and_continue_takes_the_run_up(model_site: Site, model_server: ModelServer, client: Clients) -> None:
    start = ToolCall(name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"})
    model_server.script(Turn(text="Starting it.", tool_calls=(start,)), Turn(text="It runs now."))
    here, token = client(model_site.url), await token_of(model_site)
    async with terminal(here, ALIQUOT_TOKEN=token) as shown:
        await shown.expect("> ")
        shown.type("Start the PCR")
        await shown.expect("Do this? [y/n] ")
        await shown.interrupt_prompt("Nothing was decided")
        await shown.expect("/approvals, then /decide N, in `aliquot chat`.")
        await shown.expect("> ")
        shown.type("/quit")
        assert await shown.end() == 0
    async with terminal(here, "--continue", ALIQUOT_TOKEN=token) as shown:
        await shown.expect("Continuing a conversation")
        await shown.expect("Starting it.")
        await shown.expect("Do this? [y/n] ")
        shown.type("y")
        await shown.expect("Reason (optional): ")
        shown.type("")
        await shown.expect("It runs now.")
        await shown.expect("> ")
        shown.type("/quit")
        assert await shown.end() == 0
    await stop_runs(model_site, "PCR-02")


async def test_two_ctrl_c_leave_at_once(model_site: Site, model_server: ModelServer, client: Clients) -> None:
    model_server.script(Turn(text="first words here", hang_after=3))
    async with terminal(client(model_site.url), "Tell me", ALIQUOT_TOKEN=await token_of(model_site)) as shown:
        await shown.expect("first")
        shown.interrupt()
        shown.interrupt()
        assert await shown.end() in (1, 130)


async def test_a_model_cannot_command_the_terminal(model_site: Site, model_server: ModelServer, client: Clients) -> None:
    model_server.script(Turn(text="\x1b]0;owned\x07\x1b[2Jclean\x9b2J \u202etxt.exe [x](http://e.example/\x1b[31m) end"))
    async with terminal(client(model_site.url), "hello", ALIQUOT_TOKEN=await token_of(model_site)) as shown:
        await shown.expect("end")
        assert await shown.end() == 0
        for sequence in ("\x1b]", "\x1b[2J", "\x9b", "\x1b[31m", "\x07", "\u202e"):
            assert sequence not in shown.raw


async def test_a_second_person_signs_in_the_terminal(own_site: Site, client: Clients) -> None:
    """A scientist asks to stop somebody else's run; the reviewer sees it, signs, and the scientist's run goes on."""
    asking = await colleague(own_site)
    (running,) = await runs_of(own_site, "HPLC-03")
    body = {"name": "stop_run", "arguments": {"run": running["code"], "reason": "leak at the pump"}}
    asked = await asking.post("/api/chat/tools", json=body)
    assert asked.status_code == 202, asked.text
    async with terminal(client(own_site.url)) as shown:
        await log_in(shown, "reviewer")
        shown.type("/approvals")
        listed = await shown.expect("you may decide)")
        assert "stop_run" in listed
        await shown.expect("> ")
        shown.type("/decide 1")
        await shown.expect("Do this? [y/n] ")
        shown.type("y")
        await shown.expect("Reason (optional): ")
        shown.type("seen the leak")
        await shown.expect("Password: ")
        shown.type(PASSWORD)
        await shown.expect("It goes on in the conversation of Otto Other.")
        await shown.expect("> ")
        shown.type("/approvals")
        await shown.expect("Nothing waits for a decision.")
        shown.type("/quit")
        assert await shown.end() == 0
    approval = (await asking.get(f"/api/approvals/{asked.json()['approval']['id']}")).json()
    assert approval["reason"] == "seen the leak"
    assert approval["state"] in ("approved", "executing", "done")


async def test_who_was_named_is_not_asked_for_again(site: Site, client: Clients) -> None:
    here = client(site.url)
    async with terminal(here, "--email", "scientist@demo.lab") as shown:
        shown_so_far = await shown.expect("Password: ")
        assert "E-mail" not in shown_so_far
        shown.type("not the password")
        assert "E-mail" not in await shown.expect("Password: ")
        shown.type(PASSWORD)
        assert "Logged in as Sana Scientist" in await shown.expect("> ")
        shown.type("/quit")
        assert await shown.end() == 0
    async with terminal(here) as shown:
        assert "Logged in as Sana Scientist" in await shown.expect("> "), "whose name is under what is confirmed now"
        shown.type("/quit")
        assert await shown.end() == 0
