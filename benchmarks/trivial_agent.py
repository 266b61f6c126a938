"""The agent of the golden-path benchmark: thinks, calls one tool, answers."""

from __future__ import annotations

from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.user_execution_context import UserExecutionContext


class TrivialAgent:
    """Costs nothing by itself, so that what is measured is the way of the events."""

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Answer with the message and the user that it was answered for."""

        async def echo() -> JsonValue:
            return message

        await emit.thinking("thinking")
        echoed = await emit.tool("echo", echo)
        return {"echo": echoed, "user_id": context.user_id}
