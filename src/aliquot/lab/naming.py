"""Which instrument somebody means: by printed code, by name, or by kind when only one fits. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from aliquot.lab.errors import AmbiguousInstrument, UnknownInstrument

KIND_NAMES: dict[str, tuple[str, ...]] = {
    "sequencer": ("sequencer", "DNA sequencer", "sequencing machine", "NGS"),
    "thermocycler": ("thermocycler", "thermal cycler", "cycler", "PCR machine", "PCR"),
    "hplc": ("HPLC", "liquid chromatograph", "chromatograph", "LC"),
    "centrifuge": ("centrifuge", "spinner"),
    "plate_reader": ("plate reader", "microplate reader"),
    "liquid_handler": ("liquid handler", "pipetting robot"),
}
"""What people call a kind of instrument; the first is how we print it."""

_SHOWN_MAX = 20
_LIKE_A_CODE = re.compile(r"[a-z]{1,5}[ _-]?[0-9]+[a-z]?|[a-z0-9]+(?:-[a-z0-9]+)*-[a-z0-9]*[0-9][a-z0-9]*", re.IGNORECASE | re.ASCII)
"""A code that nothing has is no part of a name: `PCR-02` never means the `Spare for PCR-02`."""


class Named(Protocol):
    """Anything with the names of an instrument."""

    @property
    def code(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...


AnyNamed = TypeVar("AnyNamed", bound=Named)


def plain(text: str) -> str:
    """`text` for comparing: lower case, letters and digits only, so that `PCR 02`, `pcr-02` and `PCR02` are one."""
    return re.sub(r"[\W_]+", "", text.casefold())


def kind_name(kind: str) -> str:
    return KIND_NAMES.get(kind, (kind.replace("_", " "),))[0]


def a_kind(kind: str) -> str:
    """`a centrifuge`, `an HPLC`: the letters are spelt, the words are spoken."""
    name = kind_name(kind)
    spelt = name[:2].isupper()
    return f"{'an' if name[0] in ('AEFHILMNORSX' if spelt else 'aeiou') else 'a'} {name}"


def resolve(text: str, instruments: Sequence[AnyNamed]) -> AnyNamed:
    """The one instrument meant. Raises UnknownInstrument, and AmbiguousInstrument when several fit equally well."""
    bare = _without_article(text)
    if wanted := plain(bare):
        for tier in (_code, _name, _kind, *(() if _LIKE_A_CODE.fullmatch(bare) else (_part,))):
            found = [instrument for instrument in instruments if tier(wanted, instrument)]
            if len(found) == 1:
                return found[0]
            if found:
                raise AmbiguousInstrument(f"More than one instrument fits: {_codes(found)}. Please name one.", candidates=_list(found))
    raise UnknownInstrument(f"There is no instrument of that name. Known are: {_codes(instruments) or 'none'}.")


def _without_article(text: str) -> str:
    return re.sub(r"^\s*(the|our|my|a|an)\s+", "", text, flags=re.IGNORECASE).strip()


def _code(wanted: str, instrument: Named) -> bool:
    return plain(instrument.code) == wanted


def _name(wanted: str, instrument: Named) -> bool:
    return plain(instrument.name) == wanted


def _kind(wanted: str, instrument: Named) -> bool:
    names = {plain(name) for name in KIND_NAMES.get(instrument.kind, ())} | {plain(instrument.kind)}
    return wanted in names or wanted.removesuffix("s") in names


def _part(wanted: str, instrument: Named) -> bool:
    return len(wanted) >= 3 and wanted in plain(instrument.name)


def _codes(instruments: Iterable[Named]) -> str:
    return ", ".join(_list(instruments))


def _list(instruments: Iterable[Named]) -> list[str]:
    return sorted(instrument.code for instrument in instruments)[:_SHOWN_MAX]
