"""The models file (CONTRACT §9): which language models this site may use, in order of fallback.

Read once at start. A damaged file is refused with a sentence that names the entry and the key, never a value. Keys of
providers are not in the file but in the environment variables it names; they are read when a connection is made.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, TypeAdapter, ValidationError, field_validator, model_validator

from aliquot.platform.settings import SettingsError

Provider = Literal["openai", "anthropic", "bedrock", "openai-compatible"]
Money = Annotated[Decimal, BeforeValidator(lambda v: Decimal(str(v)) if isinstance(v, int | float) else v), Field(ge=0, le=1_000_000)]

_MAX_FILE_BYTES = 1_000_000
_PRICE_SOURCE = {"openai": "openai", "anthropic": "anthropic", "bedrock": "aws"}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rates(_Entry):
    input: Money
    output: Money
    cached_input: Money | None = None
    """For input tokens the provider took from its cache; default the price of any other input."""


class LongPrice(_Rates):
    """Rates of a call whose input is longer than `above_tokens`."""

    above_tokens: int = Field(ge=1)


class Price(_Rates):
    """Money per million tokens."""

    currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    long: tuple[LongPrice, ...] = ()

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> Decimal:
        """The price of one call; cached tokens are part of `input_tokens`."""
        rates = max((r for r in self.long if input_tokens > r.above_tokens), key=lambda r: r.above_tokens, default=self)
        cached = min(cached_tokens, input_tokens)
        cached_price = rates.input if rates.cached_input is None else rates.cached_input
        return ((input_tokens - cached) * rates.input + cached * cached_price + output_tokens * rates.output) / 1_000_000


FREE = Price(input=Decimal(0), output=Decimal(0))


class ModelConfig(_Entry):
    """One `[[models]]` entry."""

    name: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")
    provider: Provider
    model: str = Field(min_length=1, max_length=300)
    base_url: str | None = None
    api_key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    api_version: str | None = Field(None, max_length=40)
    """Azure OpenAI: the API version; `base_url` is then the Azure resource and `model` the deployment."""
    aws_region: str | None = Field(None, pattern=r"^[a-z0-9-]{4,40}$")
    context_tokens: int = Field(8_192, ge=512, le=100_000_000)
    max_output_tokens: int = Field(4_096, ge=16, le=1_000_000)
    tools: bool = False
    """The endpoint has native tool calling."""
    constrained: bool = True
    """Without native tool calling: offer tools through JSON-schema-constrained decoding (`response_format`)."""
    images: bool = False
    """The model takes images in a person's messages."""
    thinking: bool | int | Literal["minimal", "low", "medium", "high"] = False
    """Anthropic and Bedrock: a budget in tokens, or true for adaptive; OpenAI and Anthropic: an effort."""
    patient_data: bool = False
    price_per_million_tokens: Price | None = None
    requests_in_flight: int = Field(64, ge=1, le=10_000)
    idle_seconds: float = Field(60, gt=0, le=3_600)
    """Longest silence of the endpoint, before the first token or between two."""
    timeout_seconds: float | None = Field(None, gt=0, le=7_200)
    """Longest whole call; default `limits.model_call_seconds`."""

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None:
            url = TypeAdapter(HttpUrl).validate_python(value)
            if url.username or url.password:
                raise ValueError("must not hold a password; use api_key_env")
        return value

    @field_validator("thinking")
    @classmethod
    def _budget(cls, value: bool | int | str) -> bool | int | str:
        if not isinstance(value, bool | str) and value < 1_024:
            raise ValueError("a thinking budget is at least 1024 tokens")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "ModelConfig":
        if self.provider == "openai-compatible" and self.base_url is None:
            raise ValueError("base_url is needed for an openai-compatible endpoint")
        if self.api_version is not None and (self.provider != "openai" or self.base_url is None):
            raise ValueError("api_version is for provider openai with the base_url of an Azure resource")
        if self.provider == "bedrock" and self.api_key_env is not None:
            raise ValueError("api_key_env is not used: bedrock takes its credentials from the AWS environment, profile or role")
        if self.max_output_tokens >= self.context_tokens:
            raise ValueError("max_output_tokens must be smaller than context_tokens")
        return self

    @property
    def price(self) -> Price:
        """The price in force; never None once loaded by `load_models`."""
        return self.price_per_million_tokens or FREE

    def api_key(self, environment: Mapping[str, str] = os.environ) -> str | None:
        """The key, read now; None when none is named or the variable is unset. Never log it."""
        return (environment.get(self.api_key_env) or None) if self.api_key_env else None

    @property
    def problem(self) -> str | None:
        """Why this entry cannot be used at the moment, as a sentence for an administrator."""
        if self.api_key_env and not os.environ.get(self.api_key_env):
            return f"The environment variable {self.api_key_env} is not set."
        return None


