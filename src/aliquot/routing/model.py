"""The scoring model: hashed TF-IDF features, a kernel ridge head per tool, and a small logistic head that says how sure.

The kernel is half linear, half quadratic, so that pairs of words count (`who stopped`). The ridge head has a closed form, so its
scores for questions it was not trained on are exact and nearly free (leave one group out: a question together with its
variations). On those held-out scores the logistic head learns how often the best class is right, which makes its output a
probability, and the threshold is read off them. About half a second of one core for a thousand rows.
"""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from aliquot.routing import forms, lexicon
from aliquot.routing.text import Spelling, stem, words_of
from aliquot.routing.training import NONE, Row

Array = npt.NDArray[np.floating[Any]]

DIMENSIONS = 4_096
_RIDGE = 0.3
_LOGISTIC = 1.0
ALL_NEW = 0.5
"""What remains of the probability of a question none of whose telling words was ever seen (`is it accredited`)."""
TARGET_ERROR = 0.03
OUT_OF_SCOPE = 0.25
THRESHOLD_MIN, THRESHOLD_MAX = 0.5, 0.9


@dataclass(frozen=True, slots=True)
class Scored:
    """The classes by score, best first, the probability that the first is right, and how near the nearest known question is."""

    ranking: tuple[tuple[str, float], ...]
    probability: float
    similarity: float


_NAMES = 1.2
"""The weight of which kinds of things a question names: `when is … done` of a run and of an instrument are for different tools."""
_ARTICLES = frozenset({"the", "a", "an", "our", "my", "any", "some"})


def features(text: str, spelling: Spelling | None = None) -> dict[str, float]:
    """Weighted features of a masked question: words, their classes, neighbours, and letters of words."""
    words = words_of(forms.essence(text))
    if spelling is not None:
        words = [spelling.correct(word) for word in words]
    stems = [stem(word) for word in words]
    found: dict[str, float] = {}

    def add(name: str, weight: float) -> None:
        found[name] = found.get(name, 0.0) + weight

    for word, base in zip(words, stems, strict=True):
        little = word in lexicon.FUNCTION_WORDS
        add(f"w:{base}", 0.5 if little else 1.0)
        if (name := lexicon.class_of(word)) is not None:
            add(f"c:{name}", 1.4)
        if not little and not word.startswith("z"):
            for gram in _grams(word):
                found[gram] = found.get(gram, 0.0) + 0.25
    labels = [lexicon.class_of(word) or base for word, base in zip(words, stems, strict=True) if word not in _ARTICLES]
    for pair in zip(["<", *labels], [*labels, ">"], strict=True):
        add(f"b:{pair[0]} {pair[1]}", 0.7)
    _forms(text, words, add)
    return found


def _forms(text: str, words: Sequence[str], add: Any) -> None:
    if forms.asks_how(text):
        add("f:how", 1.5)
    if forms.is_negated(text):
        add("f:not", 1.5)
    if forms.looks_injected(text):
        add("f:injected", 2.0)
    add("f:names " + " ".join(sorted({word for word in words if word.startswith("z")} - {"zcode"})), _NAMES)
    first = words[0] if words else ""
    add(f"f:first {lexicon.class_of(first) or stem(first)}", 1.2)


class _Columns:
    """A matrix of questions by features, kept by feature without its zeros: 1 MB instead of 29, and a question reads the columns of its
    own eighty features only."""

    def __init__(self, x: Array) -> None:
        feature, self._row = np.nonzero(x.T)
        self._value = np.ascontiguousarray(x.T[feature, self._row])
        self._row = self._row.astype(np.int32)
        self._start = np.searchsorted(feature, np.arange(x.shape[1] + 1))
        self._rows = x.shape[0]

    def dot(self, vector: Array) -> Array:
        """The inner products of `vector` with every row."""
        at = np.flatnonzero(vector)
        parts = [slice(self._start[n], self._start[n + 1]) for n in at]
        if not parts:
            return np.zeros(self._rows)
        row = np.concatenate([self._row[part] for part in parts])
        value = np.concatenate([self._value[part] * vector[n] for part, n in zip(parts, at, strict=True)])
        return np.bincount(row, weights=value, minlength=self._rows).astype(np.float64)


