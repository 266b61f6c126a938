"""`GET /ws`: the upgrade, and the socket's way to everything behind it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from netra_backend.app.auth.places import Place
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.realtime.connection import Connection
from netra_backend.app.realtime.messages import PROTOCOL
from netra_backend.app.services.principal import AuthenticationError, Principal
from netra_backend.app.services.refusals import LimitExceededError, RefusedError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import Accepted, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext
from netra_backend.app.telemetry import SecurityEvent, tell_security_event

from .client_address import client_of
from .errors import refusal_response, unauthenticated_response
from .page_session import check_page, cookie_of
from .state import Services, services_of


class _Socket:
    """A WebSocket as `Connection` wants it; frames skip Starlette's layers, which cost more than the sending."""

    def __init__(self, websocket: WebSocket, send: Send) -> None:
        self._websocket = websocket
        self._send = send

    async def receive(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def send(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})


class _Desk:
    """What a connection asks for, from the app's services; see `Desk`.

    Args:
        services: the app's.
        place: among the sockets that nobody has proved anything on; given back once somebody has.
    """

    def __init__(self, services: Services, place: Place | None) -> None:
        self._services = services
        self._place = place

    async def authenticate(self, token: str) -> Principal:
        principal = await self._services.accounts.authenticate(token)
        if self._place is not None:
            self._place.give_back()
        return principal

    async def holds(self, principal: Principal) -> bool:
        return await self._services.accounts.holds(principal)

    async def submit(
        self, context: UserExecutionContext, submission: Submission, acknowledge: Callable[[Accepted], None]
    ) -> Accepted:
        return await self._services.runs.submit(context, submission, acknowledge)

    async def cancel(self, context: UserExecutionContext, run_id: str) -> RunStatus:
        return await self._services.runs.cancel(context, run_id)

    def log(self, context: UserExecutionContext) -> EventLog:
        return EventLog(context, self._services.database)


async def _authenticate(websocket: WebSocket, services: Services) -> Principal | None:
    """Who the upgrade proves, by its Authorization header or else by the page's cookie; None when it has neither.

    A browser sends the cookie with every upgrade, whichever site's page asks for it, so there the page's origin counts.

    Raises:
        AuthenticationError: the header proves nobody.
        ForgedPageRequestError: there is the cookie, and not the origin of one of our own pages.
        _CookieError: the cookie proves nobody.
    """
    header = websocket.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthenticationError("expected an Authorization header: Bearer, and an access token")
        return await services.accounts.authenticate(token.strip())
    cookie = cookie_of(websocket)
    if cookie is None:
        return None
    check_page(websocket)
    try:
        return await services.accounts.authenticate_page(cookie)
    except AuthenticationError as error:
        raise _CookieError(error.reason) from None


class _CookieError(AuthenticationError):
    """Raised when the page's cookie proves nobody: a page cannot see why an upgrade is refused, but a close code."""


class SocketEndpoint:
    """The ASGI app of `/ws`: refused with 401 before the upgrade when its Authorization header proves nobody."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket to its end."""
        websocket: WebSocket = WebSocket(scope, receive, send)
        services = services_of(websocket)
        try:
            principal = await _authenticate(websocket, services)
            place = None if principal is not None else _place(websocket, services)
        except _CookieError as error:
            await websocket.accept(subprotocol=_subprotocol(scope))
            await websocket.close(4401, error.reason)
            return
        except AuthenticationError as error:
            await websocket.send_denial_response(unauthenticated_response(error.reason))
            return
        except RefusedError as refusal:
            await websocket.send_denial_response(refusal_response(refusal))
            return
        try:
            await websocket.accept(subprotocol=_subprotocol(scope))
            connection = Connection(
                _Socket(websocket, send),
                _Desk(services, place),
                services.hub,
                services.connections,
                principal,
                authentication_timeout=services.settings.authentication_timeout,
                room=services.room,
            )
            await connection.run()
        finally:
            if place is not None:
                place.give_back()


def _place(websocket: WebSocket, services: Services) -> Place:
    client = client_of(websocket)
    try:
        return services.unauthenticated.take(client.network)
    except LimitExceededError:
        tell_security_event(SecurityEvent.SOCKET_THROTTLED, address=client.address)
        raise


def _subprotocol(scope: Scope) -> str | None:
    return PROTOCOL if PROTOCOL in scope["subprotocols"] else None


route = WebSocketRoute("/ws", SocketEndpoint())
