"""What messages ask for: how often the classifier is right, how often it says so, and whether its confidence is a probability.

Own held-out messages (`evals/intent_heldout.py`); of CLINC150 the out-of-scope part and the small-talk intents, whose classes exist here too.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aliquot.routing.intent import CONFIDENT, IntentClassifier, _fitted
from evals.intent_heldout import messages
from evals.routing import laboratory, row, share

SETS = """\
`intent` are the self-written messages of `evals/intent_heldout.py`, never trained on, of which only sums were looked at. ECE: expected
calibration error in ten bins of equal width, of the likeliest class, with its bootstrap interval (2,000 samples of the messages)."""
_ACTS = frozenset({"action", "multi_step"})
_CHAT = frozenset(
    {
        "greeting", "goodbye", "thank_you", "tell_joke", "are_you_a_bot", "what_is_your_name", "who_made_you", "how_old_are_you", "fun_fact",
        "what_can_i_ask_you", "do_you_have_pets", "where_are_you_from", "what_are_your_hobbies", "meaning_of_life", "who_do_you_work_for",
    }
)  # fmt: skip


def rows(data: Path | None) -> list[dict[str, Any]]:
    """Measurements as rows {name, measured, n, baseline, notes}."""
    tools = laboratory()
    _fitted.cache_clear()
    began = time.process_time()
    classifier = IntentClassifier(tools)
    fitted = time.process_time() - began
    asked = messages()
    took, judged = [], []
    for text, wanted in asked:
        began = time.perf_counter()
        intent = classifier.classify(text)
        took.append((time.perf_counter() - began) * 1_000)
        judged.append((wanted, *classifier.best(text), intent.name))
    return [
        *_own(judged),
        row("intent: start time", f"{fitted:.2f} s", 1, "-", "of processor time; training included, the router's own not"),
        row("intent: p50 / p95", f"{np.percentile(took, 50):.1f} / {np.percentile(took, 95):.1f} ms", len(took), "20 ms (budget, p95)", ""),
        *_clinc(classifier, data),
    ]


def _own(judged: Sequence[tuple[str, str, float, str]]) -> list[dict[str, Any]]:
    n = len(judged)
    right = np.array([best == wanted for wanted, best, _, _ in judged])
    sure = np.array([probability for _, _, probability, _ in judged])
    said = [(wanted, name) for wanted, _, _, name in judged if name != "undecided"]
    asks = [(wanted, name) for wanted, _, _, name in judged if wanted not in _ACTS]
    acts = [(wanted, name) for wanted, _, _, name in judged if wanted in _ACTS]
    low, high = _bootstrap(sure, right)
    wrong, missed = sum(name in _ACTS for _, name in asks), sum(name not in {*_ACTS, "undecided"} for _, name in acts)
    return [
        row("intent: likeliest class right", share(int(right.sum()), n), n, ".172 (always the largest)", "six classes"),
        row("intent: decided", share(len(said), n), n, "-", f"confidence of at least {CONFIDENT}"),
        row("intent: right, of decided", share(sum(a == b for a, b in said), len(said)), len(said), "-", ""),
        row("intent: ECE", f"{ece(sure, right):.3f} ({low:.3f}–{high:.3f})", n, ".03 (goal of the router)", "likeliest class"),
        row("intent: taken for an action, of what is none", share(wrong, len(asks)), len(asks), "-", ""),
        row("intent: taken for no action, of what is one", share(missed, len(acts)), len(acts), "-", ""),
    ]  # fmt: skip


def ece(sure: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """The mean gap between confidence and the share that is right, over bins, by their sizes."""
    at = np.minimum((sure * bins).astype(int), bins - 1)
    return float(sum(abs(sure[at == b].mean() - right[at == b].mean()) * (at == b).mean() for b in range(bins) if (at == b).any()))


def _bootstrap(sure: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    chance = np.random.default_rng(1)
    found = [ece(sure[at], right[at]) for at in (chance.integers(len(sure), size=len(sure)) for _ in range(2_000))]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _clinc(classifier: IntentClassifier, data: Path | None) -> list[dict[str, Any]]:
    path = None if data is None else data / "router" / "clinc150" / "data_full_train_val.json"
    if path is None or not path.is_file():
        return [row("intent, CLINC150", "skipped", 0, "-", "not in the data folder")]
    parts: dict[str, list[list[str]]] = json.loads(path.read_text("utf-8"))
    outside = [classifier.classify(text).name for text, _ in parts["oos_val"]]
    chat = [classifier.classify(text).name for text, intent in parts["val"] if intent in _CHAT]
    n, kept, quiet = len(outside), {"out_of_scope", "question", "undecided"}, {"chit_chat", "out_of_scope", "undecided"}
    declined, talk = sum(name in kept for name in outside), sum(name in quiet for name in chat)
    acted, moved = sum(name in _ACTS for name in outside), sum(name in _ACTS for name in chat)
    return [
        row("intent, CLINC150 out of scope: out of scope, question or undecided", share(declined, n), n, "-", "it holds knowledge questions"),
        row("intent, CLINC150 out of scope: taken for an action", share(acted, n), n, "-", ""),
        row("intent, CLINC150 small talk: chit-chat, out of scope or undecided", share(talk, len(chat)), len(chat), "-", "greeting, tell_joke …"),
        row("intent, CLINC150 small talk: taken for an action", share(moved, len(chat)), len(chat), "-", ""),
    ]  # fmt: skip
