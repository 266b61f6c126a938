"""The optimization agent: what the user could save."""

from __future__ import annotations

import asyncio
from typing import cast

from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .figures import savings
from .snapshot import RecordsSnapshot


class OptimizationAgent:
    """Finds the user's savings; its result is a `SavingsJson`."""

    def __init__(self, records: RecordsSnapshot) -> None:
        self._records = records

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Find the savings of the context's user, whatever the message is."""

        async def find_savings() -> JsonValue:
            records = await self._records.load(context)
            found = await asyncio.to_thread(savings, records)
            return cast("JsonValue", found.to_json())

        await emit.thinking("Looking for repeated prompts, calls that can wait, and small calls on a dear model.")
        return await emit.tool("find_savings", find_savings, idempotent=True)
