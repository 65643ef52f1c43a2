"""The class of a text: identifiers are found wherever they stand, laboratory language is left alone, nothing is quadratic."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.guard.api import patient_class

RANK = {"none": 0, "undecided": 1, "patient": 2}
IDENTIFIERS = [
    "MRN: 00123456", "Patient ID 4711-22", "dob 12/03/1961", "D.O.B.: 1961-03-12", "born on March 3, 1970", "geb. am 3.4.1955",
    "née le 12/04/1980", "SSN 123456789", "078-05-1120", "943 476 5919", "NHS number 9434765919", "AB 12 34 56 C", "756.9217.0769.85",
    "A123456780", "Versichertennummer A123456780", "1EG4-TE5-MK73", "the patient's email is jane@example.org",
    "call the patient at +49 170 1234567", "555-123-4567 is the patient's phone", "patient John Smith", "Patientin Anna Müller",
]  # fmt: skip
ORDINARY = [
    "Which dose is safe for patients with renal failure?", "What is the status of PCR-02?", "start PCR-STD-35 on S-0001, S-0002",
    "run 01a1fd83-926c-724b-9242-f37c79aea456 failed at 2026-11-21T09:42:45Z", "barcode 4006381333931", "write to ann@lab.org",
    "call +49 170 1234567", "How is patient data stored?", "patient safety protocol 12345", "12 µL of 10x buffer, 95 °C for 30 s",
    "GATTACA" * 20, "Room B 123 456", "the freezer was born ready", "943 476 5918", "A123456789", "000-12-3456", "", "😀",
]  # fmt: skip
ONE_PATIENT = ["The patient has a fever", "a 54-year-old man with chest pain", "pt is a 60 yo male", "der 54-jährige klagt", "my patient"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(t, "patient") for t in IDENTIFIERS] + [(t, "undecided") for t in ONE_PATIENT] + [(t, "none") for t in ORDINARY],
)
def test_the_class_of_a_text(text: str, expected: str) -> None:
    assert patient_class(text) == expected


@given(st.sampled_from(IDENTIFIERS), st.text(max_size=200), st.text(max_size=200))
def test_what_stands_around_an_identifier_never_hides_it(identifier: str, before: str, after: str) -> None:
    assert patient_class(f"{before}\n{identifier}\n{after}") == "patient"


@given(st.sampled_from(IDENTIFIERS + ONE_PATIENT + ORDINARY), st.sampled_from(IDENTIFIERS + ONE_PATIENT + ORDINARY))
def test_more_text_never_lowers_the_class(a: str, b: str) -> None:
    assert RANK[patient_class(f"{a}\n{b}")] >= max(RANK[patient_class(a)], RANK[patient_class(b)])


@given(st.sampled_from(IDENTIFIERS), st.data())
def test_invisible_characters_and_other_digits_hide_nothing(identifier: str, data: st.DataObject) -> None:
    wide = identifier.translate({ord(str(i)): chr(0xFF10 + i) for i in range(10)} | {ord("-"): "‑", ord(" "): "\u00a0"})
    place = data.draw(st.integers(0, len(wide)))
    unseen = data.draw(st.sampled_from("\u200b\u00ad\u2060\ufeff\u200e"))
    assert patient_class(wide[:place] + unseen + wide[place:]) == "patient"


@given(st.text())
def test_any_text_has_a_class(text: str) -> None:
    assert patient_class(text) in RANK


def test_texts_made_to_be_slow_are_not() -> None:
    """Fails when a rule backtracks quadratically: 32,000 characters then take many seconds."""
    started = time.process_time()
    for part in ("patient 1", "1 ", "1-", "patient a@", "a", "mrn ", "the ", "Aa ", "born ", "patient, ", "dob 1/", "the patient ", "(1)"):
        patient_class(part * (32_000 // len(part)))
        patient_class("patient " + part * (32_000 // len(part)))
    assert time.process_time() - started < 20
