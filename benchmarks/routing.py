"""The router without a model (DESIGN §6): one decision, and the training at start."""

import time
from typing import Any

import numpy as np

from aliquot.routing.api import RoutingApi
from evals.routing import laboratory, measured_latencies

_REPEATS = 5


def rows(context: Any = None) -> list[dict[str, Any]]:
    """{name, budget, measured, n, notes} of a decision and of the start. `context` is not needed."""
    del context
    began = time.perf_counter()
    router = RoutingApi(laboratory())
    router.fit()
    fitted = time.perf_counter() - began
    latencies = [ms for _ in range(_REPEATS) for ms in measured_latencies(router)]
    p50, p95 = np.percentile(latencies, [50, 95])
    return [
        {"name": "router decision", "budget": "p95 ≤ 20 ms", "measured": f"p50 {p50:.1f} ms, p95 {p95:.1f} ms", "n": len(latencies),
         "notes": "own held-out questions, vocabulary in hand, one thread"},
        {"name": "router training at start", "budget": "≤ 1 s", "measured": f"{fitted:.2f} s", "n": 1,
         "notes": "the laboratory's five tools"},
    ]  # fmt: skip
