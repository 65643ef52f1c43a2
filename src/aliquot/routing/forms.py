"""Forms of asking: politeness, requests, questions about doing something, negation, conditions, times, other languages."""

import re

from aliquot.routing.lexicon import FOREIGN_WORDS, FUNCTION_WORDS, class_of


def _any(*alternatives: str) -> str:
    return "(?:" + "|".join(alternatives) + ")"


_DAYS = "(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTHS = _any(
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december", r"20\d\d",
    "spring", "summer", "autumn", "winter",
)  # fmt: skip
_SPANS = "(?:minute|hour|day|week|month|year)s?"

NO_REASON = (
    r"(?!(?:please|pls|thanks?|thx|now|and|then|but|or|if|when|once|unless|no|not|do|only|ok|okay|immediately|asap|can|could)\b)"
    r"(?!.*\b(?:if|unless|once|until|as soon as|whenever)\b)"
)
"""What follows a comma or dash begins like no reason, or is a condition."""

_POLITE = re.compile(
    _any(
        "please", "pls", "plz", "kindly", "hey", "hi", "hello", "good (?:morning|afternoon|evening|day)",
        "ok", "okay", "so", "now", "then", "well", "alright", "thanks", "just",
        "aliquot", "assistant", "(?:can|could|would|will) you(?: please)?", "(?:can|could) i (?:get|have|see)", "i would like to know:?",
        "quick question:?", "do you know", "any idea", r"i(?:'d| would) (?:like|love)(?: you)? to(?: know)?", "i (?:want|need)(?: you)? to",
        "we (?:need|want|have) to", "you (?:can|should|may)", "go ahead and", "let(?:'s| us)", "time to", "try to", "proceed to",
        "do me a favou?r and", "be so kind(?: as)? to", "immediately",
    )
    + r"(?!\w)[\s,:!.]*"
)  # fmt: skip
_TAIL = re.compile(
    r"[\s,]*\b"
    + _any(
        "please", "pls", "plz", "thanks", "thank you", "thx", "for me", "right now", "now", "currently", "at the moment", "at present",
        "if you can", "ok", "okay",
    )
    + r"[\s.!?]*$"
)  # fmt: skip
_HOW_TO = re.compile(
    r"\b"
    + _any(
        "how (?:do|can|should|would|could|does|to|did|might)", "how(?:'s| is) (?:it|one)", "what (?:happens|would happen|if|do i need)",
        "should (?:i|we)", "(?:can|may|could|am i allowed to|are we allowed to|do) (?:i|we|one|anyone|viewers?|somebody|someone)",
        "is it (?:possible|safe|ok|okay|allowed|wise|dangerous)", "why", "explain", "what does it mean",
        "what is the (?:difference|meaning|purpose|point)", "wondering (?:how|if|whether)", "who (?:may|can|is allowed)",
        "when (?:should|can|may)", "instructions", "tutorial", "guide", "teach", "learn(?:ing)? (?:how|to)",
    )
    + r"\b"
)  # fmt: skip
_NEGATED = re.compile(
    r"\b"
    + _any(
        "do not", "don't", "dont", "never", "please not", "not to", "no need to", "without", "refrain", "avoid", "instead of",
        "rather than",         "under no circumstances", "must not", "mustn't", "should not", "shouldn't", "cannot", "can't",
        "won't", "will not", "wouldn't",
    )
    + r"\b"
)  # fmt: skip
_NEGATED_STATE = re.compile(
    r"\b"
    + _any(
        "not", "isn't", "aren't", "wasn't", "weren't", "never", "non", "except", "excluding", "other than", "without", "but not", "didn't",
        "hasn't", "haven't",
    )
    + r"\b"
)  # fmt: skip
_INJECTION = re.compile(
    _any(
        r"\b(?:ignore|disregard|forget|override|bypass|skip|disable|suspend)\b.{0,40}\b"
        + _any(
            "instructions?", "rules?", "prompt", r"polic\w*", "previous", "prior", "above", "everything", "confirmation", "approval",
            "safety", r"guard\w*", r"restriction\w*", r"filter\w*",
        )
        + r"\b",
        r"\bsystem prompt\b", r"\byou are now\b", r"\bdeveloper mode\b", r"\bjailbreak\w*", r"\bpretend\b", r"\bact as\b", r"\broleplay\b",
        r"\bnew instructions\b", r"\bas an? (?:admin\w*|root|superuser)\b", r"\bsudo\b", r"</?\w+[^>]*>", r"\bdrop table\b", r"\bselect \*",
        "```", r"\{\{", r"\$\(", r"\bwithout (?:asking|confirm\w*|approval|permission)\b", r"\b(?:do not|don't) (?:ask|confirm)\b",
        r"\bno questions\b",
    )
)  # fmt: skip
_DEFINITION = re.compile(
    r"(?:what(?: is|'s| are|s)|how (?:does|do)|explain|define|tell me about|describe)(?: an?)? z\w+ ?"
    r"(?:work|works|function|good for|used for|for|mean|exactly|in general)?[\s?.!]*"
)
_LATER = re.compile(
    r"\b(?:let me know|tell (?:me|us)|notify (?:me|us)|alert (?:me|us)|ping me|inform me|wake me)\b"
    r".{0,20}?\b(?:when|once|as soon as)\b(?! (?:will|does|did|was|can|could))"
)
_CONDITION = re.compile(r"\b(?:if|when|once|after|unless|until|as soon as|whenever|in case|before|every time)\b")
_TIME = re.compile(
    r"\b"
    + _any(
        "yesterday", "today", "tonight", "tomorrow", "overnight", "this (?:morning|afternoon|evening)",
        rf"(?:this|last|next|past|previous) (?:{_SPANS}|nights?|mornings?|afternoons?|evenings?|weekends?|quarter|{_DAYS})",
        rf"(?:last|past|next) \d+ {_SPANS}", rf"(?:on |since |until |before |after |by )?{_DAYS}",
        rf"(?:in |since |until |before |of ){_MONTHS}", rf"\d+ {_SPANS} ago", r"(?:since|before|until|between) (?=\w)",
        r"\d{1,2}(?::\d\d| ?(?:am|pm|o'clock))", r"\d{4}-\d\d-\d\d",
    )
    + r"(?!\w{2})"
)  # fmt: skip
_AMOUNT = re.compile(
    rf"\bhow (?:much|many) (?!(?:time|longer|more|{_SPANS}|is|are|of|remains?)\b)(?:[a-z]+ ){{1,3}}"
    r"(?:(?:is|are) (?:left|remaining)|remains?)\b"
)
_PERSON = re.compile(
    r"(?<!for )\b(?:my|mine)\b(?! (?:lab|team))|\b(?:did|have|had) i\b|\bi (?:ran|started|made|did)\b|\bby (?!the |an? )[a-z]+\b"
)


