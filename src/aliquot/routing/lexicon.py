"""What people say for the same thing in a laboratory, and the forms of asking. Data, with small functions over it."""

import re

CLASSES: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "start": "start begin launch initiate commence kick fire trigger restart rerun execute perform",
        "stop": "stop abort cancel halt kill terminate end interrupt discontinue",
        "show": "show list display give tell see view get fetch find pull print look check lookup report open overview summary summarise update",
        "status": "status state condition doing busy free available idle unused occupied use used located location stand occupied online offline ready progress working availability use",
        "history": "history past previous recent recently last latest earlier log logs recorded ran finished completed",
        "protocol": "protocol protocols method methods procedure procedures sop sops recipe recipes workflow workflows",
        "machine": "instrument instruments machine machines device devices equipment thermocycler cycler sequencer centrifuge hplc reader robot",
        "fail": "down wrong problem matter fault fail failed failure failures failing error errors errored crashed crash broken broke",
        "runs": "run runs job jobs execution executions",
        "sample": "sample samples specimen specimens tube tubes",
        "steps": "step steps detail details instructions parameters parameter describe duration temperature temperatures times settings involve contain",
        "change": "change edit modify update set rename adjust move assign increase decrease raise lower",
        "remove": "delete remove erase drop discard purge wipe clear",
        "make": "create add register new make write draft generate build",
        "send": "send mail email message notify remind alert share export download print",
        "buy": "order buy purchase reorder restock invoice price cost budget",
        "plan": "book reserve schedule plan reschedule calendar meeting shift rota vacation",
        "pause": "pause resume hold suspend continue",
        "service": "calibrate calibration service maintenance repair clean cleaning qualify validate",
        "explain": "explain mean means meaning define definition difference between understand theory principle works",
        "compute": "calculate compute convert average mean sum total percentage statistics compare comparison plot chart graph",
    }.items()
}
"""A word of one class says the same as another of it, for the router. `run` as a verb is `start` (see `classes_of`)."""

EXCHANGEABLE: tuple[tuple[str, ...], ...] = (
    ("free", "available", "idle", "busy", "ready", "occupied", "online", "offline", "working", "in use", "okay", "up and running", "down"),
    ("last", "latest", "newest", "recent", "most recent", "previous"),
    ("failed", "completed", "finished", "stopped", "aborted", "cancelled", "paused", "queued", "successful"),
    ("status", "state", "condition"),
    ("steps", "details", "parameters", "temperatures", "settings"),
    ("protocol", "method", "procedure", "sop", "workflow"),
    ("protocols", "methods", "procedures", "sops", "workflows"),
    ("instruments", "machines", "devices"),
    ("show", "list", "display", "give me", "tell me", "get", "fetch"),
    ("start", "begin", "launch", "execute", "initiate"),
    ("stop", "abort", "cancel", "halt", "terminate"),
    ("history", "log", "past runs", "run list"),
    ("finished", "done", "ready"),
)
"""Words and phrases that may stand for one another in an example without changing which tool answers it."""

STATE_WORDS: dict[str, frozenset[str]] = {
    "idle": frozenset({"idle", "free", "available", "unused", "ready"}),
    "running": frozenset({"running", "active", "ongoing", "in progress", "busy", "under way", "underway"}),
    "done": frozenset({"done", "finished", "completed", "complete", "successful", "succeeded"}),
    "failed": frozenset({"failed", "failing", "failures", "failure", "fail", "unsuccessful", "crashed", "errored", "went wrong", "broke"}),
    "error": frozenset({"error", "errors", "errored", "faulty", "broken"}),
    "stopped": frozenset({"stopped", "aborted", "cancelled", "canceled", "halted", "terminated", "interrupted"}),
    "cancelled": frozenset({"cancelled", "canceled", "aborted"}),
    "paused": frozenset({"paused", "on hold", "suspended"}),
    "warming_up": frozenset({"warming up", "warming", "heating", "heating up", "preheating"}),
    "queued": frozenset({"queued", "waiting", "pending", "in the queue", "scheduled"}),
    "offline": frozenset({"offline", "down", "unreachable", "switched off", "out of order"}),
}
"""Words for the values of an `enum`; the value itself always counts."""

FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "of",
        "on",
        "in",
        "at",
        "to",
        "for",
        "from",
        "by",
        "with",
        "about",
        "and",
        "or",
        "but",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "am",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "can",
        "could",
        "will",
        "would",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "i",
        "you",
        "we",
        "they",
        "he",
        "she",
        "it",
        "its",
        "it's",
        "my",
        "our",
        "your",
        "their",
        "me",
        "us",
        "them",
        "there",
        "here",
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "when",
        "where",
        "why",
        "how",
        "please",
        "any",
        "all",
        "some",
        "every",
        "each",
        "no",
        "not",
        "so",
        "if",
        "then",
        "than",
        "as",
        "up",
        "out",
        "off",
        "over",
        "into",
        "right",
        "now",
        "just",
        "also",
        "too",
        "only",
        "ok",
        "okay",
        "hey",
        "hi",
        "hello",
        "thanks",
        "thank",
        "one",
        "ones",
        "other",
        "another",
        "same",
        "again",
        "currently",
        "moment",
        "let",
        "lets",
        "let's",
        "i'd",
        "i'm",
        "what's",
        "who's",
        "where's",
        "how's",
        "don't",
        "doesn't",
        "isn't",
        "aren't",
        "wasn't",
        "weren't",
        "didn't",
        "hasn't",
        "haven't",
        "won't",
        "can't",
        "couldn't",
    ]
)

_FOREIGN = frozenset(
    [
        "der",
        "die",
        "das",
        "den",
        "dem",
        "ein",
        "eine",
        "einen",
        "ist",
        "sind",
        "wie",
        "wo",
        "wer",
        "bitte",
        "zeig",
        "zeige",
        "mir",
        "und",
        "nicht",
        "auf",
        "von",
        "mit",
        "welche",
        "welcher",
        "läuft",
        "starte",
        "stoppe",
        "le",
        "la",
        "les",
        "un",
        "une",
        "des",
        "du",
        "est",
        "sont",
        "quel",
        "quelle",
        "quels",
        "où",
        "sur",
        "avec",
        "pour",
        "je",
        "vous",
        "montre",
        "moi",
        "et",
        "pas",
        "démarre",
        "arrête",
        "el",
        "los",
        "las",
        "una",
        "unos",
        "es",
        "son",
        "qué",
        "cuál",
        "cómo",
        "dónde",
        "con",
        "por",
        "muestra",
        "muéstrame",
        "y",
        "inicia",
        "detén",
        "está",
        "están",
        "il",
        "lo",
        "gli",
        "che",
        "di",
        "sono",
        "come",
        "dove",
        "mostra",
        "mostrami",
        "avvia",
        "ferma",
        "het",
        "een",
        "zijn",
        "hoe",
        "welke",
        "toon",
        "och",
        "är",
        "vilken",
        "hur",
        "o",
        "os",
        "um",
        "uma",
        "são",
        "qual",
        "como",
        "cześć",
        "jest",
        "jaki",
        "pokaż",
        "proszę",
        "mi",
        "lato",
        "estado",
        "estatus",
        "zustand",
    ]
) - {"es", "die", "o", "lo", "how"}

