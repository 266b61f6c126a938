"""The settings: every one an environment variable `NETRA_…`, most also an option of `netra serve`."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIN_SECRET_KEY_CHARACTERS = 32
MIN_METRICS_TOKEN_CHARACTERS: Final = 16
_ORIGIN: Final = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?/?", re.IGNORECASE)

Span = Annotated[timedelta, Field(ge=timedelta())]


class Settings(BaseSettings):
    """What one server runs with. Bytes, seconds and counts as their names say."""

    model_config = SettingsConfigDict(env_prefix="NETRA_", extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    data_dir: Path = Path("netra-data")
    database_url: str | None = Field(
        default=None, repr=False, description="sqlite:///… or postgresql://…; SQLite in the data folder when not given"
    )

    predecessor_wait: Span = Field(
        default=timedelta(seconds=15), description="for another server on the PostgreSQL database to end, at start"
    )

    secret_key: SecretStr | None = Field(default=None, description="signs the tokens; made and kept when not given")
    old_secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="keys of before: what they have signed is still good, until they are removed here"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="addresses or networks whose X-Forwarded-For or Forwarded is believed"
    )
    open_registration: bool | None = Field(default=None, description="closed on a public address unless opened")
    metrics_token: SecretStr | None = None

    access_token_ttl: Span = timedelta(minutes=15)
    refresh_token_ttl: Span = timedelta(days=30)
    cookie_session_ttl: Span = Field(default=timedelta(hours=12), description="of a sign-in at the built-in page")
    max_sessions_per_user: int = Field(default=100, ge=1, description="the next sign-in ends the oldest")
    authentication_timeout: Span = Field(default=timedelta(seconds=10), description="for the first frame")
    head_timeout: Span = Field(default=timedelta(seconds=10), description="for the head of a request")
    body_timeout: Span = Field(
        default=timedelta(seconds=30), description="for the next piece of a body; all of it must come at 1 KiB/s too"
    )

    max_unauthenticated_sockets: int = Field(default=5_000, ge=1, description="that have not sent their first frame")
    max_unauthenticated_sockets_per_address: int = Field(default=1_000, ge=1)
    failed_sign_ins_per_minute: int = Field(default=30, ge=1, description="of one address")
    failed_sign_ins_per_hour: int = Field(default=20, ge=1, description="at one account")
    registrations_per_hour: int = Field(
        default=100, ge=1, description="accounts that one address makes; this machine's own programs make any number"
    )
    max_waiting_passwords: int = Field(default=500, ge=1, description="that wait to be hashed")
    max_waiting_passwords_per_address: int = Field(default=250, ge=1)

    agents: dict[str, str] = Field(default_factory=dict, description='JSON: {"name": "module:attribute"}')
    default_agent: str = "supervisor"
    run_timeout: Span = Field(default=timedelta(minutes=10), description="from the message on, waiting included")
    max_attempts: int = Field(default=3, ge=1, description="of a run that the server's end cuts off")
    sweep_interval: Span = Field(default=timedelta(seconds=10), description="between looks for runs that nobody does")

    max_connections: int = Field(default=5_000, ge=1)
    max_connections_per_user: int = Field(default=20, ge=1)
    max_outbox_frames: int = Field(default=2_000, ge=10, description="that may wait for one slow reader")
    max_outbox_bytes: int = Field(default=4 * 1024 * 1024, ge=1024 * 1024, description="of those frames")
    messages_per_minute: int = Field(default=120, ge=1)
    max_running_runs: int = Field(default=500, ge=1)
    max_running_runs_per_user: int = Field(default=4, ge=1)
    max_unfinished_runs_per_user: int = Field(default=100, ge=1, description="waiting and running")
    max_uncommitted_events_per_run: int = Field(default=64, ge=1)
    max_uncommitted_bytes_per_run: int = Field(default=1024 * 1024, ge=1024, description="of those events")
    max_event_bytes: int = Field(default=256 * 1024, ge=1024)
    max_body_bytes: int = Field(default=64 * 1024, ge=1024, description="of an HTTP request that is not an upload")
    max_upload_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    max_usage_records_per_user: int = Field(default=1_000_000, ge=1)
    max_stored_bytes_per_user: int = Field(default=1024**3, ge=1, description="of threads and usage records")

    retention_days: float | None = Field(
        default=None,
        gt=0,
        le=36_500,
        allow_inf_nan=False,
        description="after which the log of runs that have ended is erased; kept for the thread's life when not given",
    )

    reader_threads: int = Field(default=4, ge=1)
    password_threads: int = Field(default=2, ge=1)
    shutdown_grace: Span = Field(default=timedelta(seconds=10), description="for runs to end when the server stops")
    stop_grace: Span = Field(default=timedelta(seconds=5), description="for an agent that is stopped to clean up")
    loop_alarm: Span = Field(default=timedelta(), description="log where the event loop is blocked for longer; 0: off")
    fault_points: str = Field(default="", description="for tests: where the server fails; services/fault_points.py")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("allowed_origins", "allowed_hosts", "trusted_proxies", "old_secret_keys", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _has_its_password_where_it_is_hidden(cls, url: str | None) -> str | None:
        scheme, _, rest = (url or "").partition("://")
        if rest.startswith("/") and "@" in rest and not scheme.startswith("sqlite"):
            raise ValueError(
                "expected postgresql://USER:PASSWORD@HOST:PORT/NAME, got three slashes: user and password would be "
                "part of the database's name, and that is shown; write two"
            )
        return url

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"expected origins such as https://app.example.org, got {origin!r}; name each site whose pages may "
                    "call: a wildcard would let every site in"
                )
        return tuple(origin.lower().rstrip("/") for origin in origins)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", host):
                raise ValueError(
                    f"expected names such as netra.example.org, without a port, got {host!r}; name each: a wildcard "
                    "would let DNS rebinding in"
                )
        return hosts

    @field_validator("trusted_proxies")
    @classmethod
    def _are_not_everybody(
        cls, networks: tuple[IPv4Network | IPv6Network, ...]
    ) -> tuple[IPv4Network | IPv6Network, ...]:
        for network in networks:
            if network.prefixlen == 0:
                raise ValueError(
                    f"expected the addresses of your own proxies, got {network}: everybody could say to be anybody; "
                    "name the proxies, such as 127.0.0.1 or 10.0.0.0/8"
                )
        return networks

    @model_validator(mode="after")
    def _fail_closed(self) -> Self:
        named = [
            ("NETRA_SECRET_KEY", self.secret_key),
            *(("NETRA_OLD_SECRET_KEYS", old) for old in self.old_secret_keys),
        ]
        for name, key in named:
            if key is not None and len(key.get_secret_value()) < MIN_SECRET_KEY_CHARACTERS:
                raise ValueError(
                    f"{name}: expected at least {MIN_SECRET_KEY_CHARACTERS} characters; "
                    'make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'
                )
        if self.old_secret_keys and self.secret_key is None:
            raise ValueError(
                "NETRA_OLD_SECRET_KEYS: expected NETRA_SECRET_KEY to be set too, the key that signs; "
                "keys in the data folder are rotated by `netra keys rotate`"
            )
        token = self.metrics_token
        if token is not None and len(token.get_secret_value()) < MIN_METRICS_TOKEN_CHARACTERS:
            raise ValueError(
                f"NETRA_METRICS_TOKEN: expected at least {MIN_METRICS_TOKEN_CHARACTERS} characters; "
                'make one with: python -c "import secrets; print(secrets.token_urlsafe(24))"'
            )
        if not self.is_loopback:
            missing = [
                name
                for name, value in (
                    ("NETRA_SECRET_KEY", self.secret_key),
                    ("NETRA_ALLOWED_ORIGINS", self.allowed_origins),
                )
                if not value
            ]
            if missing:
                raise ValueError(
                    f"a public address ({self.host}) needs {' and '.join(missing)} to be set; "
                    "or serve this machine only: --host 127.0.0.1"
                )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the server can be reached from this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def registration_is_open(self) -> bool:
        """Whether strangers may make an account."""
        return self.is_loopback if self.open_registration is None else self.open_registration

    @property
    def retention(self) -> timedelta | None:
        """How long the log of a run that has ended is kept; None for the thread's life."""
        return None if self.retention_days is None else timedelta(days=self.retention_days)

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'netra.sqlite3'}"
