"""How slowly a body may come."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES_PER_SECOND: Final = 1024


class BodyDeadline:
    """Ends a request whose body comes too slowly, with 408, so that it holds nothing for long.

    Args:
        app: what comes after.
        seconds: how long the next piece may take; and over these seconds, what came must have come at 1 KiB/s.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = asyncio.get_running_loop().time()
        received, has_more = 0, True

        async def receive_in_time() -> Message:
            nonlocal received, has_more
            if not has_more:  # from now on it only waits for the client to leave
                return await receive()
            left = begun + self._seconds + received / LEAST_BYTES_PER_SECOND - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(min(self._seconds, left)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time; send it again", {"connection": "close"}
                ) from None
            has_more = message["type"] == "http.request" and message.get("more_body", False)
            received += len(message.get("body", b""))
            return message

        await self._app(scope, receive_in_time, send)
