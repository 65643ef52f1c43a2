"""Requests of this process as its metrics count them, in the few kinds that are kept for all processes together. No I/O."""

from collections import Counter
from collections.abc import Mapping

from aliquot.platform.telemetry import Metrics

Counts = Counter[tuple[str, str]]
"""(kind, route) → requests."""

CHAT, FRAMES = "POST /chat", "WebSocket frame"
_GAUGES = ("open_streams", "open_sockets", "active_runs")
_ROUTE_CHARS = 160


class Tally:
    """What was counted since the last time it was kept. The request path pays nothing for it: the metrics are there anyway."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: Counts = Counter()

    def waiting(self) -> Counts:
        """What is not kept yet."""
        return self._counted() - self._kept

    def kept(self, counts: Counts) -> None:
        """`counts` are in the database now."""
        self._kept += counts

    def load(self) -> Mapping[str, int]:
        """What is open in this process."""
        return {name: int(self._metrics.registry.get_sample_value(f"aliquot_{name}") or 0) for name in _GAUGES}

    def _counted(self) -> Counts:
        counts: Counts = Counter()
        for metric in self._metrics.requests.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    labels = sample.labels
                    _add(counts, f"{labels['method']} {labels['route']}"[:_ROUTE_CHARS], int(labels["status"]), int(sample.value))
        if limited := int(self._metrics.registry.get_sample_value("aliquot_limited_frames_total") or 0):
            counts["limited", FRAMES] = limited
        return counts


def _add(counts: Counts, route: str, status: int, count: int) -> None:
    counts["all", ""] += count
    if route == CHAT:
        counts["chat", ""] += count
    if status >= 500:
        counts["failed", ""] += count
    if status == 429:
        counts["limited", route] += count