def load_models(path: Path | None) -> tuple[ModelConfig, ...]:
    """The declared models, in order of fallback; empty when `path` is None. Raises SettingsError naming what is wrong."""
    if path is None:
        return ()
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise SettingsError(f"models file {path} is larger than {_MAX_FILE_BYTES} bytes")
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"models file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"models file {path} is not valid TOML: {error}") from error
    return parse_models(values, str(path))


def parse_models(values: Mapping[str, Any], where: str) -> tuple[ModelConfig, ...]:
    """As `load_models`, for the parsed file. `where` names it in errors."""
    unknown = sorted(set(values) - {"models"})
    if unknown:
        raise SettingsError(f"{where}: unknown key {unknown[0]!r}; entries are written as [[models]]")
    entries = values.get("models", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise SettingsError(f"{where}: entries are written as [[models]]")
    models = tuple(_priced(_entry(entry, number, where), where) for number, entry in enumerate(entries, 1))
    names = [m.name for m in models]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"{where}: the name {name!r} is used more than once")
    if len({m.price.currency for m in models if m.price is not FREE}) > 1:
        raise SettingsError(f"{where}: all prices must be in one currency, because the cost limits are")
    return models


def _entry(entry: dict[str, Any], number: int, where: str) -> ModelConfig:
    name = entry.get("name")
    label = f"{name!r}" if isinstance(name, str) and name else f"number {number}"
    try:
        return ModelConfig.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        raise SettingsError(f"{where}: model {label}: {key + ': ' if key else ''}{first['msg']}") from error


def _priced(model: ModelConfig, where: str) -> ModelConfig:
    if model.price_per_million_tokens is not None:
        return model
    if model.provider == "openai-compatible":
        return model.model_copy(update={"price_per_million_tokens": FREE})
    price = known_price(model.provider, model.model)
    if price is None:
        raise SettingsError(
            f"{where}: model {model.name!r}: the price is not known; give price_per_million_tokens, because the cost limits need it"
        )
    return model.model_copy(update={"price_per_million_tokens": price})


def key_variables(models: Iterable[ModelConfig]) -> set[str]:
    """The environment variables that hold the keys of these models."""
    return {model.api_key_env for model in models if model.api_key_env}


def known_price(provider: str, model: str) -> Price | None:
    """The list price in the offline data of genai-prices; None when unknown."""
    import genai_prices  # noqa: PLC0415 - 35 ms, and only when a price is missing

    try:
        usage = genai_prices.Usage(input_tokens=1, output_tokens=1)
        found = genai_prices.calc_price(usage, model, provider_id=_PRICE_SOURCE[provider]).model_price
    except LookupError:
        return None
    if found.input_mtok is None or found.output_mtok is None:
        return None
    starts = {tier.start for tier in getattr(found.input_mtok, "tiers", ())}
    return Price(**_rates(found, 0), long=tuple(LongPrice(above_tokens=start, **_rates(found, start)) for start in sorted(starts)))


def _rates(found: Any, start: int) -> dict[str, Any]:
    """The rates of `found` for a call in the tier that begins at `start` input tokens."""
    rates = {"input": found.input_mtok, "output": found.output_mtok, "cached_input": found.cache_read_mtok}
    return {name: _at(price, start) for name, price in rates.items() if price is not None}


def _at(price: Any, start: int) -> Decimal:
    rate: Decimal = price if isinstance(price, Decimal) else price.base
    for tier in sorted(getattr(price, "tiers", ()), key=lambda t: t.start):
        rate = tier.price if tier.start <= start else rate
    return rate
