"""`/api/runs`: where a run stands, and ending it early."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from netra_backend.app.db.repositories.runs import RunRepository

from .dependencies import ContextDep, PathId
from .state import ServicesDep

router = APIRouter(prefix="/api/runs", tags=["runs"])

_SHOWN = ("run_id", "thread_id", "status", "attempt", "agent", "created_at", "started_at", "finished_at", "error")


@router.get("/{run_id}")
async def get_run(run_id: PathId, context: ContextDep, services: ServicesDep) -> dict[str, Any]:
    """Where a run stands."""
    run = await RunRepository(context, services.database).get(run_id)
    return {name: getattr(run, name) for name in _SHOWN}


@router.post("/{run_id}/cancel", status_code=HTTPStatus.ACCEPTED)
async def cancel_run(run_id: PathId, context: ContextDep, services: ServicesDep) -> dict[str, Any]:
    """End a run; one that has ended stays as it is."""
    return {"run_id": run_id, "status": await services.runs.cancel(context, run_id)}
