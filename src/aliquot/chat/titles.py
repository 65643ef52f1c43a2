"""Titles of conversations without a language model: what the first message is about, without the politeness around it. Pure.

`Conversations` uses them for conversations that nobody named. A title from a model would come in by the same door
(`ChatStore.suggest_title`), which never replaces a person's.
"""

import re

TITLE_CHARS = 80
_GREETING = (
    r"(?:hi|hiya|hello|hey|greetings|good\s+(?:morning|afternoon|evening|day))(?:\s+(?:there|all|everyone|team|assistant|aliquot))?"
    r"|dear\s+\w+|hallo(?:\s+zusammen)?|guten\s+(?:morgen|tag|abend)|moin|servus|bonjour|bonsoir|salut|hola|buenos\s+d[ií]as"
    r"|buenas\s+(?:tardes|noches)|ciao|buongiorno|ol[aá]|thanks|thank\s+you(?:\s+(?:so|very)\s+much)?|many\s+thanks|cheers"
    r"|danke(?:\s+sch[oö]n)?|merci|gracias|grazie|please|bitte|pls|(?:ok|okay|so|well|right|help(?:\s+me)?)(?=\s*[,.!:]|$)"
)
_REQUEST = (
    r"(?:can|could|would|will)\s+you(?:\s+(?:please|kindly))?(?:\s+(?:help\s+me(?:\s+(?:to|with))?|tell\s+me|show\s+me|explain(?:\s+to\s+me)?))?"
    r"|i\s*(?:'d|\s+would)\s+like\s+(?:you\s+)?to(?:\s+know)?|i\s+(?:want|need)\s+(?:you\s+)?to(?:\s+know)?|i\s+was\s+wondering(?:\s+if)?"
    r"|i\s+have\s+a\s+(?:quick\s+)?question(?:\s+about)?|please\s+(?:tell|show)\s+me|tell\s+me|do\s+you\s+know|quick\s+question"
    r"|(?:kannst|k[oö]nntest)\s+du(?:\s+(?:bitte|mir|sagen,?\s+ob))*|k[oö]nnten\s+sie(?:\s+(?:bitte|mir|sagen,?\s+ob))*|ich\s+(?:m[oö]chte|w[uü]rde\s+gerne?)\s+wissen"
    r"|(?:peux-tu|pouvez-vous|pourriez-vous)(?:\s+me\s+dire)?|(?:puedes|podr[ií]as?)(?:\s+decirme)?"
)
_OPENING = re.compile(rf"^(?:(?:{_GREETING}|{_REQUEST})(?![\w-])[\s,.!:;…–-]*)+", re.IGNORECASE)
_CLOSING = re.compile(
    r"[\s,.!;–-]{0,5}(?<!\w)(?:(?:please|pls|thanks(?:\s+in\s+advance)?|thank\s+you(?:\s+very\s+much)?|thx|cheers|bitte|danke|merci|gracias)"
    r"[\s,.!;]*)+$",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"^(?:\s*(?:#{1,6}\s|>+\s?|[-*+]\s|\d+[.)]\s|```[\w+-]*|~~~\w*))+")
_EMPHASIS = re.compile(r"(\*\*|__|`)(?=\S)(.+?)(?<=\S)\1")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")
_READ_CHARS = 500


def title_of(message: str) -> str:
    """The first sentence of `message` that says something, cut at a word; of a mere greeting, the greeting. May be empty."""
    lines = [_plain(line) for line in message[:_READ_CHARS].splitlines()]
    for line in lines:
        for sentence in _SENTENCE.split(line):
            if told := _told(sentence):
                return _cut(told[0].upper() + told[1:] if told[:2].islower() else told)
    return _cut(next((line for line in lines if line), ""))


def is_greeting(title: str) -> bool:
    """True for a title that says nothing of what the conversation is about."""
    return not _told(title)


def _plain(line: str) -> str:
    return _EMPHASIS.sub(r"\2", _MARKUP.sub("", " ".join(_CONTROLS.sub("", line).split())).strip())


def _told(sentence: str) -> str:
    told = _CLOSING.sub("", _OPENING.sub("", sentence.strip()))
    told = told.strip(" ,;:!…–-").removesuffix(".")
    return told if any(c.isalnum() for c in told) else ""


def _cut(line: str) -> str:
    if len(line) <= TITLE_CHARS:
        return line
    return line[: TITLE_CHARS - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"
