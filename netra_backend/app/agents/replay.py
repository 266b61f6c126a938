"""What earlier attempts of a run have logged, so that a later one goes on where the log ends.

The agents run again from the beginning. What they tell is compared, agent by agent and in order, with what is stored:
it is not logged a second time, and a tool or sub-agent that has ended is not called a second time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.json_values import JsonValue


class ReplayDivergedError(Exception):
    """Raised when an agent that runs again does something else than it did: the stored results are of no use to it."""


class EarlierFailureError(Exception):
    """Raised in place of what a tool or a sub-agent raised in an earlier attempt.

    Attributes:
        step: the tool's or the sub-agent's name.
        error: the name of the type of what it raised; its words are not stored.
    """

    def __init__(self, step: str, error: str) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error

    def __str__(self) -> str:
        return f"{self.step} raised {self.error} in an earlier attempt"


@dataclass(slots=True)
class Step:
    """A tool or a sub-agent that was begun.

    Attributes:
        name: its name.
        key: the `tool_call_id`, or the sub-agent's `request_id`.
        arguments: of the tool.
        outcome: the data of its last event; None when it has none.
        failed_with: the name of the type of what it raised.
    """

    name: str
    key: str
    arguments: JsonValue = None
    outcome: dict[str, Any] | None = None
    failed_with: str | None = None

    def result(self) -> JsonValue:
        """What it returned; raises EarlierFailureError when it raised."""
        if self.failed_with is not None:
            raise EarlierFailureError(self.name, self.failed_with)
        return self.outcome["result"] if self.outcome else None


@dataclass(slots=True)
class AgentSteps:
    """What one agent of the run, its own or a sub-agent, has told and begun, and has not come to again."""

    thoughts: deque[str] = field(default_factory=deque)
    tools: deque[Step] = field(default_factory=deque)
    agents: deque[Step] = field(default_factory=deque)


class Replay:
    """The steps of a run's earlier attempts.

    Args:
        entries: of the run, in order.

    Attributes:
        unknown: the name of a tool that began, has no outcome and may not be repeated.
        divergence: how the run has left the path of its earlier attempts.
    """

    def __init__(self, entries: Iterable[LogEntry]) -> None:
        self.divergence: ReplayDivergedError | None = None
        self._agents: dict[str, AgentSteps] = {}
        tools: dict[str, Step] = {}
        sub_agents: dict[str, Step] = {}
        only_once: dict[str, str] = {}
        for entry in entries:
            data = orjson.loads(entry.data)
            match entry.type:
                case EventType.AGENT_THINKING:
                    self._of(entry.request_id).thoughts.append(data["text"])
                case EventType.TOOL_EXECUTING:
                    tool = Step(data["tool"], data["tool_call_id"], data["arguments"])
                    tools[tool.key] = tool
                    self._of(entry.request_id).tools.append(tool)
                    if not data["idempotent"]:
                        only_once[tool.key] = tool.name
                case EventType.TOOL_COMPLETED:
                    tool = tools[data["tool_call_id"]]
                    tool.outcome, tool.failed_with = data, data.get("error")
                    only_once.pop(tool.key, None)
                case EventType.AGENT_STARTED if entry.parent_request_id is not None:
                    sub_agent = Step(entry.agent or "", entry.request_id)
                    sub_agents[sub_agent.key] = sub_agent
                    self._of(entry.parent_request_id).agents.append(sub_agent)
                case EventType.AGENT_COMPLETED | EventType.AGENT_FAILED if entry.request_id in sub_agents:
                    sub_agent = sub_agents[entry.request_id]
                    sub_agent.outcome, sub_agent.failed_with = data, data.get("message")
        self.unknown = next(iter(only_once.values()), None)

    def _of(self, request_id: str) -> AgentSteps:
        return self._agents.setdefault(request_id, AgentSteps())

    def has_thought(self, request_id: str, text: str) -> bool:
        """Whether the agent's next thought is logged; then it counts as told."""
        steps = self._going_on(request_id)
        if steps is None or not steps.thoughts or steps.thoughts[0] != text:
            return False
        steps.thoughts.popleft()
        return True

    def next_tool(self, request_id: str, name: str, arguments: Callable[[], JsonValue]) -> Step | None:
        """The stored step of the tool that an agent comes to now; None when the log ends before it.

        Args:
            request_id: the agent's.
            name: of the tool.
            arguments: gives them as their JSON reads; asked only where there is something to compare them with.

        Raises:
            ReplayDivergedError: the agent called something else here before.
        """
        steps = self._going_on(request_id)
        if steps is None or not steps.tools:
            return None
        step = steps.tools.popleft()
        if (step.name, step.arguments) != (name, arguments()):
            self._diverge(f"the tool {step.name}, and now {name} or other arguments")
        return step

    def next_agent(self, request_id: str, name: str) -> Step | None:
        """The stored step of the sub-agent that an agent comes to now; otherwise as `next_tool`."""
        steps = self._going_on(request_id)
        if steps is None or not steps.agents:
            return None
        step = steps.agents.popleft()
        if step.name != name:
            self._diverge(f"the agent {step.name}, and now {name}")
        return step

    def end(self, request_id: str) -> None:
        """The agent has ended; raises ReplayDivergedError when it left out what it did before."""
        steps = self._going_on(request_id)
        if steps is not None and (left_out := [*steps.tools, *steps.agents]):
            self._diverge(f"{left_out[0].name}, and now nothing more")

    def _going_on(self, request_id: str) -> AgentSteps | None:
        if self.divergence is not None:  # whoever caught it must not go on
            raise self.divergence
        return self._agents.get(request_id)

    def _diverge(self, what: str) -> None:
        self.divergence = ReplayDivergedError(f"an earlier attempt called {what}")
        raise self.divergence
