"""Agents that a test can steer from outside, by what it says to them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import ClassVar

from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.user_execution_context import UserExecutionContext, current


class GateAgent:
    """ "hold NAME" waits in a tool until the same user says "open NAME"; anything else is echoed at once.

    The gates are keyed by the context's own scoped key, as anything that outlives a run must be.
    """

    _gates: ClassVar[defaultdict[str, asyncio.Event]] = defaultdict(asyncio.Event)

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Wait at a gate, open one, or echo."""
        word, _, name = message.partition(" ")
        gate = self._gates[context.get_scoped_key(f"gate {name}")]

        async def hold() -> JsonValue:
            await gate.wait()
            return name

        await emit.thinking(f"to do: {message}")
        if word == "hold":
            return await emit.tool("hold", hold)
        if word == "open":
            gate.set()
        return {"echo": message, "user_id": current().user_id}


class FaultyAgent:
    """Raises an error whose words must not reach anybody."""

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Fail after a thought."""
        await emit.thinking("this will not end well")
        raise LookupError(f"the secret words of {message}")
