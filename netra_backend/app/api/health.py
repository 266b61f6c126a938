"""`/health` and `/metrics`."""

from __future__ import annotations

import hmac

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import select

from netra_backend.app.services.principal import AuthenticationError
from netra_backend.app.services.refusals import ShuttingDownError

from .client_address import ClientDep
from .state import ServicesDep

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(services: ServicesDep) -> dict[str, str]:
    """The database answers too, and messages are taken; 503 when it does not, or the server is going away."""
    if services.runs.is_draining:
        raise ShuttingDownError
    services.database.tenure.check()
    await services.database.read(lambda connection: connection.execute(select(1)).scalar_one())
    return {"status": "ready"}


@router.get("/metrics")
async def metrics(request: Request, services: ServicesDep, client: ClientDep) -> Response:
    """The server's numbers, for a program of this machine, or with `Authorization: Bearer` and the metrics token.

    What a proxy of this machine hands on is not of this machine.
    """
    token = services.settings.metrics_token
    if token is not None:
        expected = f"Bearer {token.get_secret_value()}"
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected.encode()):
            raise AuthenticationError("expected the metrics token")
    elif not client.is_direct_loopback:
        raise AuthenticationError(
            "the metrics are for programs of this machine, without a proxy between; "
            "set NETRA_METRICS_TOKEN to read them from elsewhere"
        )
    return Response(services.metrics.expose(), media_type=CONTENT_TYPE_LATEST)
