"""The people of the demo laboratory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPerson:
    email: str
    name: str
    role: str


DEMO_PEOPLE = (
    DemoPerson(email="scientist@demo.lab", name="Sana Scientist (demo)", role="scientist"),
    DemoPerson(email="reviewer@demo.lab", name="Ravi Reviewer (demo)", role="reviewer"),
    DemoPerson(email="clinician@demo.lab", name="Clara Clinician (demo)", role="clinician"),
    DemoPerson(email="viewer@demo.lab", name="Vera Viewer (demo)", role="viewer"),
)
