"""Settings: environment variables first, then `aliquot.toml` (in the working folder or at ALIQUOT_CONFIG), then defaults.

Every limit has a name here. A damaged file, a wrong value or a name in the file that does not exist is refused at start with the
name of the setting. The environment belongs to others too: an unknown ALIQUOT_ variable there is only warned of.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from aliquot.platform.mcp_settings import McpServer
from aliquot.platform.oidc_settings import OidcSettings


class SettingsError(Exception):
    """The settings cannot be used; the text says which one and why, without its value."""


class Limits(BaseSettings):
    """Bounds on what comes from outside. Rates are per person unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="ALIQUOT_LIMIT_", extra="ignore", frozen=True)

    run_starts_per_minute: int = Field(60, ge=1)
    model_tokens_per_hour: int = Field(100_000, ge=1)
    chat_per_address_per_minute: int = Field(10, ge=1)
    chat_per_session_per_hour: int = Field(50, ge=1)
    chat_total_per_minute: int = Field(100, ge=1)
    tool_calls_per_minute: int = Field(300, ge=1)
    requests_per_minute: int = Field(1_200, ge=1)
    message_chars: int = Field(32_000, ge=1)
    session_message_chars: int = Field(4_000, ge=1)
    body_bytes: int = Field(1_000_000, ge=1_000)
    tool_seconds: float = Field(30, gt=0)
    tool_arguments_chars: int = Field(32_000, ge=100)
    tool_result_chars: int = Field(60_000, ge=1_000)
    model_steps_per_run: int = Field(12, ge=1)
    model_call_seconds: float = Field(120, gt=0)
    model_queue: int = Field(200, ge=1)
    cost_per_call: Decimal = Field(Decimal(2), ge=0)
    cost_per_run: Decimal = Field(Decimal(5), ge=0)
    cost_per_day: Decimal = Field(Decimal(50), ge=0)
    approval_seconds: int = Field(900, ge=1)
    plan_steps: int = Field(10, ge=2, le=50)
    approvals_pending: int = Field(50, ge=1)
    approvals_per_minute: int = Field(20, ge=1)
    policy_replay_decisions: int = Field(1_000, ge=1, le=20_000)
    policy_replay_seconds: float = Field(20, gt=0)
    session_idle_seconds: int = Field(3_600, ge=1)
    restore_days: int = Field(30, ge=0)
    break_glass_minutes: int = Field(60, ge=1, le=1_440)
    share_hours: int = Field(8_760, ge=1)
    share_people: int = Field(100, ge=1)
    shares_per_conversation: int = Field(100, ge=1)
    export_messages: int = Field(10_000, ge=1)
    imports_per_hour: int = Field(30, ge=1)
    shared_copy_messages: int = Field(2_000, ge=1)
    folders_per_person: int = Field(500, ge=1)
    folder_depth: int = Field(8, ge=1, le=50)
    pinned_conversations: int = Field(50, ge=1)
    search_query_chars: int = Field(1_000, ge=3)
    search_query_words: int = Field(32, ge=1)
    search_candidates: int = Field(200, ge=1)
    search_shared_conversations: int = Field(1_000, ge=1)
    search_scan_chars: int = Field(2_000_000, ge=1_000)
    search_seconds: float = Field(0.5, gt=0)
    search_wait_seconds: float = Field(5, gt=0)
    searches_per_minute: int = Field(120, ge=1)
    feedback_comment_chars: int = Field(4_000, ge=1)
    feedback_per_minute: int = Field(60, ge=1)
    feedback_export_rows: int = Field(100_000, ge=1)
    live_frame_bytes: int = Field(524_288, ge=1_000)
    live_queue_frames: int = Field(1_000, ge=10)
    live_queue_bytes: int = Field(1_000_000, ge=10_000)
    live_connections_per_person: int = Field(30, ge=1)
    live_connections: int = Field(5_000, ge=1)
    live_refused_frames: int = Field(2_000, ge=1)
    live_idle_seconds: float = Field(14_400, gt=0)
    live_recheck_seconds: float = Field(5, gt=0)
    attachment_bytes: int = Field(10_485_760, ge=1_000)
    attachment_quota_bytes: int = Field(1_000_000_000, ge=1_000)
    attachments_per_message: int = Field(20, ge=1)
    attachment_unbound_seconds: int = Field(86_400, ge=60)
    attachment_link_seconds: int = Field(300, ge=1, le=86_400)
    uploads_per_minute: int = Field(60, ge=1)
    uploads_at_once: int = Field(8, ge=1)
    upload_seconds: float = Field(120, gt=0)
    upload_idle_seconds: float = Field(10, gt=0)
    upload_bytes_per_second: int = Field(4_000, ge=1)
    scan_seconds: float = Field(30, gt=0)
    document_seconds: float = Field(4, gt=0)
    document_memory_bytes: int = Field(600_000_000, ge=100_000_000)
    document_text_chars: int = Field(400_000, ge=1_000)
    document_unpacked_bytes: int = Field(100_000_000, ge=1_000_000)
    document_pixels: int = Field(50_000_000, ge=10_000)
    login_failures: int = Field(5, ge=1)
    login_window_seconds: int = Field(900, ge=1)
    signing_idle_seconds: int = Field(900, ge=0)
    signature_reason_chars: int = Field(1_000, ge=1)
    review_comment_chars: int = Field(4_000, ge=1)
    review_flags_per_minute: int = Field(30, ge=1)
    signed_record_bytes: int = Field(8_000_000, ge=1_000)
    signed_messages: int = Field(2_000, ge=1)
    mcp_requests_at_once: int = Field(20, ge=1)
    mcp_wait_seconds: float = Field(50, ge=0, le=600)
    alert_login_failures: int = Field(4, ge=1)
    alert_group_minutes: int = Field(15, ge=1)
    alert_mails_per_hour: int = Field(12, ge=1)
    mcp_look_seconds: float = Field(60, ge=1)
    mcp_answer_bytes: int = Field(2_000_000, ge=10_000)
    mcp_result_chars: int = Field(20_000, ge=100)
    mcp_calls_at_once: int = Field(8, ge=1)
    mcp_process_memory_bytes: int = Field(1_000_000_000, ge=10_000_000)
    usage_days: int = Field(92, ge=1)
    compliance_report_days: int = Field(1_100, ge=1, le=36_600)
    disk_low_bytes: int = Field(2_000_000_000, ge=0)
    disk_full_bytes: int = Field(100_000_000, ge=0)


