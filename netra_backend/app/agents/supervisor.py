"""The supervisor: does a claimed run with a fresh agent, and ends it truthfully whatever the agent does."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from netra_backend.app.services.agent_events import AgentEvent, EventType
from netra_backend.app.services.ports import Journal
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .base import AGENT_ERROR, JournalEmitter, describe
from .registry import AgentRegistry

DEADLINE_EXCEEDED: Final = "deadline_exceeded"

_logger = logging.getLogger(__name__)


class Supervisor:
    """Does runs.

    Args:
        registry: makes the agents.
    """

    def __init__(self, registry: AgentRegistry) -> None:
        self._registry = registry

    async def execute(self, context: UserExecutionContext, agent: str, message: str, journal: Journal) -> None:
        """Do a run; see `Execute`.

        Args:
            context: of the run; its deadline is the run's.
            agent: the name of the agent that answers.
            message: the user's text.
            journal: the run's.

        Raises:
            asyncio.CancelledError: the run was stopped from outside; whoever did so has ended it.
        """
        emit = JournalEmitter(context, agent, journal)
        with context.bind():
            try:
                completed = await self._answer(context, agent, message, emit)
                await journal.finish(completed, RunStatus.COMPLETED)
            except StaleRunError as error:
                _logger.info("the run has ended elsewhere: %s", error)
            except _DeadlineExceeded:
                text = "the run took longer than it may"
                await self._fail(emit, journal, DEADLINE_EXCEEDED, text)
            except Exception as error:
                _logger.exception("the agent %s failed", agent)
                await self._fail(emit, journal, AGENT_ERROR, f"the agent failed: {describe(error)}")

    async def _answer(self, context: UserExecutionContext, name: str, message: str, emit: JournalEmitter) -> AgentEvent:
        remaining = None if context.deadline is None else (context.deadline - datetime.now(UTC)).total_seconds()
        limit = asyncio.timeout(remaining)
        try:
            async with limit:
                result = await self._registry.create(name).run(context, message, emit)
        except TimeoutError:
            if limit.expired():
                raise _DeadlineExceeded from None
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # nobody stops the run: the agent itself let it escape
                raise RuntimeError("the agent was cancelled by itself") from error
            raise
        return emit.event(EventType.AGENT_COMPLETED, {"result": result}, final=True)

    async def _fail(self, emit: JournalEmitter, journal: Journal, code: str, message: str) -> None:
        failed = emit.event(EventType.AGENT_FAILED, {"code": code, "message": message}, final=True)
        try:
            await journal.finish(failed, RunStatus.FAILED, code)
        except StaleRunError as error:
            _logger.info("the run has ended elsewhere: %s", error)


class _DeadlineExceeded(Exception):
    """Raised when the run's deadline has passed."""
