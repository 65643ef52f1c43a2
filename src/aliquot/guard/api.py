"""The door to the guard."""

from aliquot.guard.contracts import PatientClass
from aliquot.guard.identifiers import identified, plain, speaks_of_one


def patient_class(text: str) -> PatientClass:
    """The class of a text that could be read whole."""
    seen = plain(text)
    if identified(seen):
        return "patient"
    return "undecided" if speaks_of_one(seen) else "none"
