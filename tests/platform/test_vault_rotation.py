"""Rotation of the root key: nothing is lost, whatever happens in between; root keys from a file, the environment and a KMS."""

import base64
import hmac
import json
import os
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aliquot.platform.key_store import RECORD
from aliquot.platform.root_keys import FileRootKeys, GivenRootKeys, RootKeyError, load_wrapper, root_keys
from aliquot.platform.vault import Vault

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PEOPLE = [uuid.UUID(int=n) for n in range(100, 105)]


class Crash(BaseException):
    """The process died here."""


def furnished(vault: Vault) -> tuple[list[bytes], bytes]:
    """Something sealed for everybody, and something derived."""
    for person in PEOPLE:
        vault.ensure_subject(person)
    return [vault.seal(person, b"kept", aad="a") for person in PEOPLE], vault.derive("jwt")


def check(vault: Vault, sealed: list[bytes], derived: bytes) -> None:
    assert [vault.open(each, aad="a") for each in sealed] == [b"kept"] * len(sealed)
    assert vault.derive("jwt") == derived


def test_everything_opens_under_the_new_root_key_also_in_a_running_process(tmp_path: Path) -> None:
    vault, other = Vault(FileRootKeys(tmp_path), tmp_path), Vault(FileRootKeys(tmp_path), tmp_path)
    sealed, derived = furnished(vault)
    before, wrapped = (tmp_path / "root").read_text(), (tmp_path / "subjects").read_bytes()
    assert vault.rotate_root() == len(PEOPLE) + 2
    after = (tmp_path / "subjects").read_bytes()
    assert (tmp_path / "root").read_text() != before
    assert {after[at : at + RECORD] for at in range(0, len(after), RECORD)}.isdisjoint(
        wrapped[at : at + RECORD] for at in range(0, len(wrapped), RECORD)
    )
    for each in (vault, other, Vault(FileRootKeys(tmp_path), tmp_path)):
        check(each, sealed, derived)
    other.ensure_subject(uuid.UUID(int=200))  # wrapped with the new one
    assert Vault(FileRootKeys(tmp_path), tmp_path).knows(uuid.UUID(int=200))
    with pytest.raises(RootKeyError, match="another root key"):
        Vault(bytes.fromhex(before.strip()), tmp_path)


def test_a_crash_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = 0
    for step in range(100):
        folder = tmp_path / str(step)
        vault = Vault(FileRootKeys(folder), folder)
        sealed, derived = furnished(vault)
        left = [step]

        def guarded(real, left=left):  # type: ignore[no-untyped-def]
            def call(*args, **kwargs):  # type: ignore[no-untyped-def]
                if left[0] == 0:
                    raise Crash
                left[0] -= 1
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", guarded(os.fsync))
            patched.setattr(Path, "rename", guarded(Path.rename))
            patched.setattr(os, "open", guarded(os.open))
            patched.setattr(Path, "open", guarded(Path.open))
            try:
                vault.rotate_root()
            except Crash:
                crashed += 1
        again = Vault(FileRootKeys(folder), folder)
        check(again, sealed, derived)
        assert not (folder / "root.next").exists()
        again.rotate_root()
        check(Vault(FileRootKeys(folder), folder), sealed, derived)
        if left[0] > 0:
            break
    assert crashed > 10


def test_a_damaged_key_stops_the_rotation_before_anything_changed(tmp_path: Path) -> None:
    vault = Vault(FileRootKeys(tmp_path), tmp_path)
    sealed, derived = furnished(vault)
    path = tmp_path / "subjects"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RootKeyError, match="damaged"):
        Vault(FileRootKeys(tmp_path), tmp_path).rotate_root()
    path.write_bytes(whole)
    check(Vault(FileRootKeys(tmp_path), tmp_path), sealed, derived)


def test_an_installation_that_derived_from_the_root_key_goes_on_with_the_same_keys(tmp_path: Path) -> None:
    vault = Vault(OLD, tmp_path)
    sealed, _ = furnished(vault)
    path = tmp_path / "subjects"
    records = [path.read_bytes()[at : at + RECORD] for at in range(0, path.stat().st_size, RECORD)]
    path.write_bytes(b"".join(r for r in records if uuid.UUID(bytes=r[:16]).int != 1))  # as it was before there was the site's secret
    migrated = Vault(GivenRootKeys(OLD, NEW), tmp_path)
    derived = migrated.derive("jwt")
    assert derived == hmac.digest(OLD, b"aliquot/derive/jwt", "sha256")
    migrated.rotate_root()
    check(Vault(NEW, tmp_path), sealed, derived)


def test_from_the_environment_the_next_key_must_be_given(tmp_path: Path) -> None:
    vault = Vault(root_keys(tmp_path, configured=OLD.hex()), tmp_path)
    sealed, derived = furnished(vault)
    with pytest.raises(RootKeyError, match="ALIQUOT_ROOT_KEY_NEXT"):
        vault.rotate_root()
    both = root_keys(tmp_path, configured=OLD.hex(), following=NEW.hex())
    Vault(both, tmp_path).rotate_root()
    for keys in (both, root_keys(tmp_path, configured=NEW.hex())):  # a start before the environment was changed, and one after
        check(Vault(keys, tmp_path), sealed, derived)


class Kms(BaseHTTPRequestHandler):
    """Wraps and unwraps over HTTP with a key that never leaves it."""

    key = AESGCM(bytes(32))
    up = True

    def do_POST(self) -> None:
        secret = base64.b64decode(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"])
        done = self.key.encrypt(b"n" * 12, secret, None) if self.path == "/wrap" else self.key.decrypt(b"n" * 12, secret, None)
        self.send_response(200 if Kms.up else 503)
        self.end_headers()
        self.wfile.write(base64.b64encode(done) if Kms.up else b"")

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


class LoopbackKms:
    """The plug-in a site would write."""

    url = ""

    def wrap(self, secret: bytes) -> bytes:
        return self._ask("/wrap", secret)

    def unwrap(self, wrapped: bytes) -> bytes:
        return self._ask("/unwrap", wrapped)

    def _ask(self, path: str, data: bytes) -> bytes:
        body = json.dumps({"data": base64.b64encode(data).decode()}).encode()
        with urlopen(Request(LoopbackKms.url + path, body), timeout=5) as answer:
            return base64.b64decode(answer.read())


def test_a_kms_keeps_the_root_key(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kms)
    LoopbackKms.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        keys = root_keys(tmp_path, kms=f"{__name__}:LoopbackKms")
        vault = Vault(keys, tmp_path)
        sealed, derived = furnished(vault)
        root = keys.load()
        assert not (tmp_path / "root").exists()
        for form in (root, root.hex().encode(), base64.b64encode(root)):
            assert not any(form in path.read_bytes() for path in tmp_path.iterdir())
        vault.rotate_root()
        assert keys.load() != root
        check(Vault(root_keys(tmp_path, kms=f"{__name__}:LoopbackKms"), tmp_path), sealed, derived)
        Kms.up = False
        with pytest.raises(RootKeyError, match="key management service did not unwrap"):
            keys.load()
    finally:
        Kms.up = True
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("dotted", ["nothing", "no.such.module:x", "json:nothing", "uuid:uuid4"])
def test_a_plug_in_that_is_none_is_refused(dotted: str) -> None:
    with pytest.raises(RootKeyError, match="ALIQUOT_KMS"):
        load_wrapper(dotted)