_POLITE = re.compile(
    r"(?:please|pls|kindly|hey|hi|plz|hello|ok|okay|so|now|then|well|alright|thanks|just|aliquot|assistant|"
    r"(?:can|could|would|will) you(?: please)?|(?:can|could) i (?:get|have|see)|i would like to know:?|quick question:?|do you know|any idea|i(?:'d| would) (?:like|love)(?: you)? to(?: know)?|i (?:want|need)(?: you)? to|we (?:need|want|have) to|"
    r"you (?:can|should|may)|go ahead and|let(?:'s| us)|let us|time to|try to|proceed to|do me a favou?r and|be so kind(?: as)? to|immediately)\b[\s,:!.]*"
)
_HOW_TO = re.compile(
    r"\b(?:how (?:do|can|should|would|could|does|to|did|might)\b|how(?:'s| is) (?:it|one)\b|what (?:happens|would happen|if|do i need)\b|should (?:i|we)\b|"
    r"(?:can|may|could|am i allowed to|are we allowed to|do) (?:i|we|one|anyone|viewers?|somebody|someone)\b|is it (?:possible|safe|ok|okay|allowed|wise|dangerous)\b|"
    r"why\b|explain\b|what does it mean\b|what is the (?:difference|meaning|purpose|point)\b|wondering (?:how|if|whether)\b|"
    r"who (?:may|can|is allowed)\b|when (?:should|can|may)\b|instructions\b|tutorial\b|guide\b|teach\b|learn(?:ing)? (?:how|to)\b)"
)
_NEGATED = re.compile(
    r"\b(?:do not|don't|dont|never|please not|not to|no need to|without|refrain|avoid|instead of|rather than|under no circumstances|"
    r"must not|mustn't|should not|shouldn't|cannot|can't|won't|will not|wouldn't)\b"
)
_NEGATED_STATE = re.compile(
    r"\b(?:not|isn't|aren't|wasn't|weren't|never|non|except|excluding|other than|without|but not|didn't|hasn't|haven't)\b"
)
_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|skip|disable|suspend)\b.{0,40}\b(?:instruction|instructions|rule|rules|prompt|policy|policies|previous|prior|above|"
    r"everything|polic\w*|confirmation|approval|safety|guard\w*|restriction\w*|filter\w*)\b|\bsystem prompt\b|\byou are now\b|\bdeveloper mode\b|\bjailbreak\w*\b|"
    r"\bpretend\b|\bact as\b|\broleplay\b|\bnew instructions\b|\bas an? (?:admin\w*|root|superuser)\b|\bsudo\b|<\/?\w+[^>]*>|\bdrop table\b|\bselect \*|```|\{\{|\$\(|"
    r"\bwithout (?:asking|confirm\w*|approval|permission)\b|\bdo not (?:ask|confirm)\b|\bdon't (?:ask|confirm)\b|\bno questions\b"
)
_CONDITION = re.compile(r"\b(?:if|when|once|after|unless|until|as soon as|whenever|in case|before|every time)\b")
_TIME = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|(?:this|last|next|past|previous) (?:hours?|days?|weeks?|months?|years?|nights?|mornings?|afternoons?|evenings?|weekends?|quarter|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday)|(?:last|past|next) \d+ (?:minutes?|hours?|days?|weeks?|months?|years?)|"
    r"(?:on |since |until |before |after |by )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)|"
    r"(?:in |since |until |before |of )(?:january|february|march|april|may|june|july|august|september|october|november|december|20\d\d|spring|summer|autumn|winter)|"
    r"\d+ (?:minutes?|hours?|days?|weeks?|months?|years?) ago|(?:since|before|until|between) (?=\w)|overnight|this morning|this afternoon|\d{1,2}(?::\d\d| ?(?:am|pm|o'clock))|\d{4}-\d\d-\d\d)\b"
)
_OWNER = re.compile(r"\b(?:my|mine|our|ours|i|by (?:me|anna|[a-z]+))\b(?! (?:like|want|need|would|see|know))")
_NOT_A_TIME = frozenset({"may", "march"})
NUMBERS = {word: n for n, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])} | {
    "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50, "hundred": 100, "dozen": 12, "couple": 2,
}  # fmt: skip


def class_of(word: str) -> str | None:
    return _CLASS_OF.get(word)


_CLASS_OF = {word: name for name, words in CLASSES.items() for word in words}


_TAIL = re.compile(
    r"[\s,]*\b(?:please|pls|plz|thanks|thank you|thx|for me|right now|now|currently|at the moment|at present|if you can|ok|okay)[\s.!?]*$"
)


def known_words() -> frozenset[str]:
    """Every single word this module knows."""
    phrases = [*NUMBERS, *(phrase for group in EXCHANGEABLE for phrase in group), *(p for words in STATE_WORDS.values() for p in words)]
    return frozenset(word for phrase in phrases for word in phrase.split()).union(*CLASSES.values())


def essence(text: str) -> str:
    """`text` without politeness before and after it, and without `now`: what is asked."""
    text = without_politeness(text)
    while match := _TAIL.search(text):
        if not match.start():
            break
        text = text[: match.start()]
    return text


def without_politeness(text: str) -> str:
    """`text` without the words a request may start with: what is left of one starts with its verb."""
    while match := _POLITE.match(text):
        text = text[match.end() :]
    return text


def asks_how(text: str) -> bool:
    """A question about doing something, not the wish that it be done."""
    return _HOW_TO.search(without_politeness(text)) is not None


def is_negated(text: str) -> bool:
    return _NEGATED.search(text) is not None


def negates(text: str, start: int) -> bool:
    """Whether the word at `start` has a negation within the few words before it."""
    return _NEGATED_STATE.search(text[max(0, start - 18) : start]) is not None


def looks_injected(text: str) -> bool:
    return _INJECTION.search(text) is not None


def has_condition(text: str) -> bool:
    return _CONDITION.search(text) is not None


def times(text: str) -> list[str]:
    """Expressions that narrow the question to a time."""
    return [match.group() for match in _TIME.finditer(text)]


def foreign_share(words: list[str]) -> float:
    """How much of the little words is another language's: 0 for English (or for codes alone), towards 1 otherwise."""
    foreign = sum(word in _FOREIGN for word in words)
    english = sum(word in FUNCTION_WORDS and word not in _FOREIGN for word in words)
    return foreign / (foreign + english) if foreign else 0.0
