"""`aliquot chat "question"`: one answer for a script, without a model."""

import os
import re
import stat
from collections.abc import Callable

import pytest

from tests.cli.conftest import PASSWORD, Client, bearer, colleague, runs_of, stop_runs, token_of
from tests.site import Site

Clients = Callable[[str], Client]
START = "Start PCR-STD-35 on PCR-02"


async def test_a_question_is_answered_from_the_laboratory_and_the_pipe_gets_the_answer_alone(site: Site, client: Clients) -> None:
    ended = await client(site.url).run("Is PCR-02 ready?", ALIQUOT_TOKEN=await token_of(site))
    assert ended.code == 0, ended.err
    assert "PCR-02" in ended.out
    assert "idle" in ended.out
    assert "get_instrument_status" not in ended.out
    assert re.search(r"get_instrument_status ok after \d+\.\d\d s$", ended.err, re.MULTILINE)
    assert (ended.out + ended.err).count("PCR-02 (") == 1  # its first sentence is not said a second time
    assert "\x1b" not in ended.out + ended.err


async def test_json_gives_one_object_with_everything(site: Site, client: Clients) -> None:
    ended = await client(site.url).run("--json", "-", stdin="Is PCR-02 ready?\n", ALIQUOT_TOKEN=await token_of(site))
    assert (ended.code, ended.err) == (0, "")
    document = ended.document
    members = "answer state run_id conversation_id message_id runs tool_calls citations notices usage approval error"
    assert set(document) == set(members.split())
    assert "idle" in document["answer"]
    assert (document["state"], document["error"], document["approval"]) == ("done", None, None)
    call = document["tool_calls"][0]
    assert (call["name"], call["outcome"]) == ("get_instrument_status", "ok")
    assert call["arguments"] == {"instrument": "PCR-02"}
    assert call["duration_ms"] >= 0
    scientist = await site.client("scientist")
    run = (await scientist.get(f"/api/runs/{document['run_id']}")).json()
    assert (run["conversation_id"], run["state"]) == (document["conversation_id"], "done")


async def test_an_action_waits_with_exit_code_3_and_its_preview(site: Site, client: Clients) -> None:
    terminal, token = client(site.url), await token_of(site)
    ended = await terminal.run(START, ALIQUOT_TOKEN=token)
    assert ended.code == 3
    assert "Confirmation needed: start_run" in ended.err
    assert "PCR-STD-35" in ended.err
    assert re.search(r"Risk \d+ of 100 · expires \d\d:\d\d \S+", ended.err)
    assert "Sana Scientist (demo), in a login session" in ended.err
    asked = await terminal.run("Start a run on PCR-02", ALIQUOT_TOKEN=token)
    assert "Answer with its name" in asked.out
    assert "aliquot chat -c" in asked.err
    ended = await terminal.run(START, "--json", ALIQUOT_TOKEN=token)
    assert ended.code == 3
    assert ended.document["approval"]["state"] == "pending"
    assert ended.document["approval"]["preview"]["summary"]
    assert await runs_of(site, "PCR-02") == []


async def test_yes_confirms_and_follows_to_the_result(site: Site, client: Clients) -> None:
    ended = await client(site.url).run(START, "--yes", "--json", ALIQUOT_TOKEN=await token_of(site))
    assert ended.code == 0, ended.out
    document = ended.document
    assert len(document["runs"]) == 2
    assert document["run_id"] == document["runs"][1]
    assert [(call["name"], call["outcome"]) for call in document["tool_calls"]] == [("start_run", None), ("start_run", "ok")]
    assert document["approval"] is None
    assert len(await runs_of(site, "PCR-02")) == 1
    await stop_runs(site, "PCR-02")


async def test_yes_never_decides_what_needs_somebody_else(site: Site, client: Clients) -> None:
    """HPLC-03 runs for somebody else: stopping it needs a signature."""
    (running,) = await runs_of(site, "HPLC-03")
    ended = await client(site.url).run(
        f"Stop run {running['code']} because of a leak", "--yes", ALIQUOT_TOKEN=bearer(await colleague(site))
    )
    assert ended.code == 3, ended.out + ended.err
    assert "somebody else who may sign has to" in ended.err
    assert [run["id"] for run in await runs_of(site, "HPLC-03")] == [running["id"]]


