"""The composition root: what a server is made of, and in which order it starts and ends."""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypedDict
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from netra_backend.app.agents.cost.team import CostTeam
from netra_backend.app.agents.registry import AgentRegistry, UnknownAgentError
from netra_backend.app.agents.supervisor import Supervisor
from netra_backend.app.api import auth, document, errors, health, ownership, runs, threads, usage, ws
from netra_backend.app.api.accounts import Accounts
from netra_backend.app.api.body_deadline import BodyDeadline
from netra_backend.app.api.client_address import ClientAddress
from netra_backend.app.api.dependencies import signed_in
from netra_backend.app.api.middleware import LOOPBACK_HOSTS, Envelope, HostAndOrigin, NoTokenInUrl
from netra_backend.app.api.state import Services
from netra_backend.app.auth.keys import KEY_FILE, KeyRing, load_or_make_keys
from netra_backend.app.auth.passwords import Passwords
from netra_backend.app.auth.places import Places, TooManyUnauthenticatedError
from netra_backend.app.auth.throttle import RegistrationThrottle, SignInThrottle
from netra_backend.app.auth.tokens import PAGE_AUDIENCE, AccessTokens
from netra_backend.app.config import Settings
from netra_backend.app.db.engine import Database
from netra_backend.app.db.eraser import Eraser
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.repositories.usage_records import UsageRecordRepository
from netra_backend.app.db.system_operations import erase_unfinished_uploads
from netra_backend.app.realtime.connections import Connections
from netra_backend.app.realtime.hub import Hub
from netra_backend.app.realtime.messages import FRAMES
from netra_backend.app.runs.admission import Admission
from netra_backend.app.runs.dispatch_local import LocalDispatcher
from netra_backend.app.runs.ledger import Ledger
from netra_backend.app.runs.rate_limit import RateLimit
from netra_backend.app.runs.run_journal import RunJournal
from netra_backend.app.runs.run_record import RunRecord
from netra_backend.app.runs.run_service import RunService
from netra_backend.app.runs.stored_bytes import StoredBytes
from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.loop_alarm import loop_alarm
from netra_backend.app.services.refusals import InvalidRequestError
from netra_backend.app.services.usage_record import UsageRecord
from netra_backend.app.services.user_execution_context import UserExecutionContext
from netra_backend.app.telemetry import Metrics

WEB: Final = Path(__file__).with_name("web")
COST_TEAM: Final = "supervisor"

_logger = logging.getLogger(__name__)


class State(TypedDict):
    """What the lifespan hands to every request."""

    services: Services


class StoredUsageRecords:
    """The agents' way to usage records; see `UsageRecords`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, context: UserExecutionContext) -> Sequence[UsageRecord]:
        """All records of the context's user."""
        return await UsageRecordRepository(context, self._database).all()


def create_app(settings: Settings) -> FastAPI:
    """Build a server.

    Args:
        settings: what it runs with.

    Returns:
        An ASGI app with its database open and up to date; its lifespan takes up what an earlier process has left, and
        closes the database at the end.

    Raises:
        DatabaseOpenError: a newer Netra has written the database, it does not answer, or another server uses it and
            has not ended within `predecessor_wait`.
        AgentRegistryError: a user's own agent cannot be loaded, or the default agent is unknown.
        OwnershipError: a route has no owner rule.
        ValueError: others may write to the data folder or read the keys, or a file holds no keys.
    """
    _make_private(settings.data_dir)
    keys = _keys(settings)
    database = Database(settings.database, reader_threads=settings.reader_threads)
    try:
        database.tenure.begin(settings.predecessor_wait.total_seconds())
        upgrade(database.storage)
        return _build(settings, keys, database, _agents(settings, database))
    except BaseException:
        database.release()
        raise


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(
            f"{folder}: others may write to the data folder (mode {mode:04o}), expected 0700: they could put a key or "
            f"a database of their own there; chmod 700 {folder}"
        )


