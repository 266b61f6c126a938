"""The hub: who watches which thread in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from sys import getsizeof
from typing import Final

from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.fault_points import reach
from netra_backend.app.services.ports import LogReader

from .messages import ahead_frame, event_frame, frame, gap_frame

MAX_HELD: Final = 1_000
MAX_HELD_BYTES: Final = 512 * 1024
PAGE: Final = 200

ThreadKey = tuple[str, str]
"""(user_id, thread_id)."""


class Subscription:
    """One reader of one thread: every entry after a seq, once, in order.

    It begins by holding what arrives, while its reader catches up from the log; then it passes on live.

    Args:
        key: whose and which thread.
        deliver: takes the frame of an entry, or of a delta; must not block.
        ended: called when the thread is erased.

    Attributes:
        is_over: whether the thread was erased; a new one of the same id is another thread.
        held_bytes: the memory of what is held for a reader that catches up.
    """

    def __init__(self, key: ThreadKey, deliver: Callable[[str], None], ended: Callable[[], None] | None = None) -> None:
        self.key = key
        self.is_over = False
        self._deliver = deliver
        self._ended = ended
        self._cursor = 0
        self._held: list[tuple[int, str]] | None = []
        self.held_bytes = 0
        self._lost_held = False

    def offer(self, seq: int, text: str) -> None:
        """An entry has been committed."""
        if self._held is None:
            if seq > self._cursor:
                self._cursor = seq
                self._deliver(text)
            return
        self.held_bytes += getsizeof(text)
        if len(self._held) < MAX_HELD and self.held_bytes <= MAX_HELD_BYTES:
            self._held.append((seq, text))
        else:  # the log has them all; reading on costs less than keeping them
            self._held.clear()
            self.held_bytes = 0
            self._lost_held = True

    def offer_delta(self, text: str) -> None:
        """A piece of streamed text; whoever is catching up misses it."""
        if self._held is None:
            self._deliver(text)

    def go_live(self, after_seq: int) -> None:
        """Pass on what was held beyond `after_seq`, and everything from now on."""
        held, self._held, self.held_bytes = self._held or [], None, 0
        self._cursor = max(self._cursor, after_seq)
        for seq, text in held:
            self.offer(seq, text)

    def end(self) -> None:
        """The thread was erased."""
        self.is_over = True
        if self._ended is not None:
            self._ended()

    async def catch_up(self, log: LogReader, after_seq: int, send: Callable[[str], object]) -> None:
        """Replay the log after a seq, then go live. For what retention has erased comes one `gap`.

        A reader who has more than there is (a backup was restored, or the thread was erased and made anew) is told so
        by an `error`, and goes on after the last entry: what comes next is below the seq that he waits for.

        Args:
            log: of this thread.
            after_seq: the last entry that the reader has.
            send: an async function that takes a frame and waits while the reader is slow.

        Raises:
            NotFoundError: the user has no such thread.
        """
        while True:
            self._lost_held = False
            entries = await log.read(after_seq, PAGE)
            if entries:
                erased_to = entries[0].seq - 1  # only a beginning of the log is ever erased
            else:
                erased_to, last_seq = await log.bounds()
                if last_seq < after_seq:
                    await send(ahead_frame(self.key[1], after_seq, last_seq))  # type: ignore[misc]
                    after_seq = last_seq
            if erased_to > after_seq:
                await send(gap_frame(self.key[1], after_seq + 1, erased_to))  # type: ignore[misc]
                after_seq = erased_to
            for entry in entries:
                await send(event_frame(entry))  # type: ignore[misc]
                after_seq = entry.seq
            if len(entries) < PAGE and not self._lost_held:
                self.go_live(after_seq)
                return


class Hub:
    """Passes committed entries to the subscriptions of their thread."""

    def __init__(self) -> None:
        self._subscriptions: dict[ThreadKey, list[Subscription]] = {}

    def subscribe(self, subscription: Subscription) -> None:
        """Let a reader hear of its thread from now on."""
        self._subscriptions.setdefault(subscription.key, []).append(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let a reader hear no more."""
        remaining = self._subscriptions.get(subscription.key, [])
        if subscription in remaining:
            remaining.remove(subscription)
            if not remaining:
                del self._subscriptions[subscription.key]

    def forget(self, key: ThreadKey) -> None:
        """A thread was erased: whoever watches it hears no more."""
        for subscription in self._subscriptions.pop(key, []):
            subscription.end()

    def publish(self, entries: Sequence[LogEntry]) -> None:
        """Entries have been committed, in this order."""
        for key, group in groupby(entries, key=lambda entry: (entry.user_id, entry.thread_id)):
            subscriptions = self._subscriptions.get(key)
            if not subscriptions:
                continue
            for entry in group:
                reach("before_delivery")
                text = event_frame(entry)
                for subscription in tuple(subscriptions):
                    subscription.offer(entry.seq, text)

    def publish_delta(self, user_id: str, thread_id: str, run_id: str, text: str) -> None:
        """A piece of streamed text for whoever watches the thread now."""
        subscriptions = self._subscriptions.get((user_id, thread_id))
        if subscriptions:
            delta = frame("agent_delta", thread_id=thread_id, run_id=run_id, text=text)
            for subscription in tuple(subscriptions):
                subscription.offer_delta(delta)
