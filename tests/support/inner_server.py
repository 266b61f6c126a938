"""A real server on a free loopback port, in the test's own process and event loop: its parts can be changed first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from netra_backend.app.commands import uvicorn_config
from netra_backend.app.config import Settings
from netra_backend.app.main import create_app


@dataclass(frozen=True, slots=True)
class InnerServer:
    """A running server.

    Attributes:
        url: where it serves, `http://127.0.0.1:PORT`.
        app: what is served.
    """

    url: str
    app: FastAPI

    @property
    def websocket_url(self) -> str:
        """Where its socket is."""
        return f"ws{self.url.removeprefix('http')}/ws"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, or fail to."""
        await super().startup(sockets)
        self.has_begun.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals are the test run's."""
        yield


@asynccontextmanager
async def serving_here(settings: Settings) -> AsyncIterator[InnerServer]:
    """Run a server for the block.

    Args:
        settings: what it runs with; its port is not used.
    """
    app = create_app(settings)
    server = _Server(uvicorn_config(app, settings))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.has_begun.wait()
        try:
            yield InnerServer(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
        finally:
            if server.started:
                app.state.close_connections()
            server.should_exit = True
            await serving
