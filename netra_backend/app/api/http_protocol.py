"""uvicorn's HTTP protocol, told how long the head of a request may take."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request's head does not come in time, or whose rest of a body nobody waits for.

    uvicorn waits for ever for both: a client that sends a byte now and then would hold a connection as long as it
    likes.
    """

    head_seconds: ClassVar[float]
    """How long a head may take, from the connection or the head's first byte on."""

    rest_seconds: ClassVar[float] = 5.0
    """How long the rest of a body may take that comes after its answer."""

    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A client has connected."""
        super().connection_made(transport)
        self._end_in(self.head_seconds)

    def on_message_begin(self) -> None:
        """The first byte of a head has come."""
        super().on_message_begin()
        if self._deadline is None:
            self._end_in(self.head_seconds)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._go_on()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The answer is sent, perhaps before all of the body has come."""
        super().on_response_complete()
        if self.cycle.more_body:
            self._end_in(self.rest_seconds)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._go_on()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        self._go_on()
        super().connection_lost(exc)

    def _end_in(self, seconds: float) -> None:
        self._go_on()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _go_on(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def http_protocol(head_seconds: float) -> type[HttpProtocol]:
    """The protocol with a limit for heads, as uvicorn wants it."""
    return type("HttpProtocol", (HttpProtocol,), {"head_seconds": head_seconds})
