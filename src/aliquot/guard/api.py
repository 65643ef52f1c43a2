"""The door to the guard."""

from collections.abc import Iterable

from aliquot.guard.contracts import PatientClass
from aliquot.guard.identifiers import identified, plain, speaks_of_one
from aliquot.guard.unnamed import Said, still, unnamed, without

__all__ = ["Said", "highest", "patient_class", "still", "unnamed", "without"]

_ORDER: tuple[PatientClass, ...] = ("none", "undecided", "patient")


def patient_class(text: str) -> PatientClass:
    """The class of a text that could be read whole."""
    seen = plain(text)
    if identified(seen):
        return "patient"
    return "undecided" if speaks_of_one(seen) else "none"


def highest(classes: Iterable[PatientClass]) -> PatientClass:
    """The class of several texts together."""
    return max(classes, key=_ORDER.index, default="none")