class Model:
    """Fitted at construction; immutable afterwards."""

    def __init__(self, rows: Sequence[Row], closed: Callable[[str, str], bool] = lambda label, text: False) -> None:
        """`closed(class, masked text)`: what the gates would not let through; it is no error, for the threshold."""
        self.words = frozenset(word for row in rows for word in words_of(row.text))
        self._stems = frozenset(stem(word) for word in self.words)
        common = _counted(rows)
        self.spelling = Spelling(
            frozenset(word for word in self.words if common.get(word, 0) >= 3) | lexicon.FUNCTION_WORDS | lexicon.known_words()
        )
        self.classes = (*sorted({row.label for row in rows} - {NONE}), NONE)
        bags = [features(row.text, self.spelling) for row in rows]
        self._placed, self._rare = _idf(bags)
        x = np.stack([self._weigh(bag) for bag in bags]) if bags else np.zeros((0, DIMENSIONS), dtype=np.float32)
        number = {name: n for n, name in enumerate(self.classes)}
        y = np.full((len(rows), len(self.classes)), -1.0, dtype=np.float32)
        label = np.array([number[row.label] for row in rows], dtype=np.int64)
        y[np.arange(len(rows)), label] = 1.0
        weight = np.sqrt(_balanced(label, np.array([row.weight for row in rows])))
        group = np.array([row.group for row in rows])
        gram = x @ x.T
        self._weights, held_out = _ridge(_kernel(gram), y, weight, group)
        self._columns = _Columns(x)
        nearest = _nearest_elsewhere(gram, group)
        unseen = _unseen_elsewhere([_content(row.text, self.spelling) for row in rows], group)
        judged, right = _judged(held_out, nearest, unseen), held_out.argmax(axis=1) == label
        share = _traffic(rows)
        self._head = logistic(judged, right.astype(float), share)
        sure = _sigmoid(judged @ self._head) * np.where(unseen == 1, ALL_NEW, 1.0)
        chosen = [self.classes[n] for n in held_out.argmax(axis=1)]
        routed = [name != NONE and not closed(name, row.text) for name, row in zip(chosen, rows, strict=True)]
        self.threshold = _threshold(sure, right, share * np.array(routed, dtype=float))
        self.held_out_accuracy = float(right.mean()) if len(rows) else 0.0

    def score(self, text: str, free: str = "") -> Scored:
        """How a masked question is classified. Words in `free` (a topic to search for) may be any."""
        similar = self._columns.dot(self.vector(text))
        scores = _kernel(similar) @ self._weights
        similarity = float(similar.max()) if len(similar) else 0.0
        unseen = self._unseen_share(text, free)
        judged = _judged(scores[None, :], np.array([similarity]), np.array([unseen]))
        probability = float(_sigmoid(judged @ self._head)[0]) * (ALL_NEW if unseen == 1 else 1.0)
        order = np.argsort(-scores, kind="stable")
        return Scored(tuple((self.classes[n], float(scores[n])) for n in order), probability, similarity)

    def _unseen_share(self, text: str, free: str) -> float:
        """How much of the words carrying meaning was never seen in training."""
        content = _content(text, self.spelling)
        return sum(word not in self._stems and word not in free for word in content) / len(content) if content else 0.0

    def vector(self, text: str) -> Array:
        """The features of a masked question, of length 1."""
        return self._weigh(features(text, self.spelling))

    def _weigh(self, bag: dict[str, float]) -> Array:
        vector, placed = np.zeros(DIMENSIONS, dtype=np.float32), self._placed
        summed: dict[int, float] = {}
        for name, weight in bag.items():
            place, factor = placed.get(name) or _place(name, self._rare)
            summed[place] = summed.get(place, 0.0) + factor * weight
        vector[list(summed)] = list(summed.values())
        length: float = float(np.linalg.norm(vector)) or 1.0
        normed: Array = np.divide(vector, np.float32(length))
        return normed


def _place(name: str, idf: float) -> tuple[int, float]:
    """Where a feature is counted, and how much, with which sign."""
    code = zlib.crc32(name.encode())
    return code % DIMENSIONS, idf if code & 0x80000000 else -idf


@lru_cache(maxsize=10_000)
def _grams(word: str) -> tuple[str, ...]:
    """The features of a word's letters."""
    padded = f"<{word}>"
    return tuple(f"g:{padded[at : at + n]}" for n in (3, 4) for at in range(len(padded) - n + 1))