class SigningRule(BaseModel):
    """Who may sign records of a kind for a meaning, and when that meaning is complete. The rule for the kind wins over `*`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = "*"
    meaning: str
    author: Literal["any", "only", "never"] = "any"
    """Whether its authors may sign. `never` is what laboratories call no self-verification."""
    persons: int = Field(1, ge=1, le=20)
    """How many different persons have to sign."""
    not_also: tuple[str, ...] = ()
    """Meanings that exclude this one for the same person and version."""
    after: tuple[str, ...] = ()
    """Meanings that have to be complete before."""
    roles: tuple[str, ...] = ()
    """Any of these roles is needed; none named, none needed."""
    training: tuple[Annotated[str, Field(pattern=r"^(tool|protocol|instrument|topic):[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")], ...] = ()
    """All of these trainings have to be in date on the day of the signature: `topic:GMP`, `protocol:PCR-STD-35`."""


_MEANINGS = ("authorship", "review", "approval", "responsibility", "rejection")
# A conversation's answers are a machine's work: the person who asked may well be the one who reviews and answers for them.
_SIGNING_RULES = (
    SigningRule(meaning="authorship", author="only"),
    SigningRule(meaning="review", author="never"),
    SigningRule(meaning="approval", author="never"),
    SigningRule(kind="conversation", meaning="review"),
    SigningRule(kind="conversation", meaning="approval"),
)


class DashboardManifest(BaseModel):
    """A dashboard as it is declared: `[[dashboards]]` in aliquot.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")
    name: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=2_000)
    available_tools: tuple[str, ...] = Field(max_length=200)


