"""What people say for the same thing in a laboratory: classes of words, words for states, little words. Data."""

CLASSES: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "start": "start begin launch initiate commence kick fire trigger restart rerun execute perform",
        "stop": "stop abort cancel halt kill terminate end interrupt discontinue",
        "show": (
            "show list display give tell see view get fetch find pull print look check lookup report open overview summary summarise update"
        ),
        "status": (
            "status state condition doing busy free available idle unused occupied use used located location stand occupied "
            "online offline ready progress working availability use"
        ),
        "history": "history past previous recent recently last latest earlier log logs recorded ran finished completed",
        "protocol": "protocol protocols method methods procedure procedures sop sops recipe recipes workflow workflows",
        "machine": (
            "instrument instruments machine machines device devices equipment thermocycler cycler sequencer centrifuge hplc reader robot"
        ),
        "fail": ("down wrong problem matter fault fail failed failure failures failing error errors errored crashed crash broken broke"),
        "runs": "run runs job jobs execution executions",
        "sample": "sample samples specimen specimens tube tubes",
        "steps": (
            "step steps detail details instructions parameters parameter describe duration temperature temperatures times "
            "settings involve contain"
        ),
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

_FUNCTION_WORDS = """
a an the this that these those of on in at to for from by with about and or but is are was were be been being am do does did has
have had can could will would shall should may might must i you we they he she it its it's my our your their me us them there here
what which who whom whose when where why how please any all some every each no not so if then than as up out off over into right
now just also too only ok okay hey hi hello thanks thank one ones other another same again currently moment let lets let's i'd i'm
what's who's where's how's don't doesn't isn't aren't wasn't weren't didn't hasn't haven't won't can't couldn't
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""They carry no meaning by themselves."""

_FOREIGN_WORDS = """
der das den dem ein eine einen ist sind wie wo wer bitte zeig zeige mir und nicht auf von mit welche welcher läuft starte stoppe
le la les un une des du est sont quel quelle quels où sur avec pour je vous montre moi et pas démarre arrête el los las una unos
son qué cuál cómo dónde con por muestra muéstrame y inicia detén está están il gli che di sono come dove mostra mostrami avvia
ferma het een zijn hoe welke toon och är vilken hur os um uma são qual como cześć jest jaki pokaż proszę mi estado estatus zustand
"""
FOREIGN_WORDS = frozenset(_FOREIGN_WORDS.split())
"""Little words of other European languages that are not English ones."""

_COUNTING = "zero one two three four five six seven eight nine ten eleven twelve"
NUMBERS = {word: n for n, word in enumerate(_COUNTING.split())} | {
    "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50, "hundred": 100, "dozen": 12, "couple": 2,
}  # fmt: skip

_CLASS_OF = {word: name for name, words in CLASSES.items() for word in words}


def class_of(word: str) -> str | None:
    """The class of a word; None for a word of its own."""
    return _CLASS_OF.get(word)


def known_words() -> frozenset[str]:
    """Every single word this module knows."""
    phrases = [*NUMBERS, *(phrase for group in EXCHANGEABLE for phrase in group), *(p for words in STATE_WORDS.values() for p in words)]
    return frozenset(word for phrase in phrases for word in phrase.split()).union(*CLASSES.values())
