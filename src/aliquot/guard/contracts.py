"""What other domains see of the guard."""

from typing import Literal

PatientClass = Literal["none", "patient", "undecided"]
"""`patient`: an identifier of a patient was found. `undecided`: the text speaks of one particular patient, or it could not be read;
it counts as patient data wherever that matters. `none`: neither."""
