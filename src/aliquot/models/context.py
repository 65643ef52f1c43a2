"""What fits into a model's context window, by a stated rule.

Sizes are estimates (`TokenEstimator`): a third of the UTF-8 bytes, which over-counts ordinary English by about a quarter and
is near one token per character for Chinese and Japanese, corrected by what the endpoint reported for earlier calls.

The rule. A *turn* is a person's message and everything up to the next one. When the whole does not fit:
1. the oldest turns without a pinned message are left out, whole, one after the other;
2. then, inside the turns that are left, the oldest *blocks* without a pinned message; a block is one message, or an
   assistant message with tool calls together with all results of these calls (they are never separated);
3. then the answer is given less room, down to MIN_OUTPUT_TOKENS;
4. then ContextTooLong.
The system prompt, the tools, pinned messages and the newest message of a person are never left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from aliquot.models.contracts import ModelMessage, ToolSpec
from aliquot.models.errors import ContextTooLong

MIN_OUTPUT_TOKENS = 256
_MESSAGE_OVERHEAD = 6
_RESERVE_SHARE = 0.02


class TokenEstimator:
    """Token counts per model: a conservative estimate, corrected by reported usage (moving average, kept within 0.6 … 2)."""

    def __init__(self) -> None:
        self._factor: dict[str, float] = {}

    def text(self, model: str, text: str) -> int:
        """Estimated tokens of `text`."""
        return self._corrected(model, _size(text))

    def request(self, model: str, system: str, messages: Sequence[ModelMessage], tools: Sequence[ToolSpec]) -> int:
        """Estimated input tokens of a whole request."""
        raw = _size(system) + tools_size(tools) + sum(map(message_size, messages)) + _MESSAGE_OVERHEAD
        return self._corrected(model, raw)

    def learn(self, model: str, estimated: int, reported: int) -> None:
        """Correct towards what the endpoint counted. Small requests are ignored: their overhead dominates."""
        if estimated < 200 or reported <= 0:
            return
        old = self._factor.get(model, 1.0)
        target = old * reported / estimated
        self._factor[model] = min(2.0, max(0.6, old * 0.7 + target * 0.3))

    def factor(self, model: str) -> float:
        """The correction in force for `model`, with a tenth on top once it was learnt."""
        return self._factor[model] * 1.1 if model in self._factor else 1.0

    def _corrected(self, model: str, raw: int) -> int:
        return int(raw * self.factor(model)) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What is sent."""

    messages: tuple[ModelMessage, ...]
    input_tokens: int
    max_output_tokens: int
    dropped: int
    """Messages left out."""


def fit(
    *,
    system: str,
    messages: tuple[ModelMessage, ...],
    tools: tuple[ToolSpec, ...],
    context_tokens: int,
    max_output_tokens: int,
    factor: float = 1.0,
) -> Fitted:
    """Apply the rule above. Raises ContextTooLong."""
    sizes = [int(message_size(m) * factor) + 1 for m in messages]
    fixed = int((_size(system) + tools_size(tools) + _MESSAGE_OVERHEAD) * factor) + 1
    window = int(context_tokens * (1 - _RESERVE_SHARE))
    excess = fixed + sum(sizes) + max_output_tokens - window
    dropped = _dropped(messages, sizes, excess) if excess > 0 else set()
    kept = tuple(m for i, m in enumerate(messages) if i not in dropped)
    input_tokens = fixed + sum(size for i, size in enumerate(sizes) if i not in dropped)
    room = window - input_tokens
    if room < min(MIN_OUTPUT_TOKENS, max_output_tokens):
        raise ContextTooLong
    return Fitted(messages=kept, input_tokens=input_tokens, max_output_tokens=min(max_output_tokens, room), dropped=len(dropped))


def _dropped(messages: tuple[ModelMessage, ...], sizes: list[int], excess: int) -> set[int]:
    """Indexes left out, oldest first, until `excess` tokens are saved or nothing more may go."""
    newest = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    keep = {i for i, m in enumerate(messages) if m.pinned or i == newest}
    dropped: set[int] = set()
    for group in [*_turns(messages), *_blocks(messages)]:
        if excess <= 0:
            break
        if keep.isdisjoint(group):
            excess -= sum(sizes[i] for i in group if i not in dropped)
            dropped.update(group)
    return dropped


def _turns(messages: tuple[ModelMessage, ...]) -> list[list[int]]:
    groups: list[list[int]] = []
    for i, message in enumerate(messages):
        if message.role == "user" or not groups:
            groups.append([])
        groups[-1].append(i)
    return groups


def _blocks(messages: tuple[ModelMessage, ...]) -> list[list[int]]:
    """One message each; calls and all their results together, wherever the results stand."""
    owner: dict[str, list[int]] = {}
    groups: list[list[int]] = []
    for i, message in enumerate(messages):
        if message.role == "tool" and message.call_id in owner:
            owner[message.call_id or ""].append(i)
            continue
        groups.append([i])
        for use in message.tool_uses:
            owner[use.call_id] = groups[-1]
    return groups


def message_size(message: ModelMessage) -> int:
    """Uncorrected tokens of one message."""
    size = _size(message.text) + _MESSAGE_OVERHEAD
    for use in message.tool_uses:
        size += _size(use.name) + _size(use.arguments) + _MESSAGE_OVERHEAD
    size += sum(image_size(image.width, image.height) for image in message.images)
    if message.native:
        size += _size(json.dumps(message.native, ensure_ascii=False))
    return size


def image_size(width: int, height: int) -> int:
    """Tokens of an image: a generous reading of the providers' rules (about one per 750 pixels, plus what a small one costs anyway)."""
    return width * height // 700 + 200


def tools_size(tools: Sequence[ToolSpec]) -> int:
    """Uncorrected tokens of the tool declarations."""
    return sum(
        _size(t.name) + _size(t.description) + _size(json.dumps(t.parameters, ensure_ascii=False)) + _MESSAGE_OVERHEAD for t in tools
    )


def _size(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // 3)
