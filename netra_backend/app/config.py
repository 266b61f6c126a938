"""The settings: every one an environment variable `NETRA_…`, most also an option of `netra serve`."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIN_SECRET_KEY_CHARACTERS = 32


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
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    open_registration: bool | None = Field(default=None, description="closed on a public address unless opened")
    metrics_token: SecretStr | None = None

    access_token_ttl: Span = timedelta(minutes=15)
    refresh_token_ttl: Span = timedelta(days=30)
    authentication_timeout: Span = Field(default=timedelta(seconds=10), description="for the first frame")

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

    @field_validator("allowed_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fail_closed(self) -> Self:
        if self.secret_key is not None and len(self.secret_key.get_secret_value()) < MIN_SECRET_KEY_CHARACTERS:
            raise ValueError(
                f"NETRA_SECRET_KEY: expected at least {MIN_SECRET_KEY_CHARACTERS} characters; "
                'make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'
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
