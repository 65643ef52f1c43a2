"""Instruments and protocols as people send them, over HTTP and in a file: every text and number bounded, unknown fields refused."""

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from aliquot.kernel.visible import seen_line
from aliquot.lab.contracts import (
    SAMPLES_MAX,
    InstrumentChange,
    Kind,
    NewInstrument,
    Parameter,
    Protocol,
    ProtocolText,
    Reading,
    Setting,
    Step,
)
from aliquot.platform.http import Body

_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
_MONTH_SECONDS = 30 * 24 * 3600


def _seen(text: str) -> str:
    if not seen_line(text):
        raise ValueError("holds characters that cannot be seen, or marks that turn the direction of text: it would not read as it is")
    return text


_SEEN = AfterValidator(_seen)
"""What people confirm a start by is what it looks like."""

Code = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*(-[A-Z0-9]+)*$", max_length=32, examples=["PCR-02"])]
_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=_PRINTABLE), _SEEN]
_Unit = Annotated[str, StringConstraints(min_length=1, max_length=20, pattern=_PRINTABLE), _SEEN]
_Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e9, le=1e9)]
_Seconds = Annotated[int, Field(strict=True, ge=0, le=_MONTH_SECONDS)]
_Value = (
    Annotated[bool, Field(strict=True)] | Annotated[int, Field(strict=True, ge=-(10**9), le=10**9)] | _Number
    | Annotated[str, Field(max_length=200, pattern=_PRINTABLE), _SEEN]
)  # fmt: skip
_Settings = Annotated[dict[_Word, _Value], Field(max_length=20)]
_Driver = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class InstrumentBody(Body):
    code: Code
    name: _Name
    kind: Kind
    location: _Name
    driver: _Driver = "simulated"
    settings: _Settings = {}
    last_service_on: date | None = None

    def new(self) -> NewInstrument:
        return NewInstrument(code=self.code, kind=self.kind, **_known(self))

    def change(self) -> InstrumentChange:
        """What makes a present instrument like this one."""
        return InstrumentChange(**_known(self))


class InstrumentChangeBody(Body):
    """What is left out stays as it is. With `version`, only if the instrument still has that one."""

    name: _Name | None = None
    location: _Name | None = None
    driver: _Driver | None = None
    settings: _Settings | None = None
    last_service_on: date | None = None
    version: Annotated[int, Field(strict=True, ge=1)] | None = None

    def change(self) -> InstrumentChange:
        return InstrumentChange(**_known(self))


def _known(body: InstrumentBody | InstrumentChangeBody) -> dict[str, Any]:
    day, settings = body.last_service_on, body.settings
    checked: dict[str, Setting] | None = None if settings is None else dict(settings)
    return {
        "name": body.name, "location": body.location, "driver": body.driver, "settings": checked,
        "last_service_on": None if day is None else day.isoformat(),
    }  # fmt: skip


class ReadingBody(Body):
    name: _Name
    value: _Number
    unit: _Unit
    set_by: _Word | None = None


class StepBody(Body):
    name: _Name
    seconds: _Seconds
    where: Kind | Literal["bench"]
    readings: Annotated[tuple[ReadingBody, ...], Field(max_length=20)] = ()
    repeat: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    repeat_by: _Word | None = None
    per_sample: bool = False


class ParameterBody(Body):
    name: _Word
    unit: _Unit
    default: _Number
    minimum: _Number
    maximum: _Number
    integer: bool = False


class ProtocolBody(Body):
    code: Code
    name: _Name
    summary: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000, pattern=_PRINTABLE), _SEEN]
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=6)]
    steps: Annotated[tuple[StepBody, ...], Field(min_length=1, max_length=200)]
    parameters: Annotated[tuple[ParameterBody, ...], Field(max_length=20)] = ()
    warm_up_seconds: _Seconds = 60
    max_samples: Annotated[int, Field(strict=True, ge=1, le=SAMPLES_MAX)] = 96
    version: Annotated[int, Field(strict=True, ge=1)] | None = None
    """The one this is to be; the next one when left out."""

    def text(self) -> ProtocolText:
        return ProtocolText(
            name=self.name, summary=self.summary, kinds=self.kinds, warm_up_seconds=self.warm_up_seconds, max_samples=self.max_samples,
            parameters=tuple(Parameter(**parameter.model_dump()) for parameter in self.parameters),
            steps=tuple(
                Step(**step.model_dump(exclude={"readings"}), readings=tuple(Reading(**r.model_dump()) for r in step.readings))
                for step in self.steps
            ),
        )  # fmt: skip


def fields_of(protocol: Protocol) -> dict[str, Any]:
    """A protocol as a `ProtocolBody` takes it; what has its default is left out."""
    text = protocol.text
    steps = [_told(asdict(step) | {"readings": [_told(asdict(r), ReadingBody) for r in step.readings]}, StepBody) for step in text.steps]
    parameters = [_told(asdict(parameter), ParameterBody) for parameter in text.parameters]
    own = {
        "code": protocol.code, "name": text.name, "summary": text.summary, "kinds": list(text.kinds),
        "warm_up_seconds": text.warm_up_seconds, "max_samples": text.max_samples,
    }  # fmt: skip
    return own | {"parameters": parameters, "steps": steps}


def _told(values: dict[str, Any], body: type[Body]) -> dict[str, Any]:
    def default(name: str) -> Any:
        return body.model_fields[name].default

    return {name: value for name, value in values.items() if value not in (None, [], ()) and value != default(name)}