_REASON = re.compile(r"\b(?P<mark>because(?: of)?|due to|since(?= we| i| the| it)|(?:the )?reason(?: is)?\b\s*:?)\s*:?\s+\S.*$")
_APPENDED_REASON = re.compile(r"\s*(?::|[,;]|\s-)\s+" + NO_REASON + r"[^,;?]*[a-z]{3}[^?]*$")


def reason_masked(text: str, *, acts: bool) -> str:
    """`text` with the reason given in it replaced by a placeholder: it may be anything, and says nothing about what is wanted.
    After a bare comma or colon (`stop it, the pump leaks`) only in the wish for an action."""
    masked = _REASON.sub(lambda match: f"{match.group('mark')} zreason", text)
    if acts and masked == text:
        masked = _APPENDED_REASON.sub(" : zreason", text)
    return masked


def without_politeness(text: str) -> str:
    """`text` without the words a request may start with: what is left of one starts with its verb."""
    while match := _POLITE.match(text):
        text = text[match.end() :]
    return text


def essence(text: str) -> str:
    """`text` without politeness before and after it, and without `now`: what is asked."""
    text = without_politeness(text)
    while (match := _TAIL.search(text)) and match.start():
        text = text[: match.start()]
    return text


def asks_how(text: str) -> bool:
    """A question about doing something, not the wish that it be done."""
    return _HOW_TO.search(without_politeness(text)) is not None


def is_negated(text: str) -> bool:
    """Says not to do something."""
    return _NEGATED.search(text) is not None


def negates(text: str, start: int) -> bool:
    """Whether the word at `start` has a negation within the few words before it."""
    return _NEGATED_STATE.search(text[max(0, start - 18) : start]) is not None


def is_auxiliary(text: str, word: re.Match[str]) -> bool:
    """`done` of `the runs we have done`: says that there were any, not how they ended."""
    return word.group() == "done" and re.search(r"\b(?:has|have|had)\b(?! (?:been|any))[^.?!]{0,30}$", text[: word.start()]) is not None


def looks_injected(text: str) -> bool:
    """Reads like an instruction to the assistant itself, or like code."""
    return _INJECTION.search(text) is not None


def has_condition(text: str) -> bool:
    """Wants something only if or when something else is so."""
    return _CONDITION.search(text) is not None


def asks_for_an_amount(text: str) -> bool:
    """`how much buffer is left`: what is used up is not on record; `how much time is left` is, and `how much is left` of a run."""
    return _AMOUNT.search(text) is not None


def wants_notice(text: str) -> bool:
    """Wants to be told when something has happened."""
    return _LATER.search(text) is not None


def asks_what_it_is(masked: str) -> bool:
    """`what is hplc`, `how does a cycler work`: about the kind of thing (`the` or `our` would be the one here)."""
    return _DEFINITION.fullmatch(essence(masked)) is not None


def names_a_kind(words: list[str]) -> bool:
    """Speaks of instruments, or points at something named before."""
    return any(class_of(word) == "machine" or word in {"it", "its", "that", "this", "one", "ones", "other", "others"} for word in words)


def times(text: str) -> list[str]:
    """Expressions that narrow the question to a time."""
    return [match.group() for match in _TIME.finditer(text)]


def names_a_person(text: str) -> bool:
    """Narrows the question to what somebody did (`my runs`, `by Anna`)."""
    return _PERSON.search(text) is not None


def foreign_share(words: list[str]) -> float:
    """How much of the little words is another language's: 0 for English (or for codes alone), towards 1 otherwise."""
    foreign = sum(word in FOREIGN_WORDS for word in words)
    english = sum(word in FUNCTION_WORDS and word not in FOREIGN_WORDS for word in words)
    return foreign / (foreign + english) if foreign else 0.0
