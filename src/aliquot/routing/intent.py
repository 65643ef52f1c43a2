"""What a message asks for: one of six classes with a calibrated probability, or `undecided`. Needs no database and no model.

The scoring model is the router's own (`model`), fitted on the tools' declared examples and on `intent_examples`. It is the class of
the message alone: which tool answers is `route`'s business, what may be done the policy's.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from aliquot.routing import forms, lexicon, parts, training
from aliquot.routing.contracts import Intent, IntentName
from aliquot.routing.intent_examples import CALIBRATION, WRITTEN
from aliquot.routing.model import Model, logistic
from aliquot.routing.text import CHARS_MAX, normalise, words_of
from aliquot.routing.training import NONE, Row
from aliquot.routing.vocabulary import masked, unknown_codes
from aliquot.tools.contracts import Tool

CONFIDENT = 0.75
"""Below this nothing is said: of ten messages said to be of a class, at least seven were, and by far most were (docs/evals.md)."""
_EXAMPLES_PER_TOOL = 40
_ACTING = frozenset({"start", "stop", "remove", "change", "make", "send", "buy", "plan", "pause", "service"})
_PLACEHOLDER = re.compile(r"\bz[a-z]+\b")


class IntentClassifier:
    """Fitted at construction; immutable afterwards."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._verbs = training.acting_verbs(tools) | frozenset().union(*(lexicon.CLASSES[name] for name in _ACTING)) - {"run", "order"}
        mask = training.Masking(tools)
        texts = [(text, name) for name, written in WRITTEN.items() for text in written]
        for tool in tools:
            name = "data_query" if tool.effect == "read" else "action"
            asked = dict.fromkeys(_PLACEHOLDER.sub("zcode", mask.example(e.text, e.arguments)) for e in tool.examples)
            texts += [(text, name) for text in list(asked)[:: max(1, len(asked) // _EXAMPLES_PER_TOOL)]]
        rows = tuple(Row(self._shaped(text), _label(name), n) for n, (text, name) in enumerate(dict(texts).items()))
        held_out = tuple((self._shaped(text), _label(name)) for name, written in CALIBRATION.items() for text in written)
        self._model, self._scale = _fitted(rows, held_out)

    def classify(self, text: str) -> Intent:
        """The class of `text`. Never raises; what has no words, or is too long to be read, is undecided."""
        if not words_of(normalise(text)) or len(text) > CHARS_MAX:
            return Intent(name="undecided", confidence=0.0)
        name, probability = self.best(text)
        return Intent(name=name if probability >= CONFIDENT else "undecided", confidence=round(probability, 4))

    def best(self, text: str) -> tuple[IntentName, float]:
        """The likeliest class and the probability that it is right, however low."""
        plain = normalise(text)
        if forms.looks_injected(plain):
            return "out_of_scope", 1.0  # a rule, like the router's gate of the same name
        scored = self._model.score(self._shaped(masked(plain, unknown_codes(plain, ()))))
        label, (slope, shift) = scored.ranking[0][0], self._scale
        name: IntentName = "out_of_scope" if label == NONE else label  # type: ignore[assignment]  # the labels are the names
        return name, 1 / (1 + math.exp(-(slope * _logit(scored.probability) + shift)))

    def _shaped(self, text: str) -> str:
        """The text with its reason masked and with words for its shape: how many wishes it has, and whether they are to act."""
        wishes = parts.steps(text)
        acting = sum(self._acts(wish) for wish in wishes)
        plain = forms.reason_masked(text, acts=self._acts(text))
        shape = "zseveralacts" if acting and len(wishes) > 1 else "zoneact" if acting else "zseveralasks" if len(wishes) > 1 else "zoneask"
        return f"{plain} {shape}"

    def _acts(self, wish: str) -> bool:
        words = words_of(forms.without_politeness(wish))
        return bool(words) and words[0] in self._verbs and not forms.asks_how(wish)


def _label(name: str) -> str:
    return NONE if name == "out_of_scope" else name


def _logit(probability: float) -> float:
    p = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(p / (1 - p))


@lru_cache(maxsize=4)
def _fitted(rows: tuple[Row, ...], held_out: tuple[tuple[str, str], ...]) -> tuple[Model, tuple[float, float]]:
    """The model, and the scale (Platt 1999) that makes its certainty a probability on messages it was not fitted on."""
    model = Model(rows)
    scored = [(model.score(text), label) for text, label in held_out]
    x = np.array([[1.0, _logit(found.probability)] for found, _ in scored])
    right = np.array([float(found.ranking[0][0] == label) for found, label in scored])
    shift, slope = logistic(x, right, np.ones(len(right)))
    return model, (float(slope), float(shift))
