"""uvicorn's WebSocket protocol, told what to do with a reader that has stopped reading, and with text that is none."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LINGER_SECONDS: Final = 30.0
"""How long a reader has to take what was sent and the close frame behind it."""


NOT_TEXT: Final = 1007


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Puts a close frame behind what a slow reader has not taken yet, and gives the reader up after a while.

    uvicorn lets every message wait until the other side reads, the close frame too: a reader that was too slow would
    never learn why it was closed (1013). And it waits for ever for the other side to take what is left: readers
    that never read would add up, outside of all limits. And it logs an error for every socket that is refused before
    the upgrade, and one with a traceback for every text frame that is not UTF-8: anybody could fill the log.
    """

    _giving_up: TimerHandle | None = None

    async def send(self, message: Any) -> None:
        """Send a message of the ASGI app."""
        if message["type"] == "websocket.close":
            self.writable.set()
            self._giving_up = self._giving_up or self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # by the refusal

    def send_receive_event_to_app(self) -> None:
        """Hand a whole message on; one that is meant as text and is none ends the socket (RFC 6455, 8.1)."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(NOT_TEXT, "expected UTF-8 in text frames; came other bytes")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        super().connection_lost(cast("Any", exc))
