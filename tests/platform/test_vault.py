"""Encryption at rest: what opens, what must not, and what survives a crash."""

import secrets
import stat
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.platform.vault import SITE, Damaged, Erased, RootKeyError, Vault, load_root_key

ROOT = bytes(range(32))


@pytest.fixture
def person(vault: Vault) -> uuid.UUID:
    subject = uuid.uuid4()
    vault.ensure_subject(subject)
    return subject


@pytest.mark.rule("HIPAA 164.312(a)(2)(iv)")
def test_what_is_sealed_opens_only_in_its_place(vault: Vault, person: uuid.UUID) -> None:
    sealed = vault.seal(person, b"secret", aad="message.body:1")
    assert vault.open(sealed, aad="message.body:1") == b"secret"
    with pytest.raises(Damaged):
        vault.open(sealed, aad="message.body:2")


@given(position=st.integers(0, 200), change=st.integers(1, 255))
def test_a_changed_byte_never_opens(tmp_path_factory: pytest.TempPathFactory, position: int, change: int) -> None:
    vault = Vault(ROOT, tmp_path_factory.mktemp("vault"))
    sealed = bytearray(vault.seal(SITE, b"x" * 100, aad="a"))
    sealed[position % len(sealed)] ^= change
    with pytest.raises((Damaged, Erased)):
        vault.open(bytes(sealed), aad="a")


@pytest.mark.parametrize("garbage", [b"", b"\x01", b"\x02" + bytes(60), bytes(45)])
def test_garbage_is_damaged_not_a_crash(vault: Vault, garbage: bytes) -> None:
    with pytest.raises(Damaged):
        vault.open(garbage, aad="a")


def test_another_person_s_label_on_a_ciphertext_does_not_open_it(vault: Vault, person: uuid.UUID) -> None:
    other = uuid.uuid4()
    vault.ensure_subject(other)
    sealed = vault.seal(person, b"secret", aad="a")
    with pytest.raises(Damaged):
        vault.open(sealed[:1] + other.bytes + sealed[17:], aad="a")


@pytest.mark.rule("GDPR 17")
def test_an_erased_subject_is_gone_for_every_process(tmp_path: Path) -> None:
    one, two = Vault(ROOT, tmp_path), Vault(ROOT, tmp_path)
    subject, kept = uuid.uuid4(), uuid.uuid4()
    for each in (subject, kept):
        one.ensure_subject(each)
    sealed, safe = one.seal(subject, b"gone", aad="a"), one.seal(kept, b"stays", aad="a")
    assert two.open(sealed, aad="a") == b"gone"
    one.erase(subject)
    for vault in (one, two, Vault(ROOT, tmp_path)):
        with pytest.raises(Erased):
            vault.open(sealed, aad="a")
        assert vault.open(safe, aad="a") == b"stays"


def test_a_subject_made_by_another_process_is_found(tmp_path: Path) -> None:
    one, two = Vault(ROOT, tmp_path), Vault(ROOT, tmp_path)
    subject = uuid.uuid4()
    one.ensure_subject(subject)
    two.ensure_subject(subject)
    assert two.open(one.seal(subject, b"x", aad="a"), aad="a") == b"x"
    assert (tmp_path / "subjects").stat().st_size == 3 * (16 + 12 + 48)  # and two of the site


@pytest.mark.parametrize("cut", range(1, 76, 15))
def test_a_crash_while_appending_a_key_loses_no_other(tmp_path: Path, cut: int) -> None:
    first = Vault(ROOT, tmp_path)
    subject = uuid.uuid4()
    first.ensure_subject(subject)
    sealed = first.seal(subject, b"x", aad="a")
    with (tmp_path / "subjects").open("ab") as file:
        file.write(secrets.token_bytes(cut))
    again = Vault(ROOT, tmp_path)
    assert again.open(sealed, aad="a") == b"x"
    later = uuid.uuid4()
    again.ensure_subject(later)
    assert Vault(ROOT, tmp_path).open(again.seal(later, b"y", aad="a"), aad="a") == b"y"


def test_a_process_that_looked_away_for_two_erasures_notices_them(tmp_path: Path) -> None:
    one, two = Vault(ROOT, tmp_path), Vault(ROOT, tmp_path)
    subjects = [uuid.uuid4() for _ in range(6)]
    for subject in subjects:
        one.ensure_subject(subject)
    sealed = [one.seal(subject, b"gone", aad="a") for subject in subjects]
    assert [two.open(each, aad="a") for each in sealed] == [b"gone"] * 6
    for first, second in zip(subjects[::2], subjects[1::2], strict=True):
        old = (tmp_path / "subjects").read_bytes()
        one.erase(first)
        one.erase(second)  # a file system gives the number of the first file to the third one, if nobody holds it
        assert first.bytes in old
        for each in sealed[: 2 * (subjects.index(second) // 2 + 1)]:
            with pytest.raises(Erased):
                two.open(each, aad="a")
    two.forget_erased()
    assert not two.knows(subjects[0])
    assert two.knows(SITE)


def test_the_site_s_own_keys_are_never_destroyed(vault: Vault) -> None:
    for own in (SITE, uuid.UUID(int=1)):
        with pytest.raises(ValueError, match="never"):
            vault.erase(own)
    with pytest.raises(Erased):
        vault.seal(uuid.UUID(int=1), b"x", aad="a")  # it derives keys and seals nothing


def test_the_wrong_root_key_is_said_at_once(tmp_path: Path) -> None:
    Vault(ROOT, tmp_path)
    with pytest.raises(RootKeyError, match="another root key"):
        Vault(secrets.token_bytes(32), tmp_path)


def test_commitments_depend_on_the_subject_and_the_content(vault: Vault, person: uuid.UUID) -> None:
    assert vault.commit(person, b"a") == vault.commit(person, b"a")
    assert vault.commit(person, b"a") != vault.commit(person, b"b")
    assert vault.commit(person, b"a")[0] != vault.commit(SITE, b"a")[0]


def test_the_root_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    key = load_root_key(None, tmp_path)
    assert load_root_key(None, tmp_path) == key
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o600
    assert load_root_key(key.hex(), tmp_path / "other") == key


def test_a_missing_root_key_is_never_replaced_while_keys_depend_on_it(tmp_path: Path) -> None:
    Vault(load_root_key(None, tmp_path), tmp_path)
    (tmp_path / "root").unlink()
    with pytest.raises(RootKeyError, match="missing"):
        load_root_key(None, tmp_path)


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "00" * 31])
def test_a_malformed_root_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "root").write_text(text)
    with pytest.raises(RootKeyError) as refused:
        load_root_key(None, tmp_path)
    assert not text or text not in str(refused.value)
