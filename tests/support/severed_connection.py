"""A way to PostgreSQL that is slow, or breaks at the worst moment: while a transaction commits."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
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

    Attributes:
        port: where it listens.
        cut: what happens to the next COMMIT.
        is_open: whether new connections are let through.
        was_cut: set once a COMMIT was lost.
        delay: the most seconds that anything takes in either direction.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.cut = Cut.NOWHERE
        self.is_open = True
        self.delay = 0.0
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
                self._wait()
                if b"COMMIT" in data and self.cut is not Cut.NOWHERE:
                    if self.cut is Cut.ON_THE_WAY:
                        self._sever(client, server)
                        return
                    swallow.set()
                server.sendall(data)
        _close(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(SIZE):
                self._wait()
                if swallow.is_set():
                    self._sever(client, server)
                    return
                client.sendall(data)
        _close(client, server)

    def _wait(self) -> None:
        if self.delay:
            time.sleep(random.uniform(0, self.delay))

    def _sever(self, *ends: socket.socket) -> None:
        self.cut = Cut.NOWHERE
        _close(*ends)
        self.was_cut.set()

    def close(self) -> None:
        """Close everything."""
        _close(self._listener, *self._sockets)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):  # the other side has closed it already
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def way_to(port: int) -> Iterator[Way]:
    """A way to a server on loopback, for the block."""
    way = Way(port)
    try:
        yield way
    finally:
        way.close()
