"""The router: how often it is right when it answers, how often it answers, how long it takes. Numbers only, never texts.

Own questions (`evals/routing_questions.py`) against the laboratory's five tools and the demo laboratory's vocabulary; MetaTool and
CLINC150 (paths below the given folder) for tools and intents it was not built for, with their simple baselines beside.
"""

import asyncio
import csv
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from aliquot.lab.api import LabApi
from aliquot.lab.tools import lab_tools
from aliquot.platform.db import Transaction
from aliquot.routing.api import RoutingApi
from aliquot.routing.contracts import PriorCall, Route, RouteQuery
from aliquot.routing.model import Model
from aliquot.routing.training import Row
from aliquot.tools.contracts import Relation, Tool
from evals.answers import answers
from evals.routing_questions import Question, held_out, questions, runs_and_answers

_INSTRUMENTS = (
    "SEQ-01", "PCR-02", "HPLC-03", "CENT-04", "Benchtop sequencer", "Gradient thermocycler", "Quaternary HPLC with diode-array detector",
    "Refrigerated plate centrifuge", "centrifuge", "spinner", "HPLC", "liquid chromatograph", "chromatograph", "LC", "sequencer",
    "DNA sequencer", "sequencing machine", "NGS", "thermocycler", "thermal cycler", "cycler", "PCR machine", "PCR",
)  # fmt: skip
_PROTOCOLS = ("PCR-STD-35", "LIB-PREP-DNA", "BEAD-CLEANUP", "HPLC-GRAD-10", "SEQ-PE150")
_NAMES = (
    "Standard PCR, 35 cycles",
    "DNA library preparation",
    "Magnetic bead clean-up",
    "Reversed-phase gradient, 10 min",
    "Paired-end sequencing",
)
_RUNS = ("R-2026-0012", "R-2026-0007", "R-2026-0003")
_VOCABULARY: dict[str, dict[str, tuple[str, ...]]] = {
    "get_instrument_status": {"instrument": (*_INSTRUMENTS, "all"), "protocol": _PROTOCOLS},
    "get_run_history": {"instrument": _INSTRUMENTS},
    "get_run": {"run": _RUNS},
    "get_protocols": {"instrument": _INSTRUMENTS, "query": (*_PROTOCOLS, *_NAMES)},
    "start_run": {"instrument": _INSTRUMENTS, "protocol": _PROTOCOLS},
    "stop_run": {"instrument": _INSTRUMENTS, "run": _RUNS},
}
_FITS = {"PCR-STD-35": "PCR-02", "LIB-PREP-DNA": "PCR-02", "BEAD-CLEANUP": "CENT-04", "HPLC-GRAD-10": "HPLC-03", "SEQ-PE150": "SEQ-01"}
_CALLED = {
    "SEQ-01": ("SEQ-01", "Benchtop sequencer", "sequencer", "DNA sequencer", "sequencing machine", "NGS"),
    "PCR-02": ("PCR-02", "Gradient thermocycler", "thermocycler", "thermal cycler", "cycler", "PCR machine", "PCR"),
    "HPLC-03": ("HPLC-03", "Quaternary HPLC with diode-array detector", "HPLC", "liquid chromatograph", "chromatograph", "LC"),
    "CENT-04": ("CENT-04", "Refrigerated plate centrifuge", "centrifuge", "spinner"),
}
_RUNNING = {"HPLC-03": ("R-2026-0012",)}
_RELATIONS = {
    "start_run": (
        Relation(given="protocol", argument="instrument", values={p: (i,) for p, i in _FITS.items()}, settles=True),
        Relation(
            given="instrument", argument="protocol", settles=False,
            values={name: tuple(p for p, i in _FITS.items() if i == code) for code, names in _CALLED.items() for name in names},
        ),
    ),
    "stop_run": (
        Relation(
            given="instrument", argument="run", settles=True,
            values={name: _RUNNING.get(code, ()) for code, names in _CALLED.items() for name in names},
        ),
    ),
}  # fmt: skip
SETS = """\
`runs` are questions about runs by number and for a yes or a no (`evals/routing_runs.py`): `first` is what the router measured before
any of its answers was looked at. `held` and `look` are the held-out questions of `evals/routing_heldout.py`, `test` and `dev` the
older ones of `evals/routing_questions.py`; all are self-written and none is trained on. Of `held` only sums were looked at, and its
wrong answers once; `look`, `test` and `dev` were looked at one by one."""
"""What the parts are, for the report."""
_BEFORE = {
    "runs": {"right": ".912 first", "coverage": ".912 first", "wrong": ".046 first", "outside": ".100 first", "back": ".000 first"},
    "held": {"right": ".556", "coverage": ".578", "wrong": ".085", "outside": ".041", "back": ".051"},
}
"""What the router of commit e2c5160 measured on the same questions (2026-11-21), before they were used for anything."""
_NO_DATABASE = cast("Transaction", None)


