"""Signed notes, checkpoints and the key file."""

import base64
import stat
from pathlib import Path

import pytest

from aliquot.ledger.note import LogKey, LogKeyError, NoteError, TreeHead, checkpoint_text, load_log_key, parse_checkpoint

# The example of golang.org/x/mod/sumdb/note.
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SIGNATURE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"


def test_the_published_vector() -> None:
    key = LogKey("PeterNeumann", SEED)
    assert key.vkey == VKEY
    assert key.sign(TEXT) == f"{TEXT}\n{SIGNATURE}"
    assert key.open(f"{TEXT}\n{SIGNATURE}") == TEXT


def test_a_changed_note_does_not_open(tmp_path: Path) -> None:
    key, other = load_log_key(tmp_path / "a"), load_log_key(tmp_path / "b")
    note = key.sign("text\n")
    assert key.open(note) == "text\n"
    assert key.open(note + other.signature_line("text\n")) == "text\n"  # a witness's line is not ours to judge
    for bad in (note.replace("text", "next"), other.sign("text\n"), "text\n", "", note.replace(key.origin, other.origin)):
        with pytest.raises(NoteError):
            key.open(bad)


def test_a_checkpoint_is_read_back() -> None:
    head = TreeHead("aliquot/x", 70_000, bytes(range(32)))
    assert checkpoint_text(head) == f"aliquot/x\n70000\n{base64.b64encode(bytes(range(32))).decode()}\n"
    assert parse_checkpoint(checkpoint_text(head)) == head


@pytest.mark.parametrize("size", ["01", "-1", "+1", "1 ", "", "x", "٣", "1_0", "9" * 5_000])
def test_a_malformed_size_is_refused(size: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(f"aliquot/x\n{size}\n{base64.b64encode(bytes(32)).decode()}\n")


@pytest.mark.parametrize("text", ["", "a\n", "a\n1\n", "a\n1\nAAAA\n", "a\n1\n!\n", "\n1\n" + base64.b64encode(bytes(32)).decode() + "\n"])
def test_other_texts_are_no_checkpoints(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text)


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    first = load_log_key(tmp_path / "keys")
    assert load_log_key(tmp_path / "keys").vkey == first.vkey
    assert stat.S_IMODE((tmp_path / "keys/log").stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "keys").iterdir()] == ["log"]
    assert first.origin.startswith("aliquot/")


@pytest.mark.parametrize("content", ["", "nonsense", "PRIVATE+KEY+aliquot/x+00000000+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", "ü"])
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "log").write_text(content)
    with pytest.raises(LogKeyError, match="log"):
        load_log_key(tmp_path)
