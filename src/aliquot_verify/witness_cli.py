"""`aliquot-verify witness keygen | run | serve`: run by somebody other than the log's owner, on another machine."""

import argparse
import base64
import binascii
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from aliquot_verify.bundle import Bundle
from aliquot_verify.cosign import Cosigner, parse_cosigner
from aliquot_verify.faults import Fault, Unusable
from aliquot_verify.merkle import tile_sizes
from aliquot_verify.note import Head, Key, NoteError, parse_key
from aliquot_verify.witness import Memory, Refused, Witness, by_leaves, by_proof
from aliquot_verify.witness_http import serve

_CODES = {"rolled back": Fault.TRUNCATED, "forked": Fault.FORKED, "bad signature": Fault.BAD_SIGNATURE, "unknown": Fault.BAD_KEY}
_UNREACHABLE = 3
_ANSWER_BYTES_MAX = 1_000_000
_SECONDS = 30


class Unreachable(Exception):
    """The log's server did not answer as expected."""


def main(given: list[str]) -> int:
    """0 when cosigned; the codes of the verifier for what the log did; 3 when it cannot be reached."""
    options = _options(given)
    try:
        if options.command == "keygen":
            return _keygen(options.name, options.key)
        witness = Witness(_cosigner(options.key), _keys(options.log), options.state, time.time)
        if options.command == "serve":
            return serve(witness, options.host, options.port)
        line = _from_bundle(witness, options.bundle) if options.bundle else _from_server(witness, options.url, options.token_file)
    except Refused as refusal:
        print(f"aliquot-verify witness: {refusal}", file=sys.stderr)
        return _CODES.get(refusal.kind, Fault.DAMAGED)
    except Unusable as error:
        print(f"aliquot-verify witness: {error}", file=sys.stderr)
        return error.finding.fault
    except (Unreachable, NoteError, OSError) as error:
        print(f"aliquot-verify witness: {error}", file=sys.stderr)
        return _UNREACHABLE
    print(line, end="")
    return 0


def _options(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="aliquot-verify witness",
        description="Watch a log: cosign its checkpoint if it continues the last one seen, refuse forks and roll-backs.",
        epilog="exit codes: 0 cosigned, 3 unreachable, 12 not signed by the log, 30 rolled back, 31 forked",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    keygen = commands.add_parser("keygen", help="make the witness's key; prints its verifier key")
    keygen.add_argument("name", help="the witness's name, e.g. witness.example.org/lab")
    keygen.add_argument("--key", type=Path, required=True, help="file to write the private key to")
    for name, text in (
        ("run", "look once, cosign, and hand the cosignature to the server"),
        ("serve", "answer C2SP add-checkpoint over HTTP"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--key", type=Path, required=True, help="the witness's private key")
        command.add_argument("--state", type=Path, required=True, help="file with the last checkpoint seen of each log")
        command.add_argument("--log", action="append", required=True, help="a log's verifier key; may be given several times")
        if name == "run":
            source = command.add_mutually_exclusive_group(required=True)
            source.add_argument("--url", help="the Aliquot server, e.g. https://lab.example.org")
            source.add_argument("--bundle", type=Path, help="an export instead of a server")
            command.add_argument("--token-file", type=Path, help="file with an API key that may read the audit log")
        else:
            command.add_argument("--host", default="127.0.0.1")
            command.add_argument("--port", type=int, default=8099)
    return parser.parse_args(given)


def _keygen(name: str, path: Path) -> int:
    if not name or any(c.isspace() or c == "+" for c in name):
        raise NoteError("a witness's name holds no spaces and no plus sign")
    cosigner = Cosigner(name, secrets.token_bytes(32))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(cosigner.secret_line() + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(cosigner.key.vkey)
    return 0


def _cosigner(path: Path) -> Cosigner:
    return parse_cosigner(path.read_text("ascii"))


def _keys(vkeys: list[str]) -> list[Key]:
    return [parse_key(vkey) for vkey in vkeys]


def _from_bundle(witness: Witness, path: Path) -> str:
    with Bundle(path) as bundle:
        note = bundle.read("checkpoint")

        def prove(kept: Memory, head: Head) -> None:
            sizes = [name for name in tile_sizes(head.size) if name.startswith("tile/0/")] if head.size <= 256 * len(bundle.names) else []
            by_leaves(b"".join(bundle.read(name) for name in sizes))(kept, head)

        return witness.add(note, prove)


def _from_server(witness: Witness, url: str, token_file: Path | None) -> str:
    token = token_file.read_text("utf-8").strip() if token_file else None
    fetch = _client(url.rstrip("/"), token)
    note = fetch("/tlog/checkpoint", None)

    def prove(kept: Memory, head: Head) -> None:
        lines = fetch(f"/tlog/consistency?old={kept.size}&new={head.size}", None).decode("ascii", "replace").splitlines()
        by_proof(_hashes(lines))(kept, head)

    line = witness.add(note, prove)
    fetch("/api/audit/cosignatures", _own_lines_only(note) + line.encode())
    return line


def _own_lines_only(note: bytes) -> bytes:
    """The note with the log's own signature: other witnesses' lines are not ours to hand on."""
    text, _, signatures = note.rpartition(b"\n\n")
    origin = note.partition(b"\n")[0]
    kept = [line for line in signatures.split(b"\n") if line.split(b" ")[1:2] == [origin]]
    return text + b"\n\n" + b"".join(line + b"\n" for line in kept)


def _hashes(lines: list[str]) -> list[bytes]:
    try:
        return [base64.b64decode(line, validate=True) for line in lines]
    except binascii.Error as error:
        raise NoteError("the consistency proof is malformed") from error


def _client(url: str, token: str | None) -> Callable[[str, bytes | None], bytes]:
    if not url.startswith(("https://", "http://")):
        raise Unreachable("--url must begin with https:// or http://")

    def fetch(path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "text/plain; charset=utf-8"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(url + path, data=body, headers=headers)  # noqa: S310 - the scheme was checked
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
                content: bytes = answer.read(_ANSWER_BYTES_MAX)
                return content
        except urllib.error.HTTPError as error:
            raise Unreachable(f"{url}{path} answered {error.code}") from error
        except OSError as error:
            raise Unreachable(f"{url} cannot be reached ({type(error).__name__})") from error

    return fetch
