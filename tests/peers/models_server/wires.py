"""A turn as the bytes of each provider's stream, one element per event."""

import base64
import json
import struct
import zlib
from typing import Any

from tests.peers.models_server.script import Turn

Json = dict[str, Any]


def _halves(text: str) -> list[str]:
    """Tool arguments arrive in pieces, cut anywhere."""
    return [text[i : i + 7] for i in range(0, len(text), 7)] or [""]


def _sse(data: Json, event: str | None = None) -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


# OpenAI


def openai_stream(turn: Turn, model: str) -> list[bytes]:
    base = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": model, "system_fingerprint": "fp"}

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        extra: Json = {"obfuscation": "x7", "logprobs": None} if turn.unknown_events else {}
        return _sse({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}], "usage": None, **extra})

    events = [chunk({"role": "assistant", "content": "", "refusal": None})]
    events += [chunk({"reasoning_content": t}) for t in _words(turn.thinking)]
    events += [chunk({"content": piece}) for piece in turn.pieces()]
    events += [chunk({"refusal": piece}) for piece in _words(turn.refusal)]
    for index, call in enumerate(turn.tool_calls):
        head = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        events.append(chunk({"tool_calls": [head]}))
        events += [chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}) for part in _halves(call.text)]
    if turn.unknown_events:
        events.insert(1, b": keep-alive\n\n")
        events.insert(2, b'event: telemetry\ndata: {"object": "something.new", "payload": [1, 2]}\n\n')
    events.append(chunk({}, turn.finish or ("tool_calls" if turn.tool_calls else "stop")))
    if turn.usage:
        details = {"cached_tokens": turn.cached_tokens, "audio_tokens": 0}
        usage = {"prompt_tokens": turn.input_tokens, "completion_tokens": turn.output_tokens, "prompt_tokens_details": details}
        events.append(_sse({**base, "choices": [], "usage": {**usage, "total_tokens": turn.input_tokens + turn.output_tokens}}))
    events.append(b"data: [DONE]\n\n")
    return events


def openai_error(turn: Turn) -> bytes:
    return _sse({"error": {"message": turn.error_message, "type": turn.error_code, "code": turn.error_code}})


# Anthropic


def anthropic_stream(turn: Turn, model: str) -> list[bytes]:
    def event(kind: str, **fields: Any) -> bytes:
        return _sse({"type": kind, **fields}, kind)

    usage = {
        "input_tokens": turn.input_tokens - turn.cached_tokens,
        "cache_read_input_tokens": turn.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": 1,
        "service_tier": "standard",
    }
    message = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": model,
        "stop_reason": None,
        "stop_sequence": None,
    }
    events = [event("message_start", message={**message, "usage": usage}), event("ping")]
    for index, (start, deltas) in enumerate(_anthropic_blocks(turn)):
        events.append(event("content_block_start", index=index, content_block=start))
        events += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        events.append(event("content_block_stop", index=index))
    if turn.unknown_events:
        events.insert(2, event("telemetry_from_the_future", payload=[1]))
    stop = turn.finish or ("tool_use" if turn.tool_calls else "refusal" if turn.refusal else "end_turn")
    final = {"output_tokens": turn.output_tokens} if turn.usage else {"output_tokens": 1}
    events.append(event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=final))
    events.append(event("message_stop"))
    return events


def _anthropic_blocks(turn: Turn) -> list[tuple[Json, list[Json]]]:
    blocks: list[tuple[Json, list[Json]]] = []
    if turn.thinking:
        deltas: list[Json] = [{"type": "thinking_delta", "thinking": t} for t in _words(turn.thinking)]
        deltas.append({"type": "signature_delta", "signature": turn.signature})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if turn.redacted_thinking:
        blocks.append(({"type": "redacted_thinking", "data": turn.redacted_thinking}, []))
    text = turn.pieces() + _words(turn.refusal)
    if text:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": t} for t in text]))
    for call in turn.tool_calls:
        parts: list[Json] = [{"type": "input_json_delta", "partial_json": ""}]
        parts += [{"type": "input_json_delta", "partial_json": p} for p in _halves(call.text)]
        blocks.append(({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, parts))
    return blocks


def anthropic_error(turn: Turn) -> bytes:
    return _sse({"type": "error", "error": {"type": turn.error_code, "message": turn.error_message}}, "error")


# Bedrock: application/vnd.amazon.eventstream frames


def bedrock_stream(turn: Turn, model: str) -> list[bytes]:
    events = [bedrock_frame("messageStart", {"role": "assistant"})]
    for index, (start, deltas) in enumerate(_bedrock_blocks(turn)):
        if start is not None:
            events.append(bedrock_frame("contentBlockStart", {"start": start, "contentBlockIndex": index}))
        events += [bedrock_frame("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}) for delta in deltas]
        events.append(bedrock_frame("contentBlockStop", {"contentBlockIndex": index}))
    stop = turn.finish or ("tool_use" if turn.tool_calls else "content_filtered" if turn.refusal else "end_turn")
    events.append(bedrock_frame("messageStop", {"stopReason": stop}))
    if turn.usage:
        usage = {
            "inputTokens": turn.input_tokens - turn.cached_tokens,
            "outputTokens": turn.output_tokens,
            "totalTokens": turn.input_tokens + turn.output_tokens,
            "cacheReadInputTokens": turn.cached_tokens,
        }
        events.append(bedrock_frame("metadata", {"usage": usage, "metrics": {"latencyMs": 12}}))
    return events


def _bedrock_blocks(turn: Turn) -> list[tuple[Json | None, list[Json]]]:
    blocks: list[tuple[Json | None, list[Json]]] = []
    if turn.thinking:
        deltas: list[Json] = [{"reasoningContent": {"text": t}} for t in _words(turn.thinking)]
        blocks.append((None, [*deltas, {"reasoningContent": {"signature": turn.signature}}]))
    if turn.redacted_thinking:
        redacted = base64.b64encode(turn.redacted_thinking.encode()).decode()
        blocks.append((None, [{"reasoningContent": {"redactedContent": redacted}}]))
    if text := turn.pieces() + _words(turn.refusal):
        blocks.append((None, [{"text": t} for t in text]))
    for call in turn.tool_calls:
        start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        blocks.append((start, [{"toolUse": {"input": part}} for part in _halves(call.text)]))
    return blocks


def bedrock_frame(kind: str, payload: Json, *, exception: bool = False) -> bytes:
    """One frame: prelude (lengths), its CRC, headers, payload, CRC of everything before."""
    names = {":exception-type": kind, ":message-type": "exception"} if exception else {":event-type": kind, ":message-type": "event"}
    headers = b"".join(_header(n, v) for n, v in {**names, ":content-type": "application/json"}.items())
    body = json.dumps(payload, ensure_ascii=False).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return frame + struct.pack(">I", zlib.crc32(frame))


def _header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def bedrock_error(turn: Turn) -> bytes:
    return bedrock_frame(turn.error_code, {"message": turn.error_message}, exception=True)


def _words(text: str) -> list[str]:
    return Turn(text=text).pieces()