class _Fixed:
    """A tool with a vocabulary that needs no database."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tool, name)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return _VOCABULARY[self._tool.name]

    async def relations(self, tx: Transaction) -> tuple[Relation, ...]:
        return _RELATIONS.get(self._tool.name, ())


def laboratory() -> tuple[Tool, ...]:
    """The laboratory's tools, with the demo laboratory's words."""
    return tuple(cast("Tool", _Fixed(tool)) for tool in lab_tools(cast("LabApi", None)))


def rows(data_path: Path | None) -> list[dict[str, Any]]:
    """Measurements as rows {name, measured, n, baseline, notes}; sets that are not there are named as skipped."""
    began = time.perf_counter()
    router = RoutingApi(laboratory())
    router.fit()
    fitted = time.perf_counter() - began
    own = [*questions(), *held_out(), *runs_and_answers()]
    routes, latencies = asyncio.run(_ask(router, own))
    result: list[dict[str, Any]] = []
    for part in ("runs", "held", "look", "test", "dev"):
        chosen = [n for n, question in enumerate(own) if question.part == part]
        result += _judge(part, [own[n] for n in chosen], [routes[n] for n in chosen])
        result += _judge_answers(part, [own[n] for n in chosen], [routes[n] for n in chosen])
    result.append(row("start time", f"{fitted:.2f} s", 1, "-", "one core; training included"))
    p50, p95 = np.percentile(latencies, [50, 95])
    result.append(row("decision p50 / p95", f"{p50:.1f} / {p95:.1f} ms", len(latencies), "20 ms (budget, p95)", "vocabulary cached"))
    for name, measure in (("MetaTool", _metatool), ("CLINC150", _clinc)):
        result += measure(data_path) if data_path is not None else [row(name, "skipped", 0, "-", "no data path given")]
    return result


def measured_latencies(router: RoutingApi) -> list[float]:
    """Milliseconds of every own question once."""
    return asyncio.run(_ask(router, questions()))[1]


async def _ask(router: RoutingApi, own: Sequence[Question], *, warm: int = 5) -> tuple[list[Route], list[float]]:
    routes, latencies = [], []
    for question in [*own[:warm], *own]:
        prior = (PriorCall(tool=question.prior[0], arguments=question.prior[1]),) if question.prior else ()
        query = RouteQuery(text=question.text, tools=tuple(_VOCABULARY), prior=prior, earlier=question.earlier)
        began = time.perf_counter()
        routes.append(await router.route(_NO_DATABASE, query))
        latencies.append((time.perf_counter() - began) * 1_000)
    return routes[warm:], latencies[warm:]


def verdict(question: Question, route: Route) -> str:
    """`right` or `wrong` for a followed route; `asked` for the question back that was wanted; else `abstained`."""
    if route.accepted:
        followed = [(one.tool, one.arguments) for one in (route, *route.also) if one.accepted]
        fits = question.asks is None and len(followed) == len(question.calls)
        same = fits and all(t == w and _same(a, b) for (t, a), (w, b) in zip(followed, question.calls, strict=True))
        return "right" if same else "wrong"
    if route.asks:
        return "asked" if question.calls and route.tool == question.calls[0][0] and question.asks in route.missing else "asked in vain"
    return "abstained"


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    words = {"completed": "done", "finished": "done", "aborted": "stopped"}

    def plain(value: Any) -> Any:
        return words.get(value.lower(), value.lower()) if isinstance(value, str) else value

    return {k: plain(v) for k, v in a.items()} == {k: plain(v) for k, v in b.items()}


def _judge(part: str, asked: Sequence[Question], routes: Sequence[Route]) -> list[dict[str, Any]]:
    verdicts = [verdict(question, route) for question, route in zip(asked, routes, strict=True)]
    answerable = [v for q, v in zip(asked, verdicts, strict=True) if q.answerable]
    back = [v for q, v in zip(asked, verdicts, strict=True) if q.asks is not None]
    outside = [v for q, v in zip(asked, verdicts, strict=True) if not q.calls]
    followed = [v for v in verdicts if v in {"right", "wrong"}]
    acted = [v for v, r in zip(verdicts, routes, strict=True) if v == "wrong" and r.tool in {"start_run", "stop_run"}]
    share = f"{len(outside) / len(asked):.0%} out of scope"
    before = {name: figure if "first" in figure else f"{figure} before" for name, figure in _BEFORE.get(part, {}).items()}
    return [
        row(f"{part}: right tool and arguments, of answerable", *_rate(answerable, "right"), before.get("right", "-"), "exact arguments"),
        row(f"{part}: followed, of answerable", *_rate(answerable, "right", "wrong"), before.get("coverage", "-"), "at the threshold"),
        row(f"{part}: wrong, of followed", *_rate(followed, "wrong"), before.get("wrong", "-"), share),
        row(f"{part}: out-of-scope followed", *_rate(outside, "right", "wrong"), before.get("outside", "-"), ""),
        row(f"{part}: out-of-scope asked back", *_rate(outside, "asked", "asked in vain"), before.get("back", "-"), "instead of declined"),
        row(f"{part}: asked back where wanted", *_rate(back, "asked"), "-", ""),
        row(f"{part}: actions proposed wrongly", str(len(acted)), len(asked), "-", "each would still need a confirmation"),
    ]


def _judge_answers(part: str, asked: Sequence[Question], routes: Sequence[Route]) -> list[dict[str, Any]]:
    """Whether a yes or a no came first where it was wanted, was the right one, and was never made up."""
    given = [(q, asyncio.run(answers(r))) for q, r in zip(asked, routes, strict=True)]
    wanted = [(q, said) for q, said in given if any(q.answers)]
    if not wanted:
        return []
    right = ["right" if tuple(said) == q.answers else "silent" if not any(said) else "wrong" for q, said in wanted]
    others = ["made up" if any(said) else "silent" for q, said in given if not any(q.answers)]
    return [
        row(f"{part}: yes or no as wanted", *_rate(right, "right"), "-", "in the laboratory of evals/answers.py"),
        row(f"{part}: the wrong one of yes and no", *_rate(right, "wrong"), "-", ""),
        row(f"{part}: yes or no where none was wanted", *_rate(others, "made up"), "-", ""),
    ]


def _rate(verdicts: Sequence[str], *wanted: str) -> tuple[str, int]:
    hits, n = sum(v in wanted for v in verdicts), len(verdicts)
    if n == 0:
        return "-", 0
    low, high = wilson(hits, n)
    return f"{hits / n:.3f} ({low:.3f}–{high:.3f})", n


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * float(np.sqrt(share * (1 - share) / n + spread / (4 * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def row(name: str, measured: str, n: int, baseline: str, notes: str) -> dict[str, Any]:
    return {"name": name, "measured": measured, "n": n, "baseline": baseline, "notes": notes}


def _metatool(data: Path) -> list[dict[str, Any]]:
    """Zero-shot: the tool whose description a query fits, among 199, by the router's own model trained on the descriptions."""
    folder = data / "tools" / "metatool"
    if not folder.is_dir():
        return [row("MetaTool", "skipped", 0, "-", "not in the data folder")]
    described: dict[str, str] = json.loads((folder / "plugin_des.json").read_text("utf-8"))
    with (folder / "all_clean_data_half.csv").open(encoding="utf-8", newline="") as file:
        asked = [(row["Query"], row["Tool"]) for row in csv.DictReader(file)]
    # A fixed tenth keeps this below a minute; the rule looks at the row, not at how hard it is.
    asked = [pair for pair in asked if hashlib.sha1(repr(pair).encode(), usedforsecurity=False).digest()[0] < 26]
    model = Model([Row(f"{name} {text}".lower(), name, n) for n, (name, text) in enumerate(described.items())])
    first = fifth = 0
    for query, tool in asked:
        ranking = [name for name, _ in model.score(query.lower()[:500]).ranking if name != "none"][:5]
        first, fifth = first + (ranking[:1] == [tool]), fifth + (tool in ranking)
    n = len(asked)
    return [
        row(
            "MetaTool, zero-shot from descriptions: top-1",
            share(first, n),
            n,
            ".368 (TF-IDF to descriptions)",
            "199 tools, 1 in 10 queries",
        ),
        row("MetaTool, zero-shot from descriptions: top-5", share(fifth, n), n, ".532 (TF-IDF to descriptions)", ""),
    ]


