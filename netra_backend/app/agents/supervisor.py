"""The supervisor: does a claimed run with a fresh agent, and ends it truthfully whatever the agent does."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from netra_backend.app.services.agent_events import EventType
from netra_backend.app.services.fault_points import reach_async
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Journal
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.run_state import FailureCode, RunStatus
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .base import JournalEmitter, describe
from .registry import AgentRegistry
from .replay import Replay

STOP_SECONDS: Final = 5.0
"""How long an agent that was stopped may clean up; whoever swallows the cancellation is left behind then."""

_logger = logging.getLogger(__name__)


class Supervisor:
    """Does runs.

    Args:
        registry: makes the agents.
        stop_seconds: how long an agent that is stopped may take to end.
    """

    def __init__(self, registry: AgentRegistry, *, stop_seconds: float = STOP_SECONDS) -> None:
        self._registry = registry
        self._stop_seconds = stop_seconds

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
        """The agent's answer; in a task of its own, so that whether it lets itself be stopped is not its choice."""
        remaining = None if context.deadline is None else (context.deadline - datetime.now(UTC)).total_seconds()
        work = asyncio.ensure_future(self._registry.create(name).run(context, message, emit))
        try:
            await asyncio.wait({work}, timeout=remaining if remaining is None else max(remaining, 0))
        except asyncio.CancelledError:
            await self._stop(work, name)
            raise
        if not work.done():
            await self._stop(work, name)
            raise _DeadlineExceeded
        if work.cancelled():  # nobody stops the run: the agent itself let it escape
            raise RuntimeError("the agent was cancelled by itself")
        return work.result()

    async def _stop(self, work: asyncio.Future[JsonValue], name: str) -> None:
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=self._stop_seconds)
        if not done:
            _logger.error("the agent %s did not stop within %g s; it is left behind", name, self._stop_seconds)
        work.add_done_callback(_look_away)

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


def _look_away(work: asyncio.Future[JsonValue]) -> None:
    """What an agent raises after it was stopped concerns nobody."""
    if not work.cancelled():
        work.exception()


class _DeadlineExceeded(Exception):
    """Raised when the run's deadline has passed."""


class _OutcomeUnknown(Exception):
    """Raised when a tool was at work when the earlier attempt ended, and may not be repeated."""
