"""`/api/usage-records`: what the user's AI calls have cost."""

from __future__ import annotations

import asyncio
import io
import tempfile
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request

from netra_backend.app.db.repositories.usage_records import UsageRecordRepository
from netra_backend.app.services.refusals import InvalidRequestError
from netra_backend.app.services.usage_record import UsageRecord

from .dependencies import ContextDep, Cursor, Limit
from .state import ServicesDep
from .usage_upload import UploadFormat, read_records

router = APIRouter(prefix="/api/usage-records", tags=["usage records"])

MEMORY_BYTES = 1024 * 1024
"""How much of an upload is kept in memory before it goes to a temporary file."""


def _record(record: UsageRecord) -> dict[str, Any]:
    return {**asdict(record), "cost_usd": f"{record.cost_usd:f}"}


@router.get("")
async def list_usage_records(
    context: ContextDep, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """The user's records, upload by upload."""
    page, next_cursor = await UsageRecordRepository(context, services.database).page(limit=limit, cursor=cursor)
    return {"usage_records": [_record(record) for record in page], "next_cursor": next_cursor}


@router.post("", status_code=HTTPStatus.CREATED)
async def upload_usage_records(request: Request, context: ContextDep, services: ServicesDep) -> dict[str, Any]:
    """Add the records of a file, all of them or none: the body is `text/csv` or `application/x-ndjson`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        format_ = UploadFormat(media_type)
    except ValueError:
        raise InvalidRequestError(
            f"content-type: expected {' or '.join(UploadFormat)}, got {media_type[:60] or 'none'}"
        ) from None
    await services.stored_bytes.check(context)
    with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as file:
        async for chunk in request.stream():
            await asyncio.to_thread(file.write, chunk)
        file.seek(0)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="" if format_ is UploadFormat.CSV else None)
        try:
            upload = await UsageRecordRepository(context, services.database).add(
                read_records(text, format_), most=services.settings.max_usage_records_per_user
            )
        except BaseException:
            await services.eraser.finish_usage_records(context)
            raise
        finally:
            text.detach()
    services.stored_bytes.forget(context.user_id)
    return {"upload_id": upload.upload_id, "accepted": upload.accepted}


@router.delete("")
async def delete_usage_records(context: ContextDep, services: ServicesDep) -> dict[str, Any]:
    """Erase all of the user's records."""
    deleted = await UsageRecordRepository(context, services.database).erase()
    services.stored_bytes.forget(context.user_id)
    await services.eraser.finish_usage_records(context)
    return {"deleted": deleted}
