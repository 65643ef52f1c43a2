"""Requests in the terms of Bedrock's Converse API."""

import base64
from typing import Any

from aliquot.models.contracts import ModelMessage
from aliquot.models.providers.base import Call, arguments_object


def tool_use(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A `toolUse` block."""
    return {"toolUse": {"toolUseId": call_id, "name": name, "input": arguments_object(arguments)}}


def request_body(call: Call) -> dict[str, Any]:
    """The arguments of `converse_stream` for one call."""
    config = call.config
    inference: dict[str, Any] = {"maxTokens": call.max_output_tokens}
    thinking = not isinstance(config.thinking, bool | str) and config.thinking < call.max_output_tokens
    if thinking:
        extra: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": config.thinking}}
    else:
        extra = {"thinking": {"type": "adaptive"}} if config.thinking is True else {}
        if call.temperature is not None and not extra:
            inference["temperature"] = call.temperature
        if call.top_p is not None and not extra:
            inference["topP"] = call.top_p
    body: dict[str, Any] = {"modelId": config.model, "messages": _conversation(call.messages), "inferenceConfig": inference}
    if call.system:
        body["system"] = [{"text": call.system}]
    if extra:
        body["additionalModelRequestFields"] = extra
    if tools := _tools(call):
        body["toolConfig"] = {"tools": tools}
    return body


def _tools(call: Call) -> list[dict[str, Any]]:
    """The tools offered, and those the history mentions: the API refuses a history of calls without declarations."""
    offered = [{"name": t.name, "description": t.description or t.name, "inputSchema": {"json": t.parameters}} for t in call.tools]
    known = {t.name for t in call.tools}
    past = dict.fromkeys(u.name for m in call.messages for u in m.tool_uses if u.name not in known)
    offered += [{"name": name, "description": "No longer available.", "inputSchema": {"json": {"type": "object"}}} for name in past]
    return [{"toolSpec": spec} for spec in offered]


def _conversation(messages: tuple[ModelMessage, ...]) -> list[dict[str, Any]]:
    """It begins with a user turn, turns alternate, results of tools are user blocks."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": [{"text": "(The earlier conversation is left out.)"}]})
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: ModelMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"toolResult": {"toolUseId": message.call_id or "", "content": [{"text": message.text or "(empty)"}]}}]
    text = [{"text": message.text}] if message.text.strip() else []
    if message.role == "user":
        seen = [{"image": {"format": image.media_type.removeprefix("image/"), "source": {"bytes": image.data}}} for image in message.images]
        return seen + text or [{"text": "(empty)"}]
    if message.native and message.native_provider == "bedrock":
        return [_sendable(block) for block in message.native]
    return text + [tool_use(u.call_id, u.name, u.arguments) for u in message.tool_uses]


def _sendable(block: dict[str, Any]) -> dict[str, Any]:
    """A stored block as boto3 takes it: redacted reasoning is bytes there and base64 in our record."""
    redacted = block.get("reasoningContent", {}).get("redactedContent")
    return {"reasoningContent": {"redactedContent": base64.b64decode(redacted)}} if isinstance(redacted, str) else block
