"""Settings: where they come from, and what a damaged file or value says."""

from pathlib import Path

import pytest

from aliquot.platform.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path("aliquot.toml").write_text(text)


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 9000\nhost = '::1'\n[limits]\nrun_starts_per_minute = 7\ntool_seconds = 3\n")
    monkeypatch.setenv("ALIQUOT_PORT", "9001")
    monkeypatch.setenv("ALIQUOT_LIMIT_TOOL_SECONDS", "4")
    settings = load_settings()
    assert (settings.port, settings.host) == (9001, "::1")
    assert (settings.limits.run_starts_per_minute, settings.limits.tool_seconds) == (7, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = ", "not valid TOML"),
        ("prot = 1", "'prot'"),
        ("[limits]\nrun_startz = 1", "'run_startz'"),
        ("port = 'many'", "port"),
        ("port = 70000", "port"),
    ],
)
def test_a_damaged_file_is_refused_by_name(text: str, said: str) -> None:
    write(text)
    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_a_wrong_secret_is_never_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIQUOT_PORT", "s3cret-value")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "s3cret-value" not in str(refused.value)


def test_a_named_file_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIQUOT_CONFIG", "nowhere.toml")
    with pytest.raises(SettingsError, match="nowhere"):
        load_settings()
