"""The supervisor: does a claimed run with a fresh agent, and ends it truthfully whatever the agent does."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from netra_backend.app.services.agent_events import EventType
from netra_backend.app.services.fault_points import reach_async
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Journal
from netra_backend.app.services.refusals import EventRefusedError, StaleRunError
from netra_backend.app.services.run_state import FailureCode, RunStatus
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .base import JournalEmitter, describe
from .registry import AgentRegistry
from .replay import Replay

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
            asyncio.CancelledError: the run was stopped from outside; whoever did so has ended it, or another attempt
                will go on with it.
        """
        replay = Replay(journal.earlier)
        emit = JournalEmitter(context, agent, journal, replay)
        with context.bind():
            try:
                if replay.unknown is not None:
                    raise _OutcomeUnknown
                result = await self._answer(context, agent, message, emit)
                replay.end(context.request_id)
                completed = emit.event(EventType.AGENT_COMPLETED, {"result": result}, final=True)
                await reach_async("before_completion")
                await journal.finish(completed, RunStatus.COMPLETED)
                await reach_async("after_completion")
            except StaleRunError as error:
                _logger.info("the run has ended elsewhere: %s", error)
            except EventRefusedError as error:
                await self._fail(emit, journal, FailureCode.AGENT_ERROR, str(error))
            except _DeadlineExceeded:
                text = "the run took longer than it may"
                await self._fail(emit, journal, FailureCode.DEADLINE_EXCEEDED, text, RunStatus.TIMED_OUT)
            except _OutcomeUnknown:
                text = (
                    f"the server stopped while the tool {replay.unknown} was at work; whether it has done its work is "
                    "not known, and it may not be done twice"
                )
                await self._fail(emit, journal, FailureCode.TOOL_OUTCOME_UNKNOWN, text)
            except Exception as error:
                if replay.divergence is not None:  # whatever the agent has made of it
                    text = f"the run could not go on after the server stopped: {replay.divergence}"
                    await self._fail(emit, journal, FailureCode.REPLAY_DIVERGED, text)
                    return
                _logger.exception("the agent %s failed", agent)
                text = f"the agent failed: {describe(error)}"
                await self._fail(emit, journal, FailureCode.AGENT_ERROR, text)
            finally:
                journal.close()

    async def _answer(self, context: UserExecutionContext, name: str, message: str, emit: JournalEmitter) -> JsonValue:
        remaining = None if context.deadline is None else (context.deadline - datetime.now(UTC)).total_seconds()
        limit = asyncio.timeout(remaining)
        try:
            async with limit:
                return await self._registry.create(name).run(context, message, emit)
        except TimeoutError:
            if limit.expired():
                raise _DeadlineExceeded from None
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # nobody stops the run: the agent itself let it escape
                raise RuntimeError("the agent was cancelled by itself") from error
            raise

    async def _fail(
        self,
        emit: JournalEmitter,
        journal: Journal,
        code: FailureCode,
        message: str,
        status: RunStatus = RunStatus.FAILED,
    ) -> None:
        failed = emit.event(EventType.AGENT_FAILED, {"code": code, "message": message}, final=True)
        try:
            await journal.finish(failed, status, code)
        except StaleRunError as error:
            _logger.info("the run has ended elsewhere: %s", error)


class _DeadlineExceeded(Exception):
    """Raised when the run's deadline has passed."""


class _OutcomeUnknown(Exception):
    """Raised when a tool was at work when the earlier attempt ended, and may not be repeated."""
