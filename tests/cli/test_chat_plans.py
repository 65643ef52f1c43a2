"""A plan at a terminal: shown, decided as a whole or step by step, stopped and resumed."""

from collections.abc import Callable

from aliquot.identity.contracts import SYSTEM
from tests.cli.conftest import Client, runs_of, stop_runs, terminal
from tests.cli.test_chat_terminal import log_in
from tests.site import Site

Clients = Callable[[str], Client]
PLAN = "Start PCR-STD-35 on PCR-02 and then start SEQ-PE150 on SEQ-01"


async def test_a_plan_is_decided_as_a_whole_or_step_by_step_stopped_and_resumed(site: Site, client: Clients) -> None:
    async with terminal(client(site.url)) as shown:
        await log_in(shown)
        shown.type(PLAN)
        asked = await shown.expect("Do this? [y/n] ")
        assert "Confirmation needed: plan" in asked
        assert "s decides them step by step" in asked
        shown.type("s")
        first = await shown.expect("Do this? [y/n] ")
        assert "Confirmation needed: start_run" in first
        assert "e changes the arguments" not in first
        shown.type("y")
        await shown.expect("Reason (optional): ")
        shown.type("")
        second = await shown.expect("Do this? [y/n] ")
        assert "SEQ-01" in second
        assert len(await runs_of(site, "PCR-02")) == 1
        async with site.services.db.begin() as tx:
            await site.services.lab.report_fault(tx, SYSTEM, "SEQ-01", error_code="lid_open", error="The lid is open.")
        shown.type("y")
        await shown.expect("Reason (optional): ")
        shown.type("")
        await shown.expect("can be resumed")
        await shown.expect("> ")
        async with site.services.db.begin() as tx:
            await site.services.lab.clear_fault(tx, SYSTEM, "SEQ-01")
        shown.type("/resume 1")
        await shown.expect("/plans lists them")
        await shown.expect("> ")
        shown.type("/plans")
        listed = await shown.expect("> ")
        assert "1  failed" in listed
        assert "2. " in listed
        shown.type("/resume 1")
        await shown.expect("Do this? [y/n] ")
        shown.type("y")
        await shown.expect("Reason (optional): ")
        shown.type("")
        await shown.expect("The plan is done.")
        await shown.expect("> ")
        assert len(await runs_of(site, "SEQ-01")) == 1
        shown.type("Stop the run on PCR-02 because the test is over, then stop the run on SEQ-01 because the test is over")
        await shown.expect("Do this? [y/n] ")
        await shown.interrupt_prompt("it waits until it expires")
        await shown.expect("> ")
        shown.type("/plans")
        assert "1  waiting" in await shown.expect("> ")
        shown.type("/stop 1")
        await shown.expect("The plan is stopped.")
        await shown.expect("> ")
        shown.type("Stop the run on PCR-02 because the test is over, then stop the run on SEQ-01 because the test is over")
        await shown.expect("Do this? [y/n] ")
        shown.type("y")
        await shown.expect("Reason (optional): ")
        shown.type("")
        await shown.expect("The plan is done.")
    for instrument in ("PCR-02", "SEQ-01"):
        await stop_runs(site, instrument)