def _build(settings: Settings, keys: KeyRing, database: Database, registry: AgentRegistry) -> FastAPI:

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        async with _started(settings, keys, database, registry) as services:
            app.state.close_connections = services.connections.close_all
            app.state.drain = partial(services.runs.drain, settings.shutdown_grace.total_seconds())
            app.state.failure = lambda: database.tenure.failure
            yield {"services": services}

    app = FastAPI(
        title="Netra",
        summary="Runs AI agents for many users at once; no user ever sees another's data.",
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts of another site
        redoc_url=None,
        middleware=[
            Middleware(ClientAddress, trusted=settings.trusted_proxies),
            Middleware(Envelope),
            Middleware(HostAndOrigin, hosts=_hosts(settings), origins=settings.allowed_origins),
            Middleware(NoTokenInUrl),
            Middleware(
                CORSMiddleware,  # without credentials: other sites bring a token of their own, never the page's cookie
                allow_origins=settings.allowed_origins,
                allow_methods=("GET", "POST", "PATCH", "DELETE"),
                allow_headers=("authorization", "content-type", "last-event-id"),
                expose_headers=("retry-after", "x-request-id"),
            ),
            Middleware(BodyDeadline, seconds=settings.body_timeout.total_seconds()),
            Middleware(RequestBodyLimitMiddleware, max_body_size=settings.max_body_bytes),
        ],
    )
    errors.install(app)
    for module in (auth, threads, runs, health):
        app.include_router(module.router)
    app.include_router(usage.router, max_body_size=settings.max_upload_bytes)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.router.routes.append(ws.route)
    app.mount("/static", StaticFiles(directory=WEB), name="static")
    ownership.check(app, FRAMES, signed_in)
    document.describe(app, registry.names)
    return app


def _hosts(settings: Settings) -> frozenset[str]:
    own = LOOPBACK_HOSTS if settings.is_loopback else frozenset[str]()
    origins = {urlsplit(origin).hostname or "" for origin in settings.allowed_origins}
    named = set() if settings.host in ("", "0.0.0.0", "::") else {settings.host}  # noqa: S104  # nosec B104  # what is no name
    return own | named | set(settings.allowed_hosts) | origins


def _agents(settings: Settings, database: Database) -> AgentRegistry:
    registry = AgentRegistry()
    registry.register(COST_TEAM, lambda: CostTeam(StoredUsageRecords(database)))
    for name, path in settings.agents.items():
        registry.register(name, registry.load(path))
    registry.create(settings.default_agent)
    return registry


