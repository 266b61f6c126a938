"""What an agent tells the world through: events in the run's journal, under the context they belong to."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson

from netra_backend.app.services.agent_events import MAX_AGENT_NAME, AgentEvent, EventType
from netra_backend.app.services.fault_points import reach_async
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Agent, Journal
from netra_backend.app.services.refusals import EventRefusedError, StaleRunError
from netra_backend.app.services.run_state import FailureCode
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .replay import Replay, ReplayDivergedError

_ENDS_THE_ATTEMPT = (StaleRunError, EventRefusedError, ReplayDivergedError)
"""What an agent did not raise itself, and what is no outcome of the tool or sub-agent it came through."""


def to_json(value: object) -> str:
    """The text of a JSON value.

    Args:
        value: what an agent or a tool gave.

    Raises:
        TypeError: it is no JSON value; says which type is not.
    """
    try:
        json.dumps(value, default=_mapping, allow_nan=False)  # refuses what orjson lets pass: NaN, UUIDs, enums
        return orjson.dumps(
            value, default=_mapping
        ).decode()  # refuses what json lets pass: other keys, half surrogates
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"expected a JSON value: {error}") from None


def _mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"expected a JSON value, got a {type(value).__name__}")


def describe(error: Exception) -> str:
    """What a client is told of an error: its type. Its words may hold anything; they go to the log."""
    return type(error).__name__


class JournalEmitter:
    """The `Emitter` of one agent in one run.

    Args:
        context: the agent's own; a sub-agent's is a child of its caller's.
        agent: its name in the log.
        journal: the run's.
        replay: what earlier attempts of the run have logged.
    """

    def __init__(self, context: UserExecutionContext, agent: str, journal: Journal, replay: Replay) -> None:
        self._context = context
        self._agent = agent
        self._journal = journal
        self._replay = replay

    def event(self, type_: EventType, data: Mapping[str, Any], *, final: bool = False) -> AgentEvent:
        """An event of this agent; raises TypeError when the data is not JSON."""
        return AgentEvent(context=self._context, type=type_, agent=self._agent, data=to_json(data), final=final)

    async def thinking(self, text: str) -> None:
        """Log a thought; see `Emitter.thinking`."""
        if not self._replay.has_thought(self._context.request_id, text):
            await self._journal.append(self.event(EventType.AGENT_THINKING, {"text": text}))

    async def delta(self, text: str) -> None:
        """Stream text; see `Emitter.delta`."""
        self._journal.delta(text)

    async def tool(
        self,
        name: str,
        call: Callable[[], Awaitable[JsonValue]],
        *,
        arguments: Mapping[str, JsonValue] | None = None,
        idempotent: bool = False,
    ) -> JsonValue:
        """Call a tool; see `Emitter.tool`."""
        return await self._tool(name, lambda _key: call(), arguments or {}, idempotent)

    async def keyed_tool(
        self,
        name: str,
        call: Callable[[str], Awaitable[JsonValue]],
        *,
        arguments: Mapping[str, JsonValue] | None = None,
    ) -> JsonValue:
        """Call a tool with its key; see `Emitter.keyed_tool`."""
        return await self._tool(name, call, arguments or {}, idempotent=True)

    async def _tool(
        self,
        name: str,
        call: Callable[[str], Awaitable[JsonValue]],
        arguments: Mapping[str, JsonValue],
        idempotent: bool,
    ) -> JsonValue:
        stored = self._replay.next_tool(self._context.request_id, name, lambda: orjson.loads(to_json(arguments)))
        if stored is not None and stored.outcome is not None:
            return stored.result()
        key = str(uuid4()) if stored is None else stored.key
        about = {"tool_call_id": key, "tool": name}
        if stored is None:
            executing = {**about, "arguments": arguments, "idempotent": idempotent}
            await self._journal.append(self.event(EventType.TOOL_EXECUTING, executing))
            await self._journal.flush()
        else:
            await self._journal.confirm()
        await reach_async("before_tool")
        started = time.monotonic()
        try:
            result = await call(key)
            await reach_async("after_tool")
            done = {**about, "status": "ok", "result": result, "duration_ms": _since(started)}
            await self._journal.append(self.event(EventType.TOOL_COMPLETED, done))
        except _ENDS_THE_ATTEMPT:
            raise
        except Exception as error:
            failed = {**about, "status": "error", "error": describe(error), "duration_ms": _since(started)}
            await self._journal.append(self.event(EventType.TOOL_COMPLETED, failed))
            raise
        return result

    async def delegate(self, name: str, agent: Agent, message: str) -> JsonValue:
        """Run a sub-agent; see `Emitter.delegate`."""
        if not 0 < len(name) <= MAX_AGENT_NAME or not name.isprintable():
            raise ValueError(
                f"delegate: expected a sub-agent's name of 1 to {MAX_AGENT_NAME} printable characters, "
                f"got {name[:MAX_AGENT_NAME]!r} ({len(name)} characters)"
            )
        context = self._context.create_child_context(name)
        stored = self._replay.next_agent(self._context.request_id, name)
        if stored is not None and stored.outcome is not None:
            return stored.result()
        if stored is not None:  # begun before, and not ended: it goes on under the id that the log knows
            context = replace(context, request_id=stored.key)
        emit = JournalEmitter(context, name, self._journal, self._replay)
        if stored is None:
            await self._journal.append(emit.event(EventType.AGENT_STARTED, {}))
        try:
            with context.bind():
                result = await agent.run(context, message, emit)
            self._replay.end(context.request_id)
            await self._journal.append(emit.event(EventType.AGENT_COMPLETED, {"result": result}))
        except _ENDS_THE_ATTEMPT:
            raise
        except Exception as error:
            failed = {"code": FailureCode.AGENT_ERROR, "message": describe(error)}
            await self._journal.append(emit.event(EventType.AGENT_FAILED, failed))
            raise
        return result


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
