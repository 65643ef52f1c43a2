"""Periods out of a question: `today`, `since Monday`, `the last 3 days`, `in November`, dates. Pure.

A period is read only when all of what the question says of time is understood; else the caller has to keep out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
_MONTH = {name: n for n, name in enumerate(_MONTHS, 1)} | {name[:3]: n for n, name in enumerate(_MONTHS, 1)} | {"sept": 9}
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_MONTH_WORD = f"(?:{'|'.join(sorted(_MONTH, key=len, reverse=True))})"
_DATED = rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m>{_MONTH_WORD})(?:,? (?P<y>20\d\d))?"
_DATED_US = rf"(?P<m>{_MONTH_WORD}) (?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<y>20\d\d))?(?!\d)"

Span = tuple[date, date]
"""First day, and the day after the last."""
_SHAPES: tuple[tuple[str, Callable[[re.Match[str], date], Span | None]], ...]


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` until before `until`; either may be open. `place` is where the text says so."""

    since: datetime | None
    until: datetime | None
    place: tuple[int, int]


def _day(day: date) -> Span:
    return day, day + timedelta(days=1)


def _month(year: int, month: int) -> Span:
    return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)


def _named_month(match: re.Match[str], today: date) -> Span:
    """The newest November that has begun, unless its year is said."""
    month = _MONTH[match.group("m")]
    return _month(int(match.group("y") or today.year - (month > today.month)), month)


def _date(match: re.Match[str], today: date) -> Span | None:
    try:
        day = date(int(match.group("y") or today.year), _MONTH[match.group("m")], int(match.group("d")))
        return _day(day if match.group("y") or day <= today else day.replace(year=day.year - 1))
    except ValueError:
        return None


def _iso(match: re.Match[str], today: date) -> Span | None:
    try:
        return _day(date.fromisoformat(match.group()))
    except ValueError:
        return None


def _weekday(match: re.Match[str], today: date) -> Span | None:
    back = (today.weekday() - _DAYS.index(match.group("day"))) % 7
    return _day(today - timedelta(days=back)) if back else None  # on a Monday, `Monday` may be today or a week ago


def _calendar(match: re.Match[str], today: date) -> Span:
    last = match.group("which") != "this"
    if match.group("unit") == "week":
        monday = today - timedelta(days=today.weekday() + 7 * last)
        return monday, monday + timedelta(days=7)
    if match.group("unit") == "month":
        before = date(today.year, today.month, 1) - timedelta(days=int(last))
        return _month(before.year, before.month)
    return date(today.year - last, 1, 1), date(today.year - last + 1, 1, 1)


_SHAPES = (
    (r"today", lambda match, today: _day(today)),
    (r"yesterday", lambda match, today: _day(today - timedelta(days=1))),
    (r"(?P<which>this|last|previous) (?P<unit>week|month|year)", _calendar),
    (rf"(?P<day>{'|'.join(_DAYS)})", _weekday),
    (r"(?P<n>\d{1,3}) days? ago", lambda match, today: _day(today - timedelta(days=int(match.group("n"))))),
    (r"20\d\d-\d\d-\d\d", _iso),
    (_DATED, _date),
    (_DATED_US, _date),
    (rf"(?P<m>{_MONTH_WORD})(?: (?P<y>20\d\d))?", _named_month),
    (r"20\d\d", lambda match, today: (date(int(match.group()), 1, 1), date(int(match.group()) + 1, 1, 1))),
)
_BARE = "|".join(re.sub(r"\?P<\w+>", "?:", shape) for shape, _ in _SHAPES)
_HEAD = r"(?P<head>since|from|after|before|until|till|on|in|of|for|during)"
_BETWEEN = re.compile(rf"\b(?:from|between) (?P<a>{_BARE}) (?:to|and|until|till|through) (?P<b>{_BARE})(?!\w|-\d)")
_ONE = re.compile(rf"(?<![\w-])(?:{_HEAD} )?(?:the )?(?P<a>{_BARE})(?!\w|-\d)")
_ROLLING = re.compile(
    r"\b(?:(?:in|within|over|during|for|of|from) )?(?:the )?(?:last|past|previous) (?:(?P<n>\d{1,3}) )?(?P<unit>hour|day|week|month)s?\b"
)
_UNREAD = re.compile(
    rf"\b(?:yesterday|today|tonight|tomorrow|overnight|{'|'.join(_DAYS)}|{_MONTH_WORD}(?<!may)(?<!mar)"
    r"|(?:this|last|next|past|previous) (?:\d+ )?"
    r"(?:minute|hour|day|night|morning|afternoon|evening|weekend|week|month|quarter|year|shift)s?"
    r"|weekends?|\w+ ago|noon|midnight|morning|afternoon|evening|since|between|spring|summer|autumn|winter)\b"
    r"|\d{1,2}[./]\d{1,2}(?:[./]\d{2,4})?\b|\d{1,2}:\d\d|\b\d{1,2} ?(?:am|pm|o'clock)\b|(?<![\w-])20\d\d(?![\w-])"
)


def read(text: str, now: datetime) -> Period | None:
    """The one period `text` (normalised) names, in the zone of `now`; None when there is none, or more than was understood."""
    found = _between(text, now) or _rolling(text, now) or _single(text, now)
    if found is None:
        return None
    start, end = found.place
    rest = text[:start] + " , " + text[end:]
    return None if says_time(rest) else found


def says_time(text: str) -> bool:
    """Whether `text` speaks of a time at all (beyond `now`)."""
    return _UNREAD.search(text) is not None


def _between(text: str, now: datetime) -> Period | None:
    match = _BETWEEN.search(text)
    if match is None:
        return None
    first, last = _span(match.group("a"), now.date()), _span(match.group("b"), now.date())
    if first is None or last is None or last[1] <= first[0]:
        return None
    return Period(_start(first[0], now), _start(last[1], now), match.span())


def _rolling(text: str, now: datetime) -> Period | None:
    match = _ROLLING.search(text)
    if match is None or (match.group("n") is None and " past " not in f" {match.group()} " and match.group("unit") != "hour"):
        return None  # `last week` is the one of the calendar
    n = int(match.group("n") or 1)
    hours = {"hour": 1, "day": 24, "week": 168, "month": 720}[match.group("unit")]
    if match.group("unit") == "month":
        return None  # no fixed length
    return Period((now - timedelta(hours=n * hours)).replace(microsecond=0), None, match.span())


def _single(text: str, now: datetime) -> Period | None:
    match = _ONE.search(text)
    span = _span(match.group("a"), now.date()) if match is not None else None
    if match is None or span is None:
        return None
    head = match.group("head")
    bare_month = match.group("a").partition(" ")[0] in _MONTH and not any(character.isdigit() for character in match.group("a"))
    if head is None and bare_month:
        return None  # `may` and `march` are words as well
    first, after = _start(span[0], now), _start(span[1], now)
    if head in {"since", "from"}:
        return Period(first, None, match.span())
    if head == "after":
        return Period(after, None, match.span())
    if head in {"before", "until", "till"}:
        return Period(None, first if head == "before" else after, match.span())
    return Period(first, after, match.span())


def _span(text: str, today: date) -> Span | None:
    for shape, meaning in _SHAPES:
        if (match := re.fullmatch(shape, text)) is not None:
            return meaning(match, today)
    return None


def _start(day: date, now: datetime) -> datetime:
    """Midnight in the zone of `now` (its offset on that day)."""
    return datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)
