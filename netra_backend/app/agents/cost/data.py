"""The data agent: what the user's calls cost."""

from __future__ import annotations

import asyncio
from typing import cast

from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .figures import spend
from .snapshot import RecordsSnapshot


class DataAgent:
    """Sums up the user's spend; its result is a `SpendJson`."""

    def __init__(self, records: RecordsSnapshot) -> None:
        self._records = records

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Sum up the spend of the context's user, whatever the message is."""

        async def summarize_spend() -> JsonValue:
            records = await self._records.load(context)
            summary = await asyncio.to_thread(spend, records)
            return cast("JsonValue", summary.to_json())

        await emit.thinking("Adding up what your calls cost, by model and by operation.")
        return await emit.tool("summarize_spend", summarize_spend, idempotent=True)
