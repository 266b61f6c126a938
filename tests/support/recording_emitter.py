"""An emitter that keeps what it is told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from netra_backend.app.services.agent_events import AgentEvent, EventType
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Agent
from netra_backend.app.services.user_execution_context import UserExecutionContext


@dataclass(kw_only=True)
class RecordingEmitter:
    """Obeys the `Emitter` port without a server: events in their order, results as a log would give them back.

    Attributes:
        context: for whom the agent runs.
        agent: the agent's name.
        events: what happened so far; sub-agents' emitters share the list.
        deltas: the streamed text so far; shared likewise.
        idempotent: each tool that was called, and whether it was declared idempotent; shared likewise.
    """

    context: UserExecutionContext
    agent: str = "supervisor"
    events: list[AgentEvent] = field(default_factory=list)
    deltas: list[str] = field(default_factory=list)
    idempotent: dict[str, bool] = field(default_factory=dict)

    async def thinking(self, text: str) -> None:
        """Keep an `agent_thinking`."""
        self._keep(EventType.AGENT_THINKING, {"text": text})

    async def delta(self, text: str) -> None:
        """Keep a piece of streamed text."""
        self.deltas.append(text)

    async def tool(
        self,
        name: str,
        call: Callable[[], Awaitable[JsonValue]],
        *,
        arguments: Mapping[str, JsonValue] | None = None,
        idempotent: bool = False,
    ) -> JsonValue:
        """Call a tool between its two events."""
        self.idempotent[name] = idempotent
        about: dict[str, JsonValue] = {"tool_call_id": f"{len(self.events)}", "tool": name}
        self._keep(EventType.TOOL_EXECUTING, {**about, "arguments": arguments or {}})
        try:
            result = _stored(await call())
        except Exception as error:
            self._keep(EventType.TOOL_COMPLETED, {**about, "status": "error", "error": str(error), "duration_ms": 0})
            raise
        self._keep(EventType.TOOL_COMPLETED, {**about, "status": "ok", "result": result, "duration_ms": 0})
        return result

    async def keyed_tool(
        self,
        name: str,
        call: Callable[[str], Awaitable[JsonValue]],
        *,
        arguments: Mapping[str, JsonValue] | None = None,
    ) -> JsonValue:
        """Call a tool with a key between its two events."""
        return await self.tool(name, lambda: call(f"{len(self.events)}"), arguments=arguments, idempotent=True)

    async def delegate(self, name: str, agent: Agent, message: str) -> JsonValue:
        """Run a sub-agent under a child context between its two events."""
        child = RecordingEmitter(
            context=self.context.create_child_context(name),
            agent=name,
            events=self.events,
            deltas=self.deltas,
            idempotent=self.idempotent,
        )
        return await child.run(agent, message)

    async def run(self, agent: Agent, message: str) -> JsonValue:
        """Run this emitter's agent between its started and its completed or failed."""
        self._keep(EventType.AGENT_STARTED, {})
        try:
            result = _stored(await agent.run(self.context, message, self))
        except Exception as error:
            self._keep(EventType.AGENT_FAILED, {"code": type(error).__name__, "message": str(error)})
            raise
        self._keep(EventType.AGENT_COMPLETED, {"result": result})
        return result

    def _keep(self, event_type: EventType, data: Mapping[str, JsonValue]) -> None:
        self.events.append(AgentEvent(context=self.context, type=event_type, agent=self.agent, data=_text(data)))


def _text(value: JsonValue) -> str:
    return json.dumps(value, allow_nan=False)


def _stored(value: JsonValue) -> JsonValue:
    """The value after a trip through the log, which keeps nothing that JSON does not."""
    return cast("JsonValue", json.loads(_text(value)))