@asynccontextmanager
async def _started(
    settings: Settings, keys: KeyRing, database: Database, registry: AgentRegistry
) -> AsyncIterator[Services]:
    metrics = Metrics()
    database.writer.observe = metrics.observe_commit
    await database.writer.run(partial(erase_unfinished_uploads, now=datetime.now(UTC)))

    hub = Hub()
    connections = Connections(limit=settings.max_connections, limit_per_user=settings.max_connections_per_user)
    stored_bytes = StoredBytes(database, settings.max_stored_bytes_per_user)
    ledger = Ledger(database, partial(_publish, hub, metrics, stored_bytes))
    admission = Admission(
        max_running=settings.max_running_runs, max_running_per_user=settings.max_running_runs_per_user
    )

    def make_journal(run: RunRecord, earlier: Sequence[LogEntry]) -> RunJournal:
        return RunJournal(
            ledger,
            run,
            hub.publish_delta,
            earlier=earlier,
            max_uncommitted=settings.max_uncommitted_events_per_run,
            max_uncommitted_bytes=settings.max_uncommitted_bytes_per_run,
            max_event_bytes=settings.max_event_bytes,
        )

    def check_agent(name: str) -> None:
        if name not in registry:
            raise InvalidRequestError(str(UnknownAgentError(name, registry.names)), code="unknown_agent")

    dispatcher = LocalDispatcher(
        ledger,
        admission,
        Supervisor(registry).execute,
        make_journal,
        max_attempts=settings.max_attempts,
        stop_seconds=settings.stop_grace.total_seconds(),
    )
    run_service = RunService(
        ledger,
        dispatcher,
        admission,
        RateLimit(settings.messages_per_minute, time.monotonic),
        stored_bytes,
        check_agent=check_agent,
        default_agent=settings.default_agent,
        run_timeout=settings.run_timeout,
        max_unfinished_per_user=settings.max_unfinished_runs_per_user,
    )
    passwords = Passwords(
        settings.password_threads,
        max_waiting=settings.max_waiting_passwords,
        max_waiting_per_address=settings.max_waiting_passwords_per_address,
    )
    accounts = Accounts(
        database,
        passwords,
        keys,
        AccessTokens(keys, settings.access_token_ttl),
        AccessTokens(keys, settings.cookie_session_ttl, audience=PAGE_AUDIENCE),
        SignInThrottle(
            per_minute=settings.failed_sign_ins_per_minute,
            per_hour=settings.failed_sign_ins_per_hour,
            clock=time.monotonic,
        ),
        RegistrationThrottle(per_hour=settings.registrations_per_hour, clock=time.monotonic),
        connections,
        refresh_ttl=settings.refresh_token_ttl,
        max_sessions=settings.max_sessions_per_user,
        registration_is_open=settings.registration_is_open,
    )
    metrics.watch("netra_connections", "Open sockets and streams", lambda: connections.count)
    metrics.watch("netra_runs_running", "Runs that have started and not ended", lambda: admission.running_count)
    metrics.watch("netra_runs_waiting", "Runs that wait for their turn", lambda: admission.waiting_count)

    def lost() -> None:
        """Another server serves the database, and has taken up what runs here: stop all of it at once."""
        stopping.append(asyncio.ensure_future(run_service.drain(0)))

    stopping: list[asyncio.Future[None]] = []
    await database.tenure.watch(lost)
    await run_service.recover(database)
    sweeping = asyncio.create_task(_sweep(run_service, database, settings.sweep_interval.total_seconds()))
    eraser = Eraser(database, retention=settings.retention)
    eraser.start()
    try:
        with loop_alarm(settings.loop_alarm.total_seconds()):
            yield Services(
                settings=settings,
                database=database,
                eraser=eraser,
                hub=hub,
                connections=connections,
                accounts=accounts,
                unauthenticated=Places(
                    settings.max_unauthenticated_sockets,
                    settings.max_unauthenticated_sockets_per_address,
                    _too_many_unauthenticated,
                ),
                runs=run_service,
                stored_bytes=stored_bytes,
                metrics=metrics,
            )
    finally:
        sweeping.cancel()
        if not run_service.is_draining:  # `netra serve` has let runs end while their watchers were still there
            await run_service.drain(settings.shutdown_grace.total_seconds())
        connections.close_all()
        await eraser.close()
        await database.close()
        passwords.close()


async def _sweep(runs: RunService, database: Database, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await runs.recover(database)
        except StorageUnavailableError as error:
            _logger.warning("runs that nobody does could not be looked for: %s", error)


def _publish(hub: Hub, metrics: Metrics, stored_bytes: StoredBytes, entries: Sequence[LogEntry]) -> None:
    metrics.observe_entries(entries)
    stored_bytes.add(entries)
    hub.publish(entries)


def _too_many_unauthenticated() -> TooManyUnauthenticatedError:
    return TooManyUnauthenticatedError(
        "too many sockets wait for their first frame; try again in 5 s, or send the token in the upgrade's header",
        retry_after=5,
    )


def _keys(settings: Settings) -> KeyRing:
    if settings.secret_key is None:
        return load_or_make_keys(settings.data_dir / KEY_FILE)
    return KeyRing([key.get_secret_value().encode() for key in (settings.secret_key, *settings.old_secret_keys)])
