"""`/api/threads`: conversations, what was said in them, and what happens in them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

import orjson
from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.db.repositories.threads import Thread, ThreadRepository
from netra_backend.app.realtime.event_stream import Chunks, EventStream
from netra_backend.app.realtime.messages import (
    RETENTION,
    WITHOUT_NUL,
    AgentName,
    ClientMessageId,
    IfBusyText,
    MessageText,
    Uuid,
    without_nul,
)
from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.principal import SESSION_ENDED, AuthenticationError
from netra_backend.app.services.submission import IfBusy, Submission

from .dependencies import ContextDep, Cursor, Limit, PathId, PrincipalDep
from .state import ServicesDep

router = APIRouter(prefix="/api/threads", tags=["threads"])

Title = Annotated[str, Field(max_length=200, json_schema_extra=WITHOUT_NUL), AfterValidator(without_nul)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewThread(_Body):
    """A thread to make; an id of the client's own is a UUID."""

    thread_id: Uuid | None = None
    title: Title | None = None


class ThreadChange(_Body):
    """What may be changed of a thread."""

    title: Title | None


class NewMessage(_Body):
    """A message to say; see the frame `user_message`."""

    text: MessageText
    client_message_id: ClientMessageId | None = None
    if_busy: IfBusyText = "enqueue"
    agent: AgentName | None = None


class _EventStreamResponse(StreamingResponse):
    """A stream that is closed whatever happens to its response, also when the client is gone before it begins."""

    media_type = "text/event-stream"

    def __init__(self, chunks: Chunks) -> None:
        super().__init__(chunks)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._chunks.aclose()


def _thread(thread: Thread) -> dict[str, Any]:
    return {name: getattr(thread, name) for name in Thread.__slots__}


def _message(entry: LogEntry) -> dict[str, Any]:
    data = orjson.loads(entry.data)
    is_user = entry.type == EventType.USER_MESSAGE
    return {
        "seq": entry.seq,
        "role": "user" if is_user else "assistant",
        "content": data["text"] if is_user else data["result"],
        "run_id": entry.run_id,
        "timestamp": entry.timestamp,
    }


@router.get("")
async def list_threads(
    context: ContextDep, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """The user's threads, newest first."""
    page, next_cursor = await ThreadRepository(context, services.database).page(limit=limit, cursor=cursor)
    return {"threads": [_thread(thread) for thread in page], "next_cursor": next_cursor}


@router.post("", status_code=HTTPStatus.CREATED)
async def create_thread(body: NewThread, context: ContextDep, services: ServicesDep) -> dict[str, Any]:
    """Make an empty thread."""
    thread_id = body.thread_id or str(uuid4())
    return _thread(await ThreadRepository(context, services.database).create(thread_id, body.title))


@router.get("/{thread_id}")
async def get_thread(thread_id: PathId, context: ContextDep, services: ServicesDep) -> dict[str, Any]:
    """One thread."""
    return _thread(await ThreadRepository(context, services.database).get(thread_id))


@router.patch("/{thread_id}")
async def rename_thread(
    thread_id: PathId, body: ThreadChange, context: ContextDep, services: ServicesDep
) -> dict[str, Any]:
    """Change a thread's title."""
    return _thread(await ThreadRepository(context, services.database).rename(thread_id, body.title))


@router.delete("/{thread_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_thread(thread_id: PathId, context: ContextDep, services: ServicesDep) -> None:
    """Erase a thread with all that is in it; its runs stop."""

    def erased(unfinished: Sequence[str]) -> None:
        for run_id in unfinished:
            services.runs.stop(context.user_id, run_id)
        services.hub.forget((context.user_id, thread_id))
        services.stored_bytes.forget(context.user_id)

    await ThreadRepository(context, services.database).delete(thread_id, erased)
    await services.eraser.finish_thread(context)


@router.get("/{thread_id}/messages")
async def list_messages(
    thread_id: PathId, context: ContextDep, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """What was said, oldest first."""
    repository = ThreadRepository(context, services.database)
    page = await repository.messages(thread_id, limit=limit, cursor=cursor)
    gap = None
    if page.gap is not None:
        from_seq, to_seq = page.gap
        gap = {"from_seq": from_seq, "to_seq": to_seq, "reason": RETENTION}
    return {
        "messages": [_message(entry) for entry in page.entries],
        "next_cursor": page.next_cursor,
        "gap": gap,
    }


@router.post("/{thread_id}/messages", status_code=HTTPStatus.ACCEPTED)
async def send_message(
    thread_id: PathId, body: NewMessage, context: ContextDep, services: ServicesDep
) -> dict[str, Any]:
    """Say something and start a run; a new id makes a new thread, as on the socket."""
    submission = Submission(
        text=body.text,
        client_message_id=body.client_message_id,
        names_thread=True,
        if_busy=IfBusy(body.if_busy),
        agent=body.agent,
    )
    accepted = await services.runs.submit(context, submission)
    return {
        "client_message_id": accepted.client_message_id,
        "thread_id": accepted.thread_id,
        "run_id": accepted.run_id,
        "seq": accepted.seq,
    }


@router.get("/{thread_id}/events", response_class=StreamingResponse)
async def watch_events(
    thread_id: PathId,
    context: ContextDep,
    principal: PrincipalDep,
    services: ServicesDep,
    last_event_id: Annotated[int, Header(ge=0, le=2**53)] = 0,
) -> StreamingResponse:
    """The log as server-sent events, then live; `Last-Event-ID` skips what the client has."""
    log = EventLog(context, services.database)
    await log.read(last_event_id, 1)  # an unknown thread is a 404, not an empty stream
    stream = EventStream(principal, log, services.hub, services.connections, room=services.room)
    stream.open((context.user_id, thread_id))
    try:
        if not await services.accounts.holds(principal):  # it may have ended before there was a stream to end
            raise AuthenticationError(SESSION_ENDED)
    except BaseException:
        stream.release()
        raise
    return _EventStreamResponse(stream.chunks(last_event_id))
