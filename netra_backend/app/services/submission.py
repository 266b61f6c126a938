"""A message on its way in: what may be asked for, and what is answered once it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class IfBusy(StrEnum):
    """What becomes of a message whose thread still has an unfinished run."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a user says.

    Attributes:
        text: the message.
        client_message_id: the client's own id of it; None lets the server choose one.
        names_thread: whether the client named the thread.
        if_busy: what to do while the thread has an unfinished run.
        agent: who shall answer; None for the default.
    """

    text: str
    client_message_id: str | None = None
    names_thread: bool = False
    if_busy: IfBusy = IfBusy.ENQUEUE
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that is stored: what `message_accepted` tells.

    Attributes:
        repeated: whether it was stored before, and came again.
    """

    client_message_id: str
    thread_id: str
    run_id: str
    seq: int
    repeated: bool
