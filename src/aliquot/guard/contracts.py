"""What other domains see of the guard."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

PatientClass = Literal["none", "patient", "undecided"]
"""`patient`: an identifier of a patient was found. `undecided`: the text speaks of one particular patient, or it could not be read;
it counts as patient data wherever that matters. `none`: neither."""

Naming = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[str, ...]]
"""Arguments of a call and the schema they fit → their unnamed values."""
