"""`GET /ws`: the upgrade, and the socket's way to everything behind it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.realtime.connection import Connection
from netra_backend.app.realtime.messages import PROTOCOL
from netra_backend.app.services.principal import AuthenticationError, Principal
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import Accepted, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .errors import refusal_response, unauthenticated_response
from .state import Services, services_of

router = APIRouter()


class _Socket:
    """Starlette's socket as `Connection` wants it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def send(self, text: str) -> None:
        await self._websocket.send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        await self._websocket.close(code, reason)


class _Desk:
    """What a connection asks for, from the app's services; see `Desk`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def authenticate(self, token: str) -> Principal:
        return await self._services.accounts.authenticate(token)

    async def submit(
        self, context: UserExecutionContext, submission: Submission, acknowledge: Callable[[Accepted], None]
    ) -> Accepted:
        return await self._services.runs.submit(context, submission, acknowledge)

    async def cancel(self, context: UserExecutionContext, run_id: str) -> RunStatus:
        return await self._services.runs.cancel(context, run_id)

    def log(self, context: UserExecutionContext) -> EventLog:
        return EventLog(context, self._services.database)


@router.websocket("/ws")
async def connect(websocket: WebSocket) -> None:
    """Serve a socket: refused with 401 before the upgrade when its Authorization header proves nothing."""
    services = services_of(websocket)
    principal = None
    header = websocket.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        try:
            if scheme.lower() != "bearer" or not token:
                raise AuthenticationError("expected an Authorization header: Bearer, and an access token")
            principal = await services.accounts.authenticate(token.strip())
        except AuthenticationError as error:
            await websocket.send_denial_response(unauthenticated_response(error.reason))
            return
        except StorageUnavailableError as error:
            await websocket.send_denial_response(refusal_response(error))
            return
    await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
    connection = Connection(
        _Socket(websocket),
        _Desk(services),
        services.hub,
        services.connections,
        principal,
        authentication_timeout=services.settings.authentication_timeout,
        max_outbox=services.settings.max_outbox_frames,
    )
    try:
        await connection.run()
    except (WebSocketDisconnect, RuntimeError):
        return
