"""Logs and metrics."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from structlog.typing import EventDict, Processor

from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.user_execution_context import NoActiveContextError, current

_security = logging.getLogger("netra.security")


class SecurityEvent(StrEnum):
    """What the log of security events tells."""

    REGISTERED = "registered"
    REGISTRATION_THROTTLED = "registration_throttled"
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGN_IN_THROTTLED = "sign_in_throttled"
    SIGNED_OUT = "signed_out"
    SIGNED_OUT_EVERYWHERE = "signed_out_everywhere"
    REFRESH_REUSED = "refresh_reused"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # nosec B105  # the event's name
    PASSWORD_CHANGE_FAILED = "password_change_failed"  # noqa: S105  # nosec B105  # the event's name
    ACCOUNT_ERASED = "account_erased"
    FOREIGN_HOST = "foreign_host"
    FOREIGN_ORIGIN = "foreign_origin"
    FORGED_PAGE_REQUEST = "forged_page_request"
    TOKEN_IN_URL = "token_in_url"  # noqa: S105  # nosec B105  # the event's name
    SOCKET_THROTTLED = "socket_throttled"
    WRONG_USER_ON_SOCKET = "wrong_user_on_socket"


_EXPECTED: Final = frozenset(
    {
        SecurityEvent.REGISTERED,
        SecurityEvent.SIGNED_IN,
        SecurityEvent.SIGNED_OUT,
        SecurityEvent.SIGNED_OUT_EVERYWHERE,
        SecurityEvent.PASSWORD_CHANGED,
        SecurityEvent.ACCOUNT_ERASED,
    }
)
"""What happens when nobody attacks; logged at INFO, all else at WARNING."""


def tell_security_event(event: SecurityEvent, *, address: str | None = None, **about: str) -> None:
    """Write a security event to the log `netra.security`.

    Args:
        event: what has happened.
        address: of the client.
        about: ids of users and sessions, and reasons; never a secret, and never what somebody typed.
    """
    level = logging.INFO if event in _EXPECTED else logging.WARNING
    known = {name: value for name, value in {"address": address, **about}.items() if value is not None}
    _security.log(level, "%s", event, extra={"security": {"security_event": str(event), **known}})


def _add_security_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord | None = event.get("_record")
    event.update(getattr(record, "security", {}))
    return event


class Metrics:
    """What one server counts; a registry of its own, so that two apps in a process do not share numbers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        entries = Counter("netra_log_entries", "Log entries committed, by type", ["type"], registry=self._registry)
        self._entries_of = {type_: entries.labels(type_) for type_ in EventType}
        self.commit_seconds = Histogram(
            "netra_commit_seconds",
            "Seconds that one group commit took",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0),
            registry=self._registry,
        )
        self.commit_commands = Histogram(
            "netra_commit_commands",
            "Commands in one group commit",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
            registry=self._registry,
        )

    def watch(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Report a number that is read when the metrics are."""
        Gauge(name, documentation, registry=self._registry).set_function(value)

    def observe_commit(self, commands: int, seconds: float) -> None:
        """A group commit has ended."""
        self.commit_commands.observe(commands)
        self.commit_seconds.observe(seconds)

    def observe_entries(self, entries: Sequence[LogEntry]) -> None:
        """Log entries have been committed."""
        for entry in entries:
            self._entries_of[entry.type].inc()

    def expose(self) -> bytes:
        """The numbers in Prometheus' text format."""
        return generate_latest(self._registry)


def _add_context(_logger: object, _method: str, event: EventDict) -> EventDict:
    try:
        context = current()
    except NoActiveContextError:
        return event
    event["user_id"] = context.user_id
    event["thread_id"] = context.thread_id
    event["run_id"] = context.run_id
    event["request_id"] = context.request_id
    return event


def _console() -> Processor:
    # The renderer's own choice, where Rich is installed, shows a traceback's local variables: passwords and tokens.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def configure_logging(level: str) -> None:
    """Send every log line to standard error, with the ids of the context it was written under.

    Args:
        level: the least severe that is written, such as "INFO".
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_context,
        _add_security_event,
    ]
    plain = sys.stderr.isatty()
    renderer: Processor = _console() if plain else structlog.processors.JSONRenderer()
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not plain:
        last.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*last, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for talkative in ("alembic", "uvicorn.error"):  # tell each start and each connection at INFO
        logging.getLogger(talkative).setLevel(max(logging.WARNING, root.level))