def _clinc(data: Path) -> list[dict[str, Any]]:
    """Few-shot: ten utterances of each of 150 intents, none of them out of scope, against the validation part."""
    path = data / "router" / "clinc150" / "data_full_train_val.json"
    if not path.is_file():
        return [row("CLINC150", "skipped", 0, "-", "not in the data folder")]
    parts: dict[str, list[list[str]]] = json.loads(path.read_text("utf-8"))
    taken: dict[str, int] = {}
    train: list[Row] = []
    for text, intent in parts["train"]:
        taken[intent] = taken.get(intent, 0) + 1
        if taken[intent] <= 10:
            train.append(Row(text, intent, len(train)))
    model = Model(train)
    inside = [(model.score(text), intent) for text, intent in parts["val"][::3]]
    outside = [model.score(text) for text, _ in parts["oos_val"]]
    right = sum(_best(scored.ranking) == intent for scored, intent in inside)
    routed = [_best(scored.ranking) == intent for scored, intent in inside if scored.probability >= model.threshold]
    refused = sum(scored.probability < model.threshold for scored in outside)
    n = len(inside)
    notes = f"threshold {model.threshold:.2f}, read off the training rows"
    return [
        row("CLINC150, 10 per intent: accuracy in scope", share(right, n), n, ".930 (SVM on all 100 per intent)", "150 intents"),
        row("CLINC150, 10 per intent: followed", share(len(routed), n), n, "-", notes),
        row("CLINC150, 10 per intent: wrong, of followed", share(len(routed) - sum(routed), len(routed)), len(routed), "-", ""),
        row("CLINC150: out-of-scope refused", share(refused, len(outside)), len(outside), ".145 (SVM)", "none of it in training"),
    ]  # fmt: skip


def _best(ranking: tuple[tuple[str, float], ...]) -> str:
    return next((name for name, _ in ranking if name != "none"), "none")


def share(hits: int, n: int) -> str:
    if n == 0:
        return "-"
    low, high = wilson(hits, n)
    return f"{hits / n:.3f} ({low:.3f}–{high:.3f})"
