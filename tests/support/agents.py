"""Agents that a test can steer from outside, by what it says to them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
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


class StepsAgent:
    """Does every kind of step: "work FILE", "fail FILE" or "hold FILE"; its tools tell the file each of their calls."""

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Work, fail after a thought, or wait in a tool."""
        word, _, path = message.partition(" ")
        calls = Path(path)

        async def charge() -> JsonValue:
            _tell(calls, "charge")
            return {"charged": 12}

        async def notify(key: str) -> JsonValue:
            _tell(calls, f"notify {key}")
            return "told"

        async def hold() -> JsonValue:
            _tell(calls, "hold")
            try:
                await asyncio.Event().wait()
            finally:
                _tell(calls, "let go")
            return None

        await emit.thinking(f"to do: {word}")
        if word == "flood":
            for number in range(300):
                await emit.thinking(f"{number} " + "x" * 100_000)
            return None
        if word == "fail":
            raise LookupError("this will not end well")
        if word == "hold":
            return await emit.tool("hold", hold, idempotent=True)
        charged = await emit.tool("charge", charge, arguments={"amount": 12})
        await emit.keyed_tool("notify", notify)
        looked = await emit.delegate("helper", HelperAgent(calls), message)
        return {"charge": charged, "helper": looked}


class HelperAgent:
    """Thinks and looks something up for another agent."""

    def __init__(self, calls: Path) -> None:
        self._calls = calls

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Look it up."""

        async def look() -> JsonValue:
            _tell(self._calls, "look")
            return 7

        await emit.thinking("looking it up")
        return await emit.tool("look", look, idempotent=True)


class StubbornAgent:
    """Swallows every cancellation."""

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Go on for ever."""
        await emit.thinking("I shall not be moved")
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


def _tell(calls: Path, what: str) -> None:
    """Add a line in one write, which a crash cannot tear."""
    with calls.open("ab", buffering=0) as file:
        file.write(f"{what}\n".encode())
