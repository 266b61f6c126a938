"""A server's app, started in the test's own process, so that a test can look into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from netra_backend.app.api.state import Services
from netra_backend.app.config import Settings
from netra_backend.app.main import create_app


@dataclass
class Served:
    """A started app; hands on what its lifespan gave with each request, as ASGI servers do."""

    app: FastAPI
    services: Services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        await self.app({**scope, "state": {"services": self.services}}, receive, send)


@asynccontextmanager
async def started(data_dir: Path, **settings: Any) -> AsyncIterator[Served]:
    """An app over a data folder, between its start and its stop."""
    app = await asyncio.to_thread(create_app, Settings(data_dir=data_dir, **settings))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        yield Served(app, state["services"])