class Settings(BaseSettings):
    """Everything an administrator can set."""

    model_config = SettingsConfigDict(env_prefix="ALIQUOT_", extra="ignore", frozen=True)

    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = Field(8089, ge=0, le=65535)
    admin_email: str = "admin@localhost.lab"
    admin_password: SecretStr | None = None
    demo_password: SecretStr | None = None
    models: Path | None = None
    root_key: SecretStr | None = None
    root_key_next: SecretStr | None = None
    """During a rotation: the root key that follows `root_key`."""
    kms: str | None = Field(None, max_length=300, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`package.module:callable` of the plug-in that wraps the root key (`platform.root_keys.KeyWrapper`)."""
    origins: tuple[str, ...] = ()
    public_url: str | None = None
    approval_page: str | None = Field(None, max_length=500, pattern=r"^https?://[^\s{}]+\{id\}[^\s{}]*$")
    """Where the site's front end shows a request to decide: an address with `{id}`."""
    trusted_proxies: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    simulation_speed: float = Field(1.0, gt=0, le=100_000)
    session_hours: int = Field(24, ge=1, le=24)
    shutdown_seconds: float = Field(5, ge=0)
    witnesses: tuple[str, ...] = ()
    witness_seconds: float = Field(60, ge=1)
    tsa_url: str | None = None
    tsa_seconds: float = Field(3_600, ge=1)
    heartbeat_seconds: int = Field(300, ge=1, le=86_400)
    log_check_hour: int = Field(2, ge=0, le=23)
    time_zone: str = "UTC"
    signature_meanings: tuple[str, ...] = _MEANINGS
    signing_rules: tuple[SigningRule, ...] = _SIGNING_RULES
    policy_bundle: Path | None = None
    """Folder of the bundle this site starts with; None: the shipped one. Once one was activated by signatures, that one counts."""
    policy_signatures: int = Field(2, ge=2, le=10)
    policy_wait_hours: float = Field(24, ge=1)
    accountability_text: str | None = Field(None, min_length=1, max_length=10_000)

    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    database_url_app: SecretStr | None = Field(None, validation_alias="DATABASE_URL_APP")
    database_url_sequencer: SecretStr | None = Field(None, validation_alias="DATABASE_URL_SEQUENCER")
    database_url_reader: SecretStr | None = Field(None, validation_alias="DATABASE_URL_READER")
    valkey_url: SecretStr | None = Field(None, validation_alias="VALKEY_URL")
    blob_url: str | None = Field(None, validation_alias="BLOB_URL", pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?$")
    smtp_url: SecretStr | None = Field(None, validation_alias="SMTP_URL")
    mail_from: str = Field("aliquot@localhost", max_length=254)
    mail_domains: tuple[str, ...] = ()
    """Domains exports may be sent to besides the people of the site."""
    security_contact: str | None = Field(None, max_length=254, pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")
    """The e-mail address that is told of failed signings."""
    clamav_host: str | None = Field(None, validation_alias="CLAMAV_HOST", max_length=253)
    clamav_port: int = Field(3310, validation_alias="CLAMAV_PORT", ge=1, le=65_535)
    jwt_secret: SecretStr | None = Field(None, validation_alias="JWT_SECRET")
    limits: Limits = Field(default_factory=Limits)
    oidc: OidcSettings = Field(default_factory=OidcSettings)
    """Single sign-on: the variables OIDC_…, or the table `[oidc]`."""
    review_bad_feedback: bool = False
    """Whether a bad rating of an answer puts it into the review queue."""
    dashboards: tuple[DashboardManifest, ...] | None = Field(None, max_length=100)
    """None: those of the laboratory."""
    mcp_servers: tuple[McpServer, ...] = Field((), max_length=50)

    @field_validator("database_url", "database_url_app", "database_url_sequencer", "database_url_reader")
    @classmethod
    def _of_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 - `aliquot chat` reads settings without a database

            if not value.get_secret_value().startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
                raise ValueError("a database URL starts with postgresql://")
            try:
                conninfo.conninfo_to_dict("postgresql://" + value.get_secret_value().partition("://")[2])
            except ProgrammingError:  # its message quotes the URL, and so the password
                raise ValueError("it cannot be read as postgresql://user:password@host:port/database") from None
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("not the name of a time zone (such as Europe/Berlin)") from error
        return value

    @field_validator("signature_meanings")
    @classmethod
    def _plain_meanings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(re.fullmatch(r"[a-z][a-z_]{0,39}", meaning) for meaning in value):
            raise ValueError("each is a lower-case word of at most 40 letters")
        return value

    @model_validator(mode="after")
    def _rules_of_known_meanings(self) -> "Settings":
        named = {m for rule in self.signing_rules for m in (rule.meaning, *rule.not_also, *rule.after)}
        if unknown := sorted(named - {*self.signature_meanings, *_MEANINGS}):
            raise ValueError(f"signing_rules name the meaning {unknown[0]!r}, which signature_meanings does not list")
        return self

    @field_validator("mcp_servers")
    @classmethod
    def _servers_once(cls, value: tuple[McpServer, ...]) -> tuple[McpServer, ...]:
        if len({server.name for server in value}) != len(value):
            raise ValueError("two servers have the same name")
        return value

    @model_validator(mode="after")
    def _contact_can_be_reached(self) -> "Settings":
        if self.security_contact is not None and self.smtp_url is None:
            raise ValueError("security_contact needs SMTP_URL: the server its mails go through")
        return self

    @model_validator(mode="after")
    def _sign_on_comes_back(self) -> "Settings":
        if self.oidc.issuer is not None and self.public_url is None:
            raise ValueError("OIDC_ISSUER needs ALIQUOT_PUBLIC_URL: the address the provider sends people back to")
        return self

    @property
    def embedded(self) -> bool:
        """True when Aliquot runs its own PostgreSQL in the data folder."""
        return self.database_url is None and self.database_url_app is None

    @property
    def keys_dir(self) -> Path:
        return self.data_dir / "keys"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _TomlSource(settings_cls)


class _TomlSource(PydanticBaseSettingsSource):
    """`aliquot.toml`: the lower-case names without prefix at the top level, `[limits]` as a table."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise LookupError(field_name)

    def __call__(self) -> dict[str, Any]:
        path = Path(os.environ.get("ALIQUOT_CONFIG", "aliquot.toml"))
        if not path.is_file():
            if "ALIQUOT_CONFIG" in os.environ:
                raise SettingsError(f"ALIQUOT_CONFIG names {path}, which is not a file")
            return {}
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from error
        fields = self.settings_cls.model_fields
        unknown = sorted(set(values) - set(fields))
        if unknown:
            raise SettingsError(f"{path}: unknown setting {unknown[0]!r}{_meant(unknown[0], fields)}")
        if isinstance(limits := values.get("limits"), dict):
            wrong = sorted(set(limits) - set(Limits.model_fields))
            if wrong:
                raise SettingsError(f"{path}: unknown limit {wrong[0]!r}{_meant(wrong[0], Limits.model_fields)}")
            values["limits"] = Limits(**{**limits, **_limits_from_environment()})
        return {str(fields[name].validation_alias or name): value for name, value in values.items()}


def _limits_from_environment() -> dict[str, str]:
    prefix = "ALIQUOT_LIMIT_"
    return {k[len(prefix) :].lower(): v for k, v in os.environ.items() if k.upper().startswith(prefix)}


def unknown_variables(others: Collection[str] = ()) -> list[str]:
    """A sentence for each ALIQUOT_ variable of the environment that sets nothing; `others` are names that mean something elsewhere."""
    known = {f"ALIQUOT_{name.upper()}" for name, field in Settings.model_fields.items() if field.validation_alias is None}
    known |= {f"ALIQUOT_LIMIT_{name.upper()}" for name in Limits.model_fields} | {"ALIQUOT_CONFIG", "ALIQUOT_URL", "ALIQUOT_TOKEN"}
    unknown = sorted(name for name in os.environ if name.upper().startswith("ALIQUOT_") and name.upper() not in known | set(others))
    return [f"the environment variable {name} is not a setting and does nothing{_meant(name.upper(), known)}" for name in unknown]


def _meant(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process. Raises SettingsError with a sentence that names the setting, never its value."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"setting {name}: {first['msg'].removeprefix('Value error, ')}") from error
    except ValueError as error:
        raise SettingsError(f"settings cannot be read: {type(error).__name__}") from error
