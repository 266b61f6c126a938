"""A way to PostgreSQL that breaks at the worst moment, while a transaction commits, or that takes its time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Final

SIZE: Final = 65_536


class Cut(Enum):
    """Where the next COMMIT is lost."""

    NOWHERE = auto()
    ON_THE_WAY = auto()
    """The server never hears of it."""
    ON_THE_WAY_BACK = auto()
    """The server has committed; the answer is lost."""


class Way:
    """A proxy on loopback, each connection in threads of its own.

    Args:
        port: of the server.
        pause: called before whatever is passed on, in either direction: it may take a while.

    Attributes:
        port: where it listens.
        cut: what happens to the next COMMIT.
        is_open: whether new connections are let through.
        strands: whether the server does not hear that its clients are gone.
        was_cut: set once a COMMIT was lost.
    """

    def __init__(self, port: int, pause: Callable[[], object] = lambda: None) -> None:
        self._server_port = port
        self._pause = pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.cut = Cut.NOWHERE
        self.is_open = True
        self.strands = False
        self.was_cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                if not self.is_open:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                swallow = threading.Event()
                threading.Thread(target=self._to_server, args=(client, server, swallow), daemon=True).start()
                threading.Thread(target=self._to_client, args=(client, server, swallow), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(SIZE):
                if b"COMMIT" in data and self.cut is not Cut.NOWHERE:
                    if self.cut is Cut.ON_THE_WAY:
                        self._sever(client, server)
                        return
                    swallow.set()
                self._pause()
                server.sendall(data)
        if not self.strands:
            _close(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(SIZE):
                if swallow.is_set():
                    self._sever(client, server)
                    return
                self._pause()
                client.sendall(data)
        _close(client, server)

    def _sever(self, *ends: socket.socket) -> None:
        self.cut = Cut.NOWHERE
        _close(*ends)
        self.was_cut.set()

    def strand(self) -> None:
        """Break off all connections, and let the server believe that they go on."""
        self.strands = True
        _close(*self._sockets[::2])

    def close(self) -> None:
        """Close everything."""
        _close(self._listener, *self._sockets)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):  # the other side has closed it already
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def way_to(port: int, pause: Callable[[], object] = lambda: None) -> Iterator[Way]:
    """A way to a server on loopback, for the block; see `Way`."""
    way = Way(port, pause)
    try:
        yield way
    finally:
        way.close()
