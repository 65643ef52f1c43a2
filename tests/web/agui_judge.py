"""Judges AG-UI streams: every event by the official package's model, and the sequence by the rules of the protocol's client."""

import json
from typing import Any

from ag_ui.core import Event
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(Event)
_OPENS = {
    "TEXT_MESSAGE": "messageId", "TOOL_CALL": "toolCallId", "REASONING_MESSAGE": "messageId", "REASONING": "messageId",
}  # fmt: skip


def events(text: str) -> list[dict[str, Any]]:
    """The events of an SSE body, each valid and with nothing the protocol does not know."""
    found = [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: ")]
    for event in found:
        model = _EVENT.validate_python(event)
        assert not model.model_extra, (event["type"], model.model_extra)
    return found


def judge(found: list[dict[str, Any]]) -> None:
    """Starts once, ends once and last; what is streamed was opened before and is closed before the end."""
    kinds = [event["type"] for event in found]
    assert kinds[0] == "RUN_STARTED"
    assert kinds[-1] in ("RUN_FINISHED", "RUN_ERROR")
    assert sum(kind in ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR") for kind in kinds) == 2
    opened: set[tuple[str, str]] = set()
    ever: set[tuple[str, str]] = set()
    for event in found:
        for group, key in _OPENS.items():
            place = (group, event.get(key, ""))
            if event["type"] == f"{group}_START":
                assert place not in ever, event
                opened.add(place)
                ever.add(place)
            elif event["type"] == f"{group}_END":
                assert place in opened, event
                opened.remove(place)
            elif event["type"] in (f"{group}_CONTENT", f"{group}_ARGS"):
                assert place in opened, event
    assert not opened
