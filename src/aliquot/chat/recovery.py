"""After a crash: what the dead process had already said and done, read back from the log and the tool calls."""

import json

from aliquot.chat.contracts import NoticeGiven, TextDelta, ToolCallEnd
from aliquot.chat.errors import Interrupted
from aliquot.chat.run_store import RunStore
from aliquot.chat.turn import Turn
from aliquot.platform.db import Database
from aliquot.tools.api import ToolsApi

_PAGE = 500


class Recovery:
    """Restores the `Turn` of a run that was taken over."""

    def __init__(self, db: Database, runs: RunStore, tools: ToolsApi) -> None:
        self._db, self._runs, self._tools = db, runs, tools

    async def restore(self, turn: Turn) -> None:
        """Put back what was said; decide whether the run can go on. Raises Interrupted when it cannot.

        Text of finished steps may be followed by more steps. Text of a step that did not finish is never asked for again:
        the model would say it differently.
        """
        said, ended = await self._log(turn)
        turn.said = [said] if said else []
        await self._tools.recover(turn.run_id)
        unfinished = [step for step in turn.steps if step.state == "started"]
        finished_text = "".join(step.text for step in turn.steps if step.state != "started")
        if len(said.replace("\n\n", "")) > len(finished_text.replace("\n\n", "")):
            raise Interrupted
        if unfinished:
            if unfinished[0].attempts > 1:
                raise Interrupted
            unfinished[0].attempts += 1
            turn.emitter.emit(NoticeGiven(code="resumed", text="The server was restarted; this step is being repeated."))
        else:
            turn.emitter.emit(NoticeGiven(code="resumed", text="The server was restarted; the answer continues."))
        self._forget_shown(turn, ended)

    async def _log(self, turn: Turn) -> tuple[str, set[str]]:
        """The text said so far, and the calls whose end was shown."""
        said: list[str] = []
        ended: set[str] = set()
        after = 0
        while True:
            async with self._db.begin() as tx:
                events = await self._runs.events(tx, turn.run_id, after, _PAGE)
            for event in events:
                if event.kind == TextDelta.kind:
                    said.append(json.loads(event.payload)["text"])
                elif event.kind == ToolCallEnd.kind:
                    ended.add(json.loads(event.payload)["call_id"])
            if len(events) < _PAGE:
                return "".join(said), ended
            after = events[-1].seq

    def _forget_shown(self, turn: Turn, ended: set[str]) -> None:
        """Calls already shown as ended stay in the record of the answer."""
        for step in turn.steps:
            for use in step.tool_uses:
                if use["call_id"] in ended:
                    result = next((r for r in step.results if r["call_id"] == use["call_id"]), None)
                    turn.tool_calls.append(
                        {"call_id": use["call_id"], "name": use["name"], "outcome": result["outcome"] if result else "ok", "summary": ""}
                    )
