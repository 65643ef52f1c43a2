"""Policy decisions (DESIGN §6): entities in hand, policies pre-selected per tool, two evaluations each.

Measured in one thread without a database: what a decision adds to the CPU time of a tool call.
"""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import SystemClock
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi
from aliquot.policy.bundles import BundleSource, default_source
from aliquot.policy.contracts import Query, Signature, Signed, ToolFacts
from aliquot.policy.engine import Engine
from benchmarks.ledger import cluster

_N = 5_000
_GATE_N = 2_000
_FIRST_PERSON = 1 << 64  # the smallest ids are the site's own keys
_WARM_UP = 200


def rows(context: Any = None) -> list[dict[str, Any]]:
    """One row per bundle: {name, budget, measured, n, notes}. `context` is not needed."""
    del context
    default = default_source()
    scoped, general = with_policies(default, 500, scoped=True), with_policies(default, 500, scoped=False)
    return [
        _row("policy decision, default bundle", "p50 ≤ 0.5 ms", default, "stop_run with a fact: all sets are evaluated"),
        _row("policy decision, 500 policies", "p50 ≤ 1 ms, p99 ≤ 5 ms", scoped, "500 more policies, each for one of 50 tools"),
        _row(
            "policy decision, 500 policies for every tool",
            "none (worst case)",
            general,
            "500 more policies that no tool's scope leaves out",
        ),
        _cold_row(default),
        asyncio.run(_gate_row(scoped)),
    ]


def with_policies(source: BundleSource, count: int, *, scoped: bool) -> BundleSource:
    """`source` with `count` more policies over all three sets; with `scoped` each names one tool."""
    parts: dict[str, list[str]] = {"authz": [], "obligations": [], "risk": []}
    heads = {"authz": ("", "forbid"), "obligations": ('@obligation("confirm") ', "permit"), "risk": ('@weight("1") ', "permit")}
    for n in range(count):
        part = ("authz", "obligations", "risk")[n % 3]
        note, effect = heads[part]
        tool = "stop_run" if n % 50 == 0 else f"tool_{n % 50}"
        scope = f'resource == Tool::"{tool}"' if scoped else "resource"
        condition = f'context.args has instrument && context.args.instrument == "X-{n}"'
        parts[part].append(f'@id("b{n}") @reason("Benchmark.") {note}{effect} (principal, action, {scope}) when {{ {condition} }};')
    return replace(source, **{part: getattr(source, part) + "\n".join(added) for part, added in parts.items()})


def _query(number: int = 1) -> Query:
    permissions = frozenset(
        {"chat.use", "lab.read", "lab.operate", "approvals.decide", "documents.read", "knowledge.read", "samples.write"}
    )
    return Query(
        principal=Principal(
            id=uuid.UUID(int=_FIRST_PERSON + number),
            email="",
            name="",
            roles=frozenset({"scientist"}),
            permissions=permissions,
            via="session",
        ),
        tool=ToolFacts(name="stop_run", effect="instrument", permissions=("lab.operate",), schema_sha256="0" * 64),
        arguments={"run": "R-0042", "reason": "The rotor is out of balance.", "instrument": "PCR-02"},
        facts={"foreign_run": True, "instrument_state": "running"},
    )


def _row(name: str, budget: str, source: BundleSource, notes: str) -> dict[str, Any]:
    engine, query = Engine.load(source, b"k" * 32), _query()
    return {"name": name, "budget": budget, "measured": _measure(lambda _: engine.evaluate(query)), "n": _N, "notes": notes}


def _cold_row(source: BundleSource) -> dict[str, Any]:
    engine, queries = Engine.load(source, b"k" * 32), [_query(n) for n in range(1, _N + 1)]
    measured = _measure(lambda n: engine.evaluate(queries[n]))
    return {
        "name": "policy decision, another person each time",
        "budget": "none",
        "measured": measured,
        "n": _N,
        "notes": "entities parsed anew",
    }


async def _gate_row(source: BundleSource) -> dict[str, Any]:
    """A whole transaction that does nothing but decide and record: what the gate adds to a tool call that had none."""
    with cluster() as running, tempfile.TemporaryDirectory() as folder:
        db, clock, vault = Database(running.app), SystemClock(), Vault(b"k" * 32, Path(folder))
        policy = PolicyApi(
            LedgerApi(vault, clock), vault, clock, Settings(data_dir=Path(folder)), verify_signature=_unsigned, bundle=source
        )
        asked = replace(_query(), tool=ToolFacts(name="look", effect="read", permissions=("lab.read",), schema_sha256="0" * 64), facts={})
        vault.ensure_subject(asked.principal.id)
        took = []
        for n in range(_WARM_UP + _GATE_N):
            started = time.perf_counter_ns()
            async with db.begin() as tx:
                await policy.decide(tx, asked)
            if n >= _WARM_UP:
                took.append(time.perf_counter_ns() - started)
        await db.close()
    measured = f"p50 {_percentile(took, 50):.2f} ms, p99 {_percentile(took, 99):.2f} ms"
    notes = "decide, seal what went in, record, commit; 500 policies; embedded database with fsync"
    return {"name": "gate of a tool call, in a transaction of its own", "budget": "p99 ≤ 10 ms", "measured": measured, "n": _GATE_N,
            "notes": notes}  # fmt: skip


async def _unsigned(tx: Transaction, principal: Principal, signature: Signature) -> Signed:
    raise NotImplementedError("nothing is signed here")


def _measure(decide: Any) -> str:
    for n in range(_WARM_UP):
        decide(n)
    took = []
    for n in range(_N):
        started = time.perf_counter_ns()
        decide(n)
        took.append(time.perf_counter_ns() - started)
    return f"p50 {_percentile(took, 50):.2f} ms, p99 {_percentile(took, 99):.2f} ms"


def _percentile(nanoseconds: Sequence[int], percent: int) -> float:
    return sorted(nanoseconds)[min(len(nanoseconds) - 1, len(nanoseconds) * percent // 100)] / 1e6


if __name__ == "__main__":
    for row in rows():
        print(f"{row['name']:48} {row['budget']:26} {row['measured']:30} n={row['n']}  {row['notes']}")
