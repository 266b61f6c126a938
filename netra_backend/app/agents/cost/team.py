"""The cost team: answers what a user's AI calls cost and what could be saved."""

from __future__ import annotations

from typing import cast

from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter, UsageRecords
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .data import DataAgent
from .figures import SavingsJson, SpendJson, figures
from .optimization import OptimizationAgent
from .report import ReportAgent
from .snapshot import RecordsSnapshot


class CostTeam:
    """The supervisor of the data, the optimization and the report agent."""

    def __init__(self, records: UsageRecords) -> None:
        """
        Args:
            records: where the records of a context's user are read.
        """
        self._records = records

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Analyse the costs of the context's user, whatever the message is.

        Returns:
            `{"answer": Markdown text, "figures": FiguresJson}` (docs/wire.md, "The cost team's answer").
        """
        await emit.thinking("I ask for your spend, then for possible savings, then for a report of both.")
        snapshot = RecordsSnapshot(self._records)
        spend = cast("SpendJson", await emit.delegate("data_agent", DataAgent(snapshot), message))
        savings = cast("SavingsJson", await emit.delegate("optimization_agent", OptimizationAgent(snapshot), message))
        answer = await emit.delegate("report_agent", ReportAgent(spend, savings), message)
        return {"answer": answer, "figures": cast("JsonValue", figures(spend, savings))}
