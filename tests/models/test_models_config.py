"""The models file: a damaged one is refused with the name of what is wrong, never with a value."""

from decimal import Decimal
from pathlib import Path

import pytest

from aliquot.models.config import FREE, load_models
from aliquot.platform.settings import SettingsError

GOOD = """
[[models]]
name = "local"
provider = "openai-compatible"
base_url = "http://127.0.0.1:9001/v1"
model = "qwen2.5-1.5b-instruct"
api_key_env = "LOCAL_KEY"
context_tokens = 32768
tools = true
patient_data = true
price_per_million_tokens = { input = 0.1, output = 0.25, currency = "USD" }

[[models]]
name = "cloud"
provider = "openai"
model = "gpt-4o-mini"
tools = true
"""
ENTRY = '[[models]]\nname = "m"\nprovider = "openai-compatible"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "x"\n'


def load(folder: Path, text: str | bytes) -> object:
    path = folder / "models.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_models(path)


def test_the_file_of_the_contract_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(GOOD)
    local, cloud = load_models(path)
    assert (local.name, local.patient_data, local.price.output) == ("local", True, Decimal("0.25"))
    assert local.price.cost(1_000_000, 1_000_000) == Decimal("0.35")
    assert (cloud.patient_data, cloud.price.input, cloud.price.output) == (False, Decimal("0.150"), Decimal("0.6"))
    assert load_models(None) == ()


def test_an_own_endpoint_without_a_price_is_free(tmp_path: Path) -> None:
    [model] = load(tmp_path, ENTRY)  # type: ignore[misc]  # a tuple of one
    assert model.price == FREE


def test_long_calls_cost_what_the_provider_asks_for_them(tmp_path: Path) -> None:
    [model] = load(tmp_path, '[[models]]\nname = "s"\nprovider = "anthropic"\nmodel = "claude-sonnet-4-5"\n')  # type: ignore[misc]
    price = model.price
    assert price.cost(200_000, 1_000_000) == Decimal("0.6") + 15
    assert price.cost(200_001, 0) == Decimal(6) * 200_001 / 1_000_000
    assert price.cost(1_000, 0, cached_tokens=1_000) == Decimal("0.0003")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[models]\n", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        ("models = 3", "[[models]]"),
        ("model = []", "'model'"),
        (ENTRY + "colour = 1\n", "colour"),
        (ENTRY + 'context_tokens = "many"\n', "context_tokens"),
        (ENTRY + "context_tokens = -5\n", "context_tokens"),
        (ENTRY + "max_output_tokens = 100000\n", "max_output_tokens"),
        (ENTRY + 'api_key_env = "sk-proj-abc"\n', "api_key_env"),
        (ENTRY + "price_per_million_tokens = { input = -1, output = 1 }\n", "price_per_million_tokens"),
        (ENTRY + "thinking = 5\n", "thinking"),
        (ENTRY + ENTRY, "'m' is used more than once"),
        ('[[models]]\nname = "n"\nprovider = "openai-compatible"\nmodel = "x"\n', "base_url"),
        ('[[models]]\nname = "n"\nprovider = "friendly"\nmodel = "x"\n', "provider"),
        ('[[models]]\nprovider = "openai"\nmodel = "x"\n', "number 1"),
        ('[[models]]\nname = "n"\nprovider = "openai"\nmodel = "unheard-of"\n', "price"),
        ('[[models]]\nname = "n"\nprovider = "bedrock"\nmodel = "x"\napi_key_env = "K"\n', "api_key_env"),
        (ENTRY.replace("http://127", "http://user:hunter2@127"), "base_url"),
        (ENTRY.replace("http://", "ftp://"), "base_url"),
        (
            ENTRY
            + 'price_per_million_tokens = { input = 1, output = 1 }\n[[models]]\nname = "e"\nprovider = "openai"\nmodel = "x"\n'
            + 'price_per_million_tokens = { input = 1, output = 1, currency = "EUR" }\n',
            "one currency",
        ),
    ],
)
def test_a_damaged_file_names_what_is_wrong(tmp_path: Path, text: str | bytes, named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert named in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "sk-proj" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(SettingsError, match="cannot be read"):
            load_models(path)
