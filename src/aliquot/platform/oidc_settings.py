"""Settings of single sign-on: OIDC_ variables, or the table `[oidc]` of aliquot.toml. Without `OIDC_ISSUER` there is none."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

# Asymmetric ones only: with HS256 whoever knows the client secret (or a public key taken for one) could make ID tokens.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class OidcSettings(BaseSettings):
    """The OpenID Connect provider people may log in with, and what is believed of what it says."""

    model_config = SettingsConfigDict(env_prefix="OIDC_", extra="forbid", frozen=True)

    issuer: str | None = Field(None, max_length=500)
    """Exactly as its discovery document and its ID tokens say it."""
    client_id: str = Field("", max_length=255)
    client_secret: SecretStr | None = None
    """None: a public client; PKCE protects the code either way."""
    label: str = Field("Single sign-on", min_length=1, max_length=100)
    """For the button."""
    scopes: str = Field("openid profile email", max_length=500, pattern=r"^openid( [\x21\x23-\x5b\x5d-\x7e]+)*$")
    algorithms: tuple[Algorithm, ...] = Field(("RS256", "PS256", "ES256", "EdDSA"), min_length=1)
    audiences: tuple[str, ...] = ()
    """Other clients that may stand beside `client_id` in an ID token for us (`azp` must be ours then)."""
    roles_claim: str | None = Field(None, min_length=1, max_length=255)
    """The claim with a person's groups or roles; dots lead inside (`realm_access.roles`). None: roles are given here, by hand."""
    roles: dict[str, str] = Field(default_factory=dict, max_length=500)
    """What the claim holds → role here. What is not named gives nothing."""
    create_people: bool = True
    """Whether somebody unknown becomes a person here at the first log-in (only with `roles_claim`: a person needs a role)."""
    link_by_email: bool = False
    """Whether a person of this site is taken to be the provider's person with the same verified address, for everybody."""
    trust_email: bool = False
    """The provider gives only addresses it verified, and does not say `email_verified`."""
    leeway_seconds: int = Field(60, ge=0, le=600)
    """By how much the provider's clock may differ from ours."""
    login_seconds: int = Field(600, ge=30, le=3_600)
    """How long a person may take at the provider."""
    timeout_seconds: float = Field(10, gt=0, le=60)
    proof_seconds: int = Field(120, ge=10, le=900)
    """How long a fresh authentication may be used for one signature."""
    starts_per_minute: int = Field(120, ge=1)
    """Log-ins begun, per address."""

    @field_validator("issuer")
    @classmethod
    def _secure(cls, value: str | None) -> str | None:
        if value is None or value == "":
            return None
        parts = urlsplit(value)
        if parts.query or parts.fragment or not parts.hostname or parts.username:
            raise ValueError("not the URL of an issuer")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("must begin with https://")
        return value

    @model_validator(mode="after")
    def _whole(self) -> "OidcSettings":
        if self.issuer is not None and not self.client_id:
            raise ValueError("client_id is missing (OIDC_CLIENT_ID)")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file, whose table comes as arguments
