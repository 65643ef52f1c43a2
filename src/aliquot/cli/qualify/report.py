"""The report of a qualification: JSON signed by the log's key, and a PDF with room for names and signatures by hand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import aliquot
from aliquot.cli.qualify.steps import Outcome
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.ledger.contracts import SignedDocument
from aliquot.ledger.documents import signed_document
from aliquot.ledger.note import LogKey
from aliquot.platform.pdf import Unprintable, typeset

_TEMPLATE = Path(__file__).with_name("qualification.typ")
_NO_GLYPH = "Some characters are in no font of this machine and appear as boxes; the JSON holds them."
_STATEMENT = (
    "This report says what was expected and found on this machine. It supports the laboratory's validation of its use of Aliquot; "
    "requirements, risk assessment, acceptance and the decision to release remain the laboratory's."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which qualification, of what, by whom."""

    kind: str
    """`installation` or `operation`."""
    subject: str
    """What was qualified."""
    executor: str
    reviewer: str
    host: str
    login: str
    """The user of the operating system who ran it."""
    started_at: str


def document(order: Order, outcomes: Sequence[Outcome], clock: Clock) -> dict[str, Any]:
    results = [outcome.result for outcome in outcomes]
    return {
        "title": f"{order.kind.capitalize()} qualification",
        "statement": _STATEMENT,
        **asdict(order),
        "software": {"name": "Aliquot", "version": aliquot.__version__},
        "ended_at": rfc3339(clock.now()),
        "passed": results.count("pass"),
        "failed": results.count("fail"),
        "not_executed": results.count("not executed"),
        "result": "pass" if set(results) == {"pass"} else "fail",
        "steps": [asdict(outcome) for outcome in outcomes],
    }


def write(folder: Path, name: str, value: dict[str, Any], key: LogKey) -> SignedDocument:
    """Write `NAME.json` and `NAME.pdf`; what was signed. Raises OSError; refuses to replace files."""
    signed = signed_document(key, f"{value['kind']} qualification", value)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.json").open("xb") as file:
        file.write(signed.file)
    with (folder / f"{name}.pdf").open("xb") as file:
        file.write(pdf(value, signed, key.vkey))
    return signed


def pdf(value: Mapping[str, Any], signed: SignedDocument, vkey: str) -> bytes:
    """The report as a tagged PDF, with its JSON as an attachment."""
    data = {
        "report": value, "sha256": signed.sha256, "file_sha256": sha256(signed.file).hexdigest(), "json": signed.file.decode(),
        "vkey": vkey, "origin": json.loads(signed.file)["origin"], "warning": "",
    }  # fmt: skip
    try:
        return typeset(_TEMPLATE, data)
    except Unprintable:
        return typeset(_TEMPLATE, data | {"warning": _NO_GLYPH}, standard=None)