async def test_an_api_key_may_ask_but_not_confirm(site: Site, client: Clients) -> None:
    scientist = await site.client("scientist")
    key = (await scientist.post("/api/auth/keys", json={"name": "a script"})).json()["secret"]
    ended = await client(site.url).run(START, "--yes", ALIQUOT_TOKEN=key)
    assert ended.code == 3
    assert "never an API key" in ended.err


async def test_log_in_is_kept_in_a_file_only_the_owner_can_read_and_forgotten_when_refused(site: Site, client: Clients) -> None:
    here = client(site.url)
    first = await here.run(stdin=f"scientist@demo.lab\n{PASSWORD}\nIs PCR-02 ready?\n/quit\n")
    assert first.code == 0, first.err
    assert "idle" in first.out
    assert len(here.files) == 1
    assert stat.S_IMODE(here.files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(here.files[0].parent.stat().st_mode) == 0o700
    assert PASSWORD not in here.files[0].read_text()
    assert "PCR-02" not in here.files[0].read_text()
    assert (await here.run("Is SEQ-01 ready?")).code == 0
    # The same session ends elsewhere.
    http = await site.anonymous()
    token = here.remembered["token"]
    assert (await http.post("/api/auth/logout", headers={"Authorization": f"Bearer {token}"})).status_code == 204
    refused = await here.run("Is SEQ-01 ready?")
    assert refused.code == 2
    assert "Not logged in at" in refused.err
    assert "token" not in here.remembered


@pytest.mark.parametrize("mode", [0o644, 0o660])
async def test_a_token_file_others_can_read_is_not_trusted(site: Site, client: Clients, mode: int) -> None:
    here = client(site.url)
    await here.run(stdin=f"scientist@demo.lab\n{PASSWORD}\n/quit\n")
    here.files[0].chmod(mode)
    assert (await here.run("Is SEQ-01 ready?")).code == 2


async def test_a_damaged_file_is_as_good_as_none(site: Site, client: Clients) -> None:
    here = client(site.url)
    await here.run(stdin=f"scientist@demo.lab\n{PASSWORD}\n/quit\n")
    for damage in (b"{", b"[]", b'{"url": 3}', b"\xff\xfe", b"[" * 90_000):
        here.files[0].write_bytes(damage)
        ended = await here.run("Is SEQ-01 ready?")
        assert (ended.code, "Not logged in" in ended.err) == (2, True)


async def test_a_one_time_password_is_changed_first(site: Site, client: Clients) -> None:
    admin = await site.client("admin")
    body = {"email": "new@demo.lab", "name": "Nia New", "roles": ["viewer"]}
    made = (await admin.post("/api/admin/users", json=body)).json()
    here = client(site.url)
    tries = ["short", "short", "another good one 1", "another good one 2", f"{PASSWORD}!", f"{PASSWORD}!"]
    first = await here.run(stdin="\n".join(["new@demo.lab", made["password"], *tries, "Is PCR-02 ready?", ""]))
    assert first.code == 0, first.out + first.err
    assert "two different passwords" in first.out
    assert "The password is changed." in first.out
    assert "idle" in first.out
    assert made["password"] not in first.out
    second = await client(site.url).run(stdin=f"new@demo.lab\n{PASSWORD}!\n/quit\n")
    assert second.code == 0
    assert "one-time" not in second.out


async def test_refusals_are_one_sentence(site: Site, client: Clients) -> None:
    here, token = client(site.url), await token_of(site)
    no_server = await here.run("hello", ALIQUOT_URL="http://127.0.0.1:9")
    assert (no_server.code, no_server.err) == (
        2, "aliquot: No server answers at http://127.0.0.1:9. Start one with `aliquot serve`, or name another with --url.\n",
    )  # fmt: skip
    wrong = await here.run(stdin="scientist@demo.lab\nnonsense\n")
    assert wrong.code == 2
    assert "aliquot: The e-mail address or the password is wrong." in wrong.out
    bad_token = await here.run("hello", ALIQUOT_TOKEN="nonsense")
    assert (bad_token.code, bad_token.err.count("\n")) == (2, 1)
    assert "The token was refused" in bad_token.err
    too_long = await here.run("-", stdin="x" * 40_000, ALIQUOT_TOKEN=token)
    assert too_long.code == 2
    assert "40,000 characters" in too_long.err
    for arguments, stdin in ((["  "], ""), (["-"], " \n"), (["--json"], ""), (["x", "--url", "ftp://x"], ""), (["-"], "x" * 1_000_001)):
        ended = await here.run(*arguments, stdin=stdin, ALIQUOT_TOKEN=token)
        assert (ended.code, (ended.err or ended.out).count("\n")) == (2, 1), ended


async def test_a_locked_account_says_how_long(site: Site, client: Clients) -> None:
    http, nobody = await site.anonymous(), "locked@demo.lab"  # of no person: the site is shared with other tests
    for _ in range(5):
        await http.post("/api/auth/login", json={"email": nobody, "password": "nonsense"})
    ended = await client(site.url).run(stdin=f"{nobody}\n{PASSWORD}\n")
    assert ended.code == 2
    assert re.search(r"Too many failed attempts\. .*Try again in \d+ (minutes|seconds)\.", ended.err)


async def test_what_is_no_aliquot_server_is_said(client: Clients, model_server: object) -> None:
    ended = await client(getattr(model_server, "url")).run("hello", "--json", ALIQUOT_TOKEN="x")  # noqa: B009 - any server will do
    assert ended.code == 2
    assert ended.document["error"]["code"] == "unreachable"
    assert "not an Aliquot server" in ended.document["error"]["detail"]


async def test_the_conversation_goes_on_with_continue(site: Site, client: Clients) -> None:
    here, token = client(site.url), await token_of(site)
    first = (await here.run("Is PCR-02 ready?", "--json", ALIQUOT_TOKEN=token)).document
    second = (await here.run("And SEQ-01?", "--json", "--continue", ALIQUOT_TOKEN=token)).document
    other = (await here.run("Is PCR-02 ready?", "--json", ALIQUOT_TOKEN=token)).document
    assert second["conversation_id"] == first["conversation_id"] != other["conversation_id"]
    assert "SEQ-01" in second["answer"]
    lines = "/history\n/new\n/history\n/nonsense\n/help\n/cancel\n//help\n"
    ended = await here.run("--continue", stdin=lines, ALIQUOT_TOKEN=token)
    assert ended.code == 0
    assert "Continuing a conversation of 2 messages" in ended.out
    for expected in (
        "Is PCR-02 ready?",
        "A new conversation.",
        "Nothing was said yet.",
        "There is no command /nonsense",
        "/approvals",
        "nothing to cancel",
    ):
        assert expected in ended.out
    assert os.linesep in ended.out


async def test_the_server_of_this_folder_is_asked_unless_another_is_named(site: Site, client: Clients) -> None:
    port = site.url.rsplit(":", 1)[1]
    here, token = client(site.url), await token_of(site)
    by_environment = await here.run("Is PCR-02 ready?", ALIQUOT_URL="", ALIQUOT_PORT=port, ALIQUOT_TOKEN=token)
    assert (by_environment.code, "idle" in by_environment.out) == (0, True), by_environment.err
    (here.home / "aliquot.toml").write_text(f"host = '0.0.0.0'\nport = {port}\n")
    by_file = await here.run("Is PCR-02 ready?", ALIQUOT_URL="", ALIQUOT_TOKEN=token)
    assert (by_file.code, "idle" in by_file.out) == (0, True), by_file.err
    (here.home / "aliquot.toml").write_text("host = '192.0.2.1'\n")  # nobody's file decides where a token goes
    elsewhere = await here.run("Is PCR-02 ready?", ALIQUOT_URL="", ALIQUOT_TOKEN=token)
    assert (elsewhere.code, elsewhere.out) == (2, "")
    assert "--url" in elsewhere.err
