"""`GET /admin/stats` for Lumen's dashboard. Pure.

Lumen's document asks for the current requests per minute, the requests limited today, costs, the daily cap and the tools called, and
names no fields: the names are ours, in the camelCase of its other bodies. `rateLimit` speaks of `POST /chat`, which is all Lumen calls.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from aliquot.admin.contracts import Usage
from aliquot.admin.tally import CHAT
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.money import money_text
from aliquot.models.contracts import UsagePart
from aliquot.platform.settings import Limits


def stats_of(usage: Usage, limits: Limits) -> dict[str, Any]:
    """The statistics of today."""
    cap = next(cap for cap in usage.caps if cap.name == "cost_per_day")
    return {
        "generatedAt": rfc3339(usage.at),
        "rateLimit": {
            "requestsPerMinute": usage.requests.chat_per_minute,
            "rateLimitedToday": usage.requests.limited_today_by_route.get(CHAT, 0),
            "limits": {
                "perAddressPerMinute": limits.chat_per_address_per_minute,
                "globalPerMinute": limits.chat_total_per_minute,
                "perSessionPerHour": limits.chat_per_session_per_hour,
            },
        },
        "usage": {"requests": usage.requests.today, "questions": usage.patterns.questions, **_model_usage(usage.models.models)},
        "costCap": {
            "limit": money_text(cap.limit), "used": money_text(cap.used), "currency": cap.unit, "percent": str(cap.percent),
            "resetsAt": None if cap.resets_at is None else rfc3339(cap.resets_at), "reached": cap.used >= cap.limit,
        },
        "tools": [
            {"name": tool.tool, "calls": tool.calls, "failed": tool.failed, "p50Ms": tool.p50_ms, "p95Ms": tool.p95_ms}
            for tool in usage.tools
        ],
        "queryPatterns": [{"tools": list(pattern.tools), "count": pattern.runs} for pattern in usage.patterns.together],
        "openStreams": usage.load.open_streams,
    }  # fmt: skip


def _model_usage(parts: tuple[UsagePart, ...]) -> dict[str, Any]:
    """Tokens of all models; costs per currency, because they cannot be added."""
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for part in sorted(parts, key=lambda p: p.currency):
        costs[part.currency] += part.cost
    incoming, outgoing = sum(p.input_tokens for p in parts), sum(p.output_tokens for p in parts)
    return {
        "modelCalls": sum(p.calls for p in parts), "inputTokens": incoming, "outputTokens": outgoing, "totalTokens": incoming + outgoing,
        "cost": {currency: money_text(cost) for currency, cost in costs.items()},
    }  # fmt: skip