def _counted(rows: Sequence[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        for word in set(words_of(row.text)):
            counts[word] = counts.get(word, 0) + 1
    return counts


def _idf(bags: Sequence[dict[str, float]]) -> tuple[dict[str, tuple[int, float]], float]:
    """Every feature's place and weight, and the weight of one that was never seen."""
    counts = Counter(name for bag in bags for name in bag)
    total = len(bags) + 1
    return {name: _place(name, math.log(total / (1 + count)) + 1) for name, count in counts.items()}, math.log(total) + 1


def _balanced(label: npt.NDArray[np.int64], weight: Array) -> Array:
    """Weights with which every class counts by the square root of its share, so that a tool with few examples is heard."""
    if not len(label):
        return weight
    share = np.bincount(label).astype(float)
    balanced: Array = weight / np.sqrt(np.maximum(share[label], 1)) * math.sqrt(len(label) / len(share))
    return balanced


def _kernel(similar: Array) -> Array:
    return np.asarray(0.5 * similar + 0.5 * similar * similar, dtype=np.float32)


def _content(text: str, spelling: Spelling) -> list[str]:
    """Stems of the words that carry meaning."""
    words = (spelling.correct(word) for word in words_of(forms.essence(text)))
    return [stem(word) for word in words if word not in lexicon.FUNCTION_WORDS and not word.startswith("z") and word.isalpha()]


def _unseen_elsewhere(content: Sequence[Sequence[str]], group: npt.NDArray[np.int64]) -> Array:
    """For every row the share of its words that no row of another group has: what a new question's unknown words look like."""
    groups: dict[str, set[int]] = {}
    for words, number in zip(content, group, strict=True):
        for word in words:
            groups.setdefault(word, set()).add(int(number))
    return np.array([sum(len(groups[word]) == 1 for word in words) / len(words) if words else 0.0 for words in content])


def _ridge(kernel: Array, y: Array, weight: Array, group: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """The weights of the rows, and for every row the scores it would get had its group not been there: exact, because one minus the hat
    matrix is the inverse times the ridge, and so are the residuals."""
    root = weight.astype(np.float32)
    yw = y * root[:, None]
    kernel = kernel * root[:, None] * root[None, :]
    inverse = np.linalg.inv(kernel + _RIDGE * np.eye(len(kernel), dtype=np.float32))
    dual = inverse @ yw
    weights = root[:, None] * dual
    held_out = np.empty_like(y)
    for number in np.unique(group):
        at = np.flatnonzero(group == number)
        residual = np.linalg.solve(inverse[np.ix_(at, at)], dual[at])
        held_out[at] = (yw[at] - residual) / root[at][:, None]
    return weights, held_out


def _nearest_elsewhere(gram: Array, group: npt.NDArray[np.int64]) -> Array:
    similar = np.where(group[:, None] == group[None, :], np.float32(0), gram)
    return np.asarray(similar.max(axis=1)) if len(gram) else np.zeros(0)


def _judged(scores: Array, similarity: Array, unseen: Array) -> Array:
    """What certainty is judged by: the best score, its lead over the second, the nearness of a known question, unseen words."""
    if not len(scores):
        return np.zeros((0, 5))
    ordered = -np.sort(-scores, axis=1)
    second = ordered[:, 1] if scores.shape[1] > 1 else np.full(len(scores), -1.0)
    return np.column_stack([np.ones(len(scores)), ordered[:, 0], ordered[:, 0] - second, similarity, unseen])


def logistic(x: Array, right: Array, weight: Array) -> Array:
    """Weights of a logistic regression with an L2 penalty, by Newton's method."""
    head = np.zeros(x.shape[1])
    for _ in range(30 if len(x) else 0):
        p = _sigmoid(x @ head)
        gradient = x.T @ (weight * (p - right)) + _LOGISTIC * np.r_[0.0, head[1:]]
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + _LOGISTIC * np.diag(np.r_[1e-6, np.ones(x.shape[1] - 1)])
        step = np.linalg.solve(curvature, gradient)
        head -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    return head


def _sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))


def _traffic(rows: Sequence[Row]) -> Array:
    """How much every row counts for certainty: a question and its variations as one, descriptions not at all, and what is out of
    scope as OUT_OF_SCOPE of all, because the share of it that we wrote says nothing about the share that is asked."""
    sizes: dict[tuple[int, str], int] = {}
    for row in rows:
        sizes[row.group, row.label] = sizes.get((row.group, row.label), 0) + 1
    share = np.array([(row.weight == 1.0) / sizes[row.group, row.label] for row in rows])
    outside = np.array([row.label == NONE for row in rows], dtype=bool)
    inside_sum, outside_sum = float(share[~outside].sum()), float(share[outside].sum())
    if inside_sum and outside_sum:
        share[outside] *= OUT_OF_SCOPE / (1 - OUT_OF_SCOPE) * inside_sum / outside_sum
    return np.asarray(share)


def _threshold(sure: Array, right: npt.NDArray[np.bool_], share: Array) -> float:
    """The rule: the lowest probability, in steps of 0.01 from 0.5, above which at most 3 % of the held-out declared questions that
    would be routed, gates included, are wrong, when a quarter of what is asked is out of scope (and wrong if it is routed); 0.9 when
    there is none."""
    for step in range(round(THRESHOLD_MIN * 100), round(THRESHOLD_MAX * 100)):
        routed = share * (sure >= step / 100)
        if routed.sum() and float((routed * ~right).sum() / routed.sum()) <= TARGET_ERROR:
            return step / 100
    return THRESHOLD_MAX
