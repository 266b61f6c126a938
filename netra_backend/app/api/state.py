"""What the handlers of one app share; made by `main.create_app`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from netra_backend.app.auth.places import Places
from netra_backend.app.config import Settings
from netra_backend.app.db.engine import Database
from netra_backend.app.db.eraser import Eraser
from netra_backend.app.realtime.connections import Connections
from netra_backend.app.realtime.hub import Hub
from netra_backend.app.realtime.outbox import Room
from netra_backend.app.runs.run_service import RunService
from netra_backend.app.runs.stored_bytes import StoredBytes
from netra_backend.app.telemetry import Metrics

from .accounts import Accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts that a started server is made of."""

    settings: Settings
    database: Database
    eraser: Eraser
    hub: Hub
    connections: Connections
    accounts: Accounts
    unauthenticated: Places
    runs: RunService
    stored_bytes: StoredBytes
    metrics: Metrics

    @property
    def room(self) -> Room:
        """How much may wait for one reader."""
        return Room(self.settings.max_outbox_frames, self.settings.max_outbox_bytes)


def services_of(connection: HTTPConnection) -> Services:
    """The services of the app that a request or a socket came to."""
    return cast("Services", connection.state.services)


ServicesDep = Annotated[Services, Depends(services_of)]
