"""One socket, from its first frame to its close: what the client hears, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from netra_backend.app.realtime import connection as connection_module
from netra_backend.app.realtime.connection import MAX_BAD_FRAMES, MAX_REPLAYS, Connection
from netra_backend.app.realtime.connections import Connections
from netra_backend.app.realtime.outbox import Room
from netra_backend.app.services.principal import Principal
from netra_backend.app.services.refusals import InvalidRequestError, RateLimitedError, ThreadBusyError
from tests.support.memory_desk import MemoryDesk, WatchedHub
from tests.support.memory_socket import ROOMY, MemorySocket

THREAD = "0b9d1c1e-3f60-4f0c-9d9a-2a4f6d3c1b11"
OTHER_THREAD = "1c0e2d2f-4071-4a1d-8eab-3b50734d2c22"
RUN = "2d1f3e30-5182-4b2e-9fbc-4c61845e3d33"


class Place:
    """A server's realtime part, with a desk in memory behind it."""

    def __init__(self, *, limit: int = 10, limit_per_user: int = 10) -> None:
        self.hub = WatchedHub()
        self.desk = MemoryDesk(self.hub)
        self.connections = Connections(limit=limit, limit_per_user=limit_per_user)

    @asynccontextmanager
    async def visit(
        self,
        principal: Principal | None = None,
        *,
        timeout: timedelta = timedelta(seconds=20),
        max_outbox: int = 50,
    ) -> AsyncIterator[Visit]:
        """A socket that is served for the block; the client leaves at its end."""
        socket = MemorySocket()
        connection = Connection(
            socket,
            self.desk,
            self.hub,
            self.connections,
            principal,
            authentication_timeout=timeout,
            room=Room(max_outbox, ROOMY),
        )
        visit = Visit(self, socket, connection, asyncio.create_task(connection.run()))
        try:
            yield visit
        finally:
            socket.leave()
            await visit.running

    @asynccontextmanager
    async def ready(self, user_id: str = "ann", *, max_outbox: int = 50) -> AsyncIterator[Visit]:
        """As `visit`, of a user whose upgrade proved the token, ready."""
        async with self.visit(self.principal(user_id), max_outbox=max_outbox) as visit:
            await visit.socket.until("connection_ready")
            yield visit

    def principal(self, user_id: str = "ann", *, seconds: float = 3600) -> Principal:
        """A user as the upgrade's header has proved it."""
        return self.desk.tokens[self.desk.sign_in(user_id, seconds=seconds)]

    def assert_empty(self) -> None:
        """Nobody is connected and nobody watches."""
        assert self.connections.count == 0
        assert self.hub.subscribed == []


@dataclass
class Visit:
    """A socket that is being served."""

    place: Place
    socket: MemorySocket
    connection: Connection
    running: asyncio.Task[None]

    async def ping(self) -> None:
        """Wait until the server has obeyed everything that was said before."""
        pongs = self.socket.types().count("pong")
        self.socket.say("ping")
        while self.socket.types().count("pong") == pongs:
            await self.socket.changed()

    async def ended(self) -> tuple[int, str]:
        """The close frame, once `run` has returned too."""
        closed = await self.socket.until_closed()
        await self.running
        return closed


@pytest.fixture
async def place() -> Place:
    """A place for ten."""
    return Place()


# Getting in


async def test_a_proven_user_is_ready_at_once(place: Place) -> None:
    """With the header form the first frame is `connection_ready`, with the protocol, the ids and the server's time."""
    async with place.ready("ann") as visit:
        ready = visit.socket.heard[0]
        assert set(ready) == {"type", "protocol", "connection_id", "user_id", "server_time"}
        assert (ready["type"], ready["protocol"], ready["user_id"]) == ("connection_ready", "netra.v1", "ann")
        assert datetime.fromisoformat(ready["server_time"]).utcoffset() == timedelta(0)
        assert place.connections.count == 1
    assert visit.socket.types() == ["connection_ready"]
    place.assert_empty()


async def test_the_first_frame_may_prove_the_user(place: Place) -> None:
    """With the first-frame form `auth_success` comes before `connection_ready`, both for the token's user."""
    token = place.desk.sign_in("bob")
    async with place.visit() as visit:
        visit.socket.say("authenticate", token=token)
        ready = await visit.socket.until("connection_ready")
        assert visit.socket.heard == [{"type": "auth_success", "user_id": "bob"}, ready]
        assert ready["user_id"] == "bob"
    place.assert_empty()


async def test_every_connection_has_an_id_of_its_own(place: Place) -> None:
    """Two sockets of one user have different ids."""
    async with place.ready() as one, place.ready() as two:
        assert one.socket.heard[0]["connection_id"] != two.socket.heard[0]["connection_id"]
        assert place.connections.count == 2


@pytest.mark.parametrize(
    "first",
    [
        '{"type":"ping"}',
        '{"type":"user_message","text":"let me in"}',
        '{"type":"authenticate"}',
        '{"type":"authenticate","token":"secret-token","user_id":"ann"}',
        "secret-token",
        "",
    ],
)
async def test_any_other_first_frame_ends_the_socket(place: Place, first: str) -> None:
    """Whoever is not known yet and does not authenticate is closed with 4401, and its words are not repeated."""
    async with place.visit() as visit:
        visit.socket.say_raw(first)
        code, reason = await visit.ended()
    assert code == 4401
    assert "authenticate" in reason
    assert "secret-token" not in reason
    assert visit.socket.heard == []
    assert place.desk.submissions == []


async def test_a_bad_token_ends_the_socket(place: Place) -> None:
    """A token that proves nobody closes with 4401, and is not repeated."""
    async with place.visit() as visit:
        visit.socket.say("authenticate", token="secret-token")
        code, reason = await visit.ended()
    assert (code, reason) == (4401, "the token is not valid; sign in again")
    assert visit.socket.heard == []
    place.assert_empty()


async def test_a_silent_socket_is_not_kept(place: Place) -> None:
    """Without a first frame in time the socket is closed with 4408."""
    async with place.visit(timeout=timedelta(milliseconds=1)) as visit:
        assert await visit.ended() == (4408, "no authenticate frame came in time")
    place.assert_empty()


async def test_a_slow_database_is_not_the_clients_fault(place: Place) -> None:
    """The time limit is for the client's frame, not for the server's look at the token."""
    token = place.desk.sign_in("ann")
    place.desk.authentications.clear()
    async with place.visit(timeout=timedelta(milliseconds=20)) as visit:
        visit.socket.say("authenticate", token=token)
        await place.desk.authenticating.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await visit.socket.until_closed()
        place.desk.authentications.set()
        await visit.socket.until("connection_ready")


async def test_a_socket_that_leaves_before_it_is_known_leaves_nothing(place: Place) -> None:
    """Going away before the first frame is the end, without a close frame to nobody."""
    async with place.visit() as visit:
        pass
    assert visit.socket.closed is None
    place.assert_empty()


async def test_too_many_connections_are_refused(place: Place) -> None:
    """One more than a user may have is told why and closed with 4429; the others stay, and a place that becomes free is
    given. When it is the server that is full, the client hears when to try again."""
    place = Place(limit_per_user=1, limit=2)
    async with place.ready("ann") as first:
        async with place.visit(place.principal("ann")) as second:
            code, reason = await second.ended()
            assert code == 4429
            assert "you have 1 connections already" in reason
            assert second.socket.heard == [{"type": "error", "code": "limit_exceeded", "message": reason}]
        async with place.visit() as third:
            third.socket.say("authenticate", token=place.desk.sign_in("ann"))
            assert (await third.ended())[0] == 4429
        async with place.ready("bob"):
            assert place.connections.count == 2
            async with place.visit(place.principal("carol")) as fourth:
                assert (await fourth.ended())[0] == 4429
                assert fourth.socket.heard[-1]["retry_after"] == 5
        await first.ping()
    async with place.ready("ann"):
        assert place.connections.count == 1
    place.assert_empty()


@pytest.mark.parametrize("known", [True, False])
async def test_a_binary_frame_ends_the_socket(place: Place, known: bool) -> None:
    """A binary frame is closed with 1003, before and after the user is known."""
    async with place.visit(place.principal() if known else None) as visit:
        visit.socket.say_raw(b'{"type":"ping"}')
        assert await visit.ended() == (1003, "expected text frames; came a binary one")
    place.assert_empty()


async def test_a_fault_while_letting_in_tells_nothing(place: Place) -> None:
    """When the server fails before anybody is known the socket is closed with 1011, without the fault's words."""
    place.desk.failure = RuntimeError("secret words of the database")
    async with place.visit() as visit:
        visit.socket.say("authenticate", token=place.desk.sign_in("ann"))
        assert await visit.ended() == (1011, "the server failed")
    place.assert_empty()


async def test_a_session_that_ends_while_its_socket_is_let_in_ends_the_socket(place: Place) -> None:
    """Signing out between the look at the token and the register is not missed: the socket ends with 4401."""
    token = place.desk.sign_in("ann")

    class Impatient(MemoryDesk):
        """Signs out as soon as the token has been looked at."""

        async def authenticate(self, token: str) -> Principal:
            principal = await super().authenticate(token)
            if self.tokens.pop(token, None):
                place.connections.close_session(principal.user_id, principal.session_id)
            return principal

    place.desk = Impatient(place.hub, place.desk.tokens)
    async with place.visit() as visit:
        visit.socket.say("authenticate", token=token)
        async with asyncio.timeout(1):
            assert (await visit.ended())[0] == 4401


# Staying in


async def test_a_later_token_of_the_user_renews_the_session(place: Place) -> None:
    """`authenticate` again is answered by `auth_success`, and from then on the new sign-in counts."""
    token = place.desk.sign_in("ann")
    async with place.ready("ann") as visit:
        old = visit.connection.principal
        assert old is not None
        visit.socket.say("authenticate", token=token)
        assert await visit.socket.until("auth_success") == {"type": "auth_success", "user_id": "ann"}
        place.connections.close_session("ann", old.session_id)
        await visit.ping()
        place.connections.close_session("ann", place.desk.tokens[token].session_id)
        assert await visit.ended() == (4401, "signed out")
    place.assert_empty()


async def test_another_users_token_ends_the_socket(place: Place) -> None:
    """A socket cannot change hands: `authenticate` as another user is closed with 4403, and nothing was renewed."""
    async with place.ready("ann") as visit:
        visit.socket.say("authenticate", token=place.desk.sign_in("bob"))
        assert await visit.ended() == (4403, "the socket belongs to another user; open a new one")
        assert visit.socket.types() == ["connection_ready"]
    place.assert_empty()


async def test_a_bad_token_later_ends_the_socket(place: Place) -> None:
    """A renewal with a token that proves nobody is closed with 4401."""
    async with place.ready("ann") as visit:
        visit.socket.say("authenticate", token="secret-token")
        code, reason = await visit.ended()
        assert code == 4401
        assert "secret-token" not in reason


async def test_an_expired_token_ends_the_socket(place: Place) -> None:
    """When the token's time is over the socket is closed with 4401, though nothing was said."""
    async with place.visit(place.principal(seconds=0.02)) as visit:
        await visit.socket.until("connection_ready")
        assert await visit.ended() == (4401, "the token has expired")
    place.assert_empty()


async def test_the_expiry_is_that_of_the_latest_token(place: Place) -> None:
    """A renewal moves the end: an earlier token's end is forgotten, and the new one's comes."""
    async with place.visit(place.principal(seconds=0.3)) as visit:
        visit.socket.say("authenticate", token=place.desk.sign_in("ann"))
        await visit.socket.until("auth_success")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await visit.socket.until_closed()
        visit.socket.say("authenticate", token=place.desk.sign_in("ann", seconds=-1))
        assert await visit.ended() == (4401, "the token has expired")


async def test_pings_are_answered(place: Place) -> None:
    """Each `ping` is answered by a `pong` with the server's time."""
    async with place.ready() as visit:
        await visit.ping()
        await visit.ping()
        assert visit.socket.types() == ["connection_ready", "pong", "pong"]
        assert datetime.now(UTC) - datetime.fromisoformat(visit.socket.heard[1]["server_time"]) < timedelta(minutes=1)


async def test_a_bad_frame_is_told_and_the_socket_stays(place: Place) -> None:
    """A frame that is none is answered by an `error` with its code, and the next frame is obeyed."""
    async with place.ready() as visit:
        visit.socket.say_raw("{")
        visit.socket.say("ping", user_id="bob")
        visit.socket.say("user_message", text="", client_message_id="m1")
        await visit.ping()
        errors = [frame for frame in visit.socket.heard if frame["type"] == "error"]
        assert [error["code"] for error in errors] == ["invalid_json", "invalid_frame", "invalid_text"]
        assert [set(error) for error in errors[:2]] == [{"type", "code", "message"}] * 2
        assert errors[2]["client_message_id"] == "m1"


async def test_twenty_bad_frames_in_a_row_end_the_socket(place: Place) -> None:
    """The twentieth bad frame in a row closes with 1008, after each of them was told by an `error`."""
    async with place.ready() as visit:
        for _ in range(MAX_BAD_FRAMES):
            visit.socket.say_raw("?")
        assert await visit.ended() == (1008, "20 bad frames in a row")
        assert visit.socket.types() == ["connection_ready"] + ["error"] * MAX_BAD_FRAMES
    place.assert_empty()


async def test_bad_frames_that_are_not_in_a_row_do_not_end_the_socket(place: Place) -> None:
    """A good frame in between begins the count anew, even one that is refused for another reason."""
    async with place.ready(max_outbox=100) as visit:
        for _ in range(3):
            for _ in range(MAX_BAD_FRAMES - 1):
                visit.socket.say_raw("?")
            visit.socket.say("cancel_run", run_id=RUN)
        await visit.ping()
        assert visit.socket.closed is None


async def test_a_reader_that_is_too_slow_is_sent_away(place: Place) -> None:
    """When the outbox overflows the socket is closed with 1013 at once, without waiting for the slow reader."""
    async with place.ready("ann", max_outbox=10) as visit:
        visit.socket.say("user_message", text="x", thread_id=THREAD)
        await visit.socket.until("user_message")
        visit.socket.reads.clear()
        place.desk.commit(("ann", THREAD), 20)
        assert await visit.ended() == (1013, "the reader is too slow; come back and resume")
        assert len(visit.socket.heard) < 10
    place.assert_empty()


async def test_what_a_slow_reader_got_has_no_hole(place: Place) -> None:
    """After a frame was dropped no later one is sent: the client's last seq is where its `resume` goes on."""
    async with place.ready("ann", max_outbox=10) as visit:
        visit.socket.say("user_message", text="x", thread_id=THREAD)
        await visit.socket.until("user_message")

        def more_happens(frame: dict[str, object]) -> None:
            if frame.get("seq") == 11:
                place.desk.commit(("ann", THREAD), 3)

        visit.socket.on_frame.append(more_happens)
        place.desk.commit(("ann", THREAD), 12)
        assert (await visit.ended())[0] == 1013
        seqs = visit.socket.seqs(THREAD)
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_server_that_goes_away_says_so(place: Place) -> None:
    """`close_all` ends every socket with 1012, after what waited was sent."""
    async with place.ready("ann") as ann, place.ready("bob") as bob:
        ann.socket.say("ping")
        await ann.socket.until("pong")
        place.connections.close_all()
        assert (await ann.ended())[0] == (await bob.ended())[0] == 1012
    place.assert_empty()


async def test_what_waits_is_sent_before_the_close(place: Place) -> None:
    """A close other than for slowness lets the reader have what was put before it."""
    async with place.ready("ann") as visit:
        visit.socket.say("user_message", text="x", thread_id=THREAD)
        await visit.socket.until("user_message")
        place.desk.commit(("ann", THREAD), 5)
        visit.connection.close(4401, "signed out")
        visit.connection.close(1012, "too late to say something else")
        assert await visit.ended() == (4401, "signed out")
        assert visit.socket.seqs(THREAD) == [1, 2, 3, 4, 5, 6]


async def test_a_reader_that_does_not_take_its_close_is_let_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close frame has a time limit, after which the socket is dropped as it is."""
    monkeypatch.setattr("netra_backend.app.realtime.connection.CLOSE_SECONDS", 0.01)
    async with place.ready("ann") as visit:
        visit.socket.reads.clear()
        visit.socket.say("ping")
        visit.socket.sending.clear()
        await visit.socket.sending.wait()
        visit.socket.say("ping")
        visit.connection.close(4401, "signed out")
        await visit.running
        assert visit.socket.closed is None
    place.assert_empty()


# Saying something


async def test_a_message_is_acknowledged_before_its_own_entry(place: Place) -> None:
    """`message_accepted` comes first, then the message's log entry, then what follows, though all come at once."""
    async with place.ready("ann") as visit:
        visit.socket.say("user_message", text="hello", thread_id=THREAD, client_message_id="m1")
        accepted = await visit.socket.until("message_accepted")
        place.desk.commit(("ann", THREAD))
        await visit.socket.until("agent_thinking")
        assert visit.socket.types() == ["connection_ready", "message_accepted", "user_message", "agent_thinking"]
        entry = visit.socket.heard[2]
        assert accepted == {
            "type": "message_accepted",
            "client_message_id": "m1",
            "thread_id": THREAD,
            "run_id": entry["run_id"],
            "seq": 1,
        }
        assert entry["data"] == {"text": "hello", "client_message_id": "m1"}
        assert visit.socket.seqs(THREAD) == [1, 2]


async def test_what_is_asked_reaches_the_desk_under_the_users_context(place: Place) -> None:
    """A submission carries every field of its frame, and its context, which is bound, the token's user and new ids."""
    async with place.ready("ann") as visit:
        visit.socket.say(
            "user_message", text="hi", thread_id=THREAD.upper(), client_message_id="m", if_busy="reject", agent="poet"
        )
        visit.socket.say("user_message", text="again")
        await visit.socket.until("message_accepted", client_message_id="m")
        await visit.ping()
        (first, asked, bound), (second, plain, _) = place.desk.submissions
        assert (asked.text, asked.client_message_id, asked.names_thread) == ("hi", "m", True)
        assert (str(asked.if_busy), asked.agent) == ("reject", "poet")
        assert (plain.client_message_id, plain.names_thread, str(plain.if_busy), plain.agent) == (
            None, False, "enqueue", None,
        )  # fmt: skip
        assert (first.user_id, first.thread_id, bound) == ("ann", THREAD, "ann")
        assert second.thread_id != THREAD
        assert len({first.run_id, second.run_id, first.request_id, second.request_id}) == 4
        assert first.websocket_client_id == visit.socket.heard[0]["connection_id"]


async def test_a_message_that_comes_again_is_replayed(place: Place) -> None:
    """A message stored before, sent again on a new socket, is acknowledged as it was, and its thread goes on."""
    async with place.ready("ann") as first:
        first.socket.say("user_message", text="hello", thread_id=THREAD, client_message_id="m1")
        accepted = await first.socket.until("message_accepted")
    place.desk.commit(("ann", THREAD), 3)
    async with place.ready("ann") as second:
        second.socket.say("user_message", text="hello", thread_id=THREAD, client_message_id="m1")
        assert await second.socket.until("message_accepted") == accepted
        await second.socket.until("agent_thinking", seq=4)
        place.desk.commit(("ann", THREAD))
        await second.socket.until("agent_thinking", seq=5)
        assert second.socket.seqs(THREAD) == [1, 2, 3, 4, 5]


async def test_a_second_message_in_a_thread_goes_on_where_it_is(place: Place) -> None:
    """A socket that watches a thread already gets nothing twice by sending into it, a repeated message included."""
    async with place.ready("ann") as visit:
        for number in (1, 2, 1, 3):
            visit.socket.say("user_message", text="x", thread_id=THREAD, client_message_id=f"m{number}")
        await visit.socket.until("user_message", seq=3)
        assert visit.socket.types().count("message_accepted") == 4
        assert visit.socket.seqs(THREAD) == [1, 2, 3]


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (RateLimitedError("slow down"), "rate_limited", "slow down"),
        (ThreadBusyError("busy"), "thread_busy", "busy"),
        (InvalidRequestError("no such agent", code="unknown_agent"), "unknown_agent", "no such agent"),
        (RuntimeError("secret words"), "internal_error", "the server failed; try again"),
        (TimeoutError("secret words"), "internal_error", "the server failed; try again"),
        (KeyError("secret words"), "internal_error", "the server failed; try again"),
    ],
)
async def test_a_message_that_is_not_stored_is_told(place: Place, failure: Exception, code: str, message: str) -> None:
    """A refusal and a fault of ours are an `error` with the message's own id; the socket lives on, watching nothing."""
    async with place.ready("ann") as visit:
        place.desk.failure = failure
        visit.socket.say("user_message", text="x", client_message_id="m1")
        error = await visit.socket.until("error")
        assert error == {"type": "error", "code": code, "message": message, "client_message_id": "m1"}
        assert place.hub.subscribed == []
        visit.socket.say("user_message", text="x", client_message_id="m2")
        await visit.socket.until("message_accepted", client_message_id="m2")


async def test_two_users_of_one_thread_id_never_hear_each_other(place: Place) -> None:
    """A thread's id is the user's own: the same id of another user is another thread."""
    async with place.ready("ann") as ann, place.ready("bob") as bob:
        ann.socket.say("user_message", text="ann's", thread_id=THREAD)
        bob.socket.say("user_message", text="bob's", thread_id=THREAD)
        await ann.socket.until("user_message")
        await bob.socket.until("user_message")
        place.desk.commit(("ann", THREAD), 3)
        await ann.ping()
        await bob.ping()
        for visit, user in ((ann, "ann"), (bob, "bob")):
            assert {frame["user_id"] for frame in visit.socket.heard if "data" in frame} == {user}
        assert (ann.socket.seqs(THREAD), bob.socket.seqs(THREAD)) == ([1, 2, 3, 4], [1])


# Coming back


async def test_resume_replays_then_goes_on_live(place: Place) -> None:
    """Everything after the seq comes once, in order, whatever is committed during the replay."""
    key = ("ann", THREAD)
    place.desk.commit(key, 450)
    async with place.ready("ann", max_outbox=1_000) as visit:
        place.desk.reads.clear()
        visit.socket.say("resume", thread_id=THREAD, after_seq=7)
        await place.desk.reading.wait()
        place.desk.commit(key, 20)
        place.desk.commit(key, 5, published=False)
        place.desk.reads.set()
        await visit.socket.until("agent_thinking", seq=475)
        place.desk.hub.publish(place.desk.logs[key][-5:])
        place.desk.commit(key, 10)
        await visit.socket.until("agent_thinking", seq=485)
        assert visit.socket.seqs(THREAD) == list(range(8, 486))


async def test_a_reader_who_has_more_than_there_is_hears_all_that_is_new(place: Place) -> None:
    """A resume beyond the log's end is answered by where it ends, and what comes then is below what the reader had."""
    key = ("ann", THREAD)
    place.desk.commit(key, 3)
    async with place.ready("ann") as visit:
        visit.socket.say("resume", thread_id=THREAD, after_seq=40)
        told = await visit.socket.until("error")
        assert (told["code"], told["thread_id"], told["last_seq"]) == ("seq_ahead", THREAD, 3)
        place.desk.commit(key, 2)
        await visit.socket.until("agent_thinking", seq=5)
        assert visit.socket.seqs(THREAD) == [4, 5]


async def test_a_long_replay_waits_for_its_reader(place: Place) -> None:
    """A replay many times as large as the outbox overflows nothing, however slowly it is read."""
    place.desk.commit(("ann", THREAD), 300)
    async with place.ready("ann", max_outbox=10) as visit:
        visit.socket.reads.clear()
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        visit.socket.sending.clear()
        await visit.socket.sending.wait()
        visit.socket.reads.set()
        await visit.socket.until("agent_thinking", seq=300)
        assert visit.socket.seqs(THREAD) == list(range(1, 301))
        assert visit.socket.closed is None


async def test_many_replays_take_turns(place: Place) -> None:
    """However many threads a client resumes at once, a few are replayed at a time, and each comes whole."""
    threads = [str(uuid4()) for _ in range(3 * MAX_REPLAYS)]
    for thread_id in threads:
        place.desk.commit(("ann", thread_id), 2)
    place.desk.reads.clear()
    async with place.ready("ann", max_outbox=1_000) as visit:
        for thread_id in threads:
            visit.socket.say("resume", thread_id=thread_id, after_seq=0)
        await place.desk.reading.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(place.hub.subscribed) == MAX_REPLAYS
        place.desk.reads.set()
        for thread_id in threads:
            await visit.socket.until("agent_thinking", thread_id=thread_id, seq=2)
            assert visit.socket.seqs(thread_id) == [1, 2]


async def test_a_socket_watches_so_many_threads(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread beyond the limit is refused, for a message and for a `resume`; what is watched already goes on."""
    monkeypatch.setattr(connection_module, "MAX_WATCHED", 2)
    async with place.ready("ann") as visit:
        for _ in range(2):
            visit.socket.say("user_message", text="x", thread_id=str(uuid4()))
        visit.socket.say("user_message", text="x", client_message_id="third")
        refusal = await visit.socket.until("error")
        assert (refusal["code"], refusal["client_message_id"]) == ("limit_exceeded", "third")
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        await visit.ping()
        assert visit.socket.types().count("error") == 2
        assert len(place.desk.submissions) == 2


async def test_other_frames_are_obeyed_during_a_replay(place: Place) -> None:
    """A replay does not make the socket deaf."""
    place.desk.commit(("ann", THREAD), 3)
    place.desk.reads.clear()
    async with place.ready("ann") as visit:
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        await place.desk.reading.wait()
        await visit.ping()
        assert visit.socket.seqs(THREAD) == []
        place.desk.reads.set()
        await visit.socket.until("agent_thinking", seq=3)


async def test_resume_again_begins_anew(place: Place) -> None:
    """A second `resume` of a thread takes the place of the first: each entry after its seq comes once from then on."""
    key = ("ann", THREAD)
    place.desk.commit(key, 4)
    place.desk.reads.clear()
    async with place.ready("ann") as visit:
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        await place.desk.reading.wait()
        visit.socket.say("resume", thread_id=THREAD, after_seq=2)
        visit.socket.say("resume", thread_id=THREAD, after_seq=1)
        await visit.ping()
        assert len(place.hub.subscribed) == 1
        place.desk.reads.set()
        await visit.socket.until("agent_thinking", seq=4)
        place.desk.commit(key)
        await visit.socket.until("agent_thinking", seq=5)
        assert visit.socket.seqs(THREAD) == [2, 3, 4, 5]
        visit.socket.say("resume", thread_id=THREAD, after_seq=4)
        await visit.ping()
        place.desk.commit(key)
        await visit.socket.until("agent_thinking", seq=6)
        assert visit.socket.seqs(THREAD) == [2, 3, 4, 5, 5, 6]


@pytest.mark.parametrize("owner", [None, "bob"])
async def test_an_unknown_thread_cannot_be_watched(place: Place, owner: str | None) -> None:
    """`resume` of a thread that is not the user's is `not_found`, whether it exists or not, and hears nothing."""
    if owner:
        place.desk.commit((owner, THREAD), 3)
    async with place.ready("ann") as visit:
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        error = await visit.socket.until("error")
        assert error == {"type": "error", "code": "not_found", "message": "there is no such thing here"}
        assert place.hub.subscribed == []
        place.desk.commit(("ann", THREAD))
        place.desk.commit(("bob", THREAD))
        await visit.ping()
        assert visit.socket.seqs(THREAD) == []
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        await visit.socket.until("agent_thinking", seq=1)


async def test_a_replay_that_fails_is_told_and_watches_nothing(place: Place) -> None:
    """A fault of ours during a replay is `internal_error` without its words; the socket lives on and may resume."""
    place.desk.commit(("ann", THREAD), 3)
    place.desk.log_failure = RuntimeError("secret words")
    async with place.ready("ann") as visit:
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        async with asyncio.timeout(2):
            error = await visit.socket.until("error")
        assert error["code"] == "internal_error"
        assert "secret" not in error["message"]
        assert place.hub.subscribed == []
        place.desk.log_failure = None
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        await visit.socket.until("agent_thinking", seq=3)


async def test_a_socket_watches_many_threads(place: Place) -> None:
    """Each thread has its own place, and resuming one leaves the others as they are."""
    for thread_id in (THREAD, OTHER_THREAD):
        place.desk.commit(("ann", thread_id), 2)
    async with place.ready("ann") as visit:
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        visit.socket.say("resume", thread_id=OTHER_THREAD, after_seq=1)
        await visit.socket.until("agent_thinking", thread_id=THREAD, seq=2)
        await visit.socket.until("agent_thinking", thread_id=OTHER_THREAD, seq=2)
        for thread_id in (OTHER_THREAD, THREAD):
            place.desk.commit(("ann", thread_id))
        await visit.ping()
        assert (visit.socket.seqs(THREAD), visit.socket.seqs(OTHER_THREAD)) == ([1, 2, 3], [2, 3])


async def test_an_erased_thread_is_no_more(place: Place) -> None:
    """After its erasure nothing of a thread comes; a message under its id begins a new one, from its first entry on."""
    key = ("ann", THREAD)
    place.desk.commit(key, 3)
    async with place.ready("ann") as visit:
        visit.socket.say("resume", thread_id=THREAD, after_seq=0)
        await visit.socket.until("agent_thinking", seq=3)
        place.desk.erase(key)
        place.desk.commit(key, 2)
        await visit.ping()
        assert visit.socket.seqs(THREAD) == [1, 2, 3]
        place.desk.erase(key)
        visit.socket.say("user_message", text="anew", thread_id=THREAD)
        await visit.socket.until("user_message", seq=1)
        place.desk.commit(key)
        await visit.ping()
        assert visit.socket.seqs(THREAD) == [1, 2, 3, 1, 2]
    place.assert_empty()


# Cancelling


async def test_a_run_is_cancelled_for_its_user(place: Place) -> None:
    """`cancel_run` reaches the desk for the token's user; its answer is in the log and nowhere else."""
    place.desk.runs.add(("ann", RUN))
    async with place.ready("ann") as visit:
        visit.socket.say("cancel_run", run_id=RUN)
        await visit.ping()
        assert place.desk.runs == set()
        assert visit.socket.types() == ["connection_ready", "pong"]


@pytest.mark.parametrize("owner", [None, "bob"])
async def test_an_unknown_run_cannot_be_cancelled(place: Place, owner: str | None) -> None:
    """Cancelling a run that is not the user's is `not_found`, the same whether it exists or not."""
    if owner:
        place.desk.runs.add((owner, RUN))
    async with place.ready("ann") as visit:
        visit.socket.say("cancel_run", run_id=RUN)
        error = await visit.socket.until("error")
        assert error == {"type": "error", "code": "not_found", "message": "there is no such thing here"}
        assert place.desk.runs == ({(owner, RUN)} if owner else set())


# Leaving nothing behind

Phase = Callable[[Place, Visit], Awaitable[object]]


async def _unknown(place: Place, visit: Visit) -> None:
    pass


async def _authenticating(place: Place, visit: Visit) -> None:
    place.desk.authentications.clear()
    visit.socket.say("authenticate", token=place.desk.sign_in("ann"))
    await place.desk.authenticating.wait()


async def _serving(place: Place, visit: Visit) -> None:
    visit.socket.say("authenticate", token=place.desk.sign_in("ann"))
    await visit.socket.until("connection_ready")


async def _watching(place: Place, visit: Visit) -> None:
    await _serving(place, visit)
    visit.socket.say("user_message", text="x", thread_id=THREAD)
    await visit.socket.until("user_message")


async def _replaying(place: Place, visit: Visit) -> None:
    await _watching(place, visit)
    place.desk.reads.clear()
    for thread_id in (THREAD, OTHER_THREAD):
        place.desk.reading.clear()
        visit.socket.say("resume", thread_id=thread_id, after_seq=0)
        await place.desk.reading.wait()


async def _replaying_to_a_slow_reader(place: Place, visit: Visit) -> None:
    await _watching(place, visit)
    place.desk.commit(("ann", OTHER_THREAD), 500)
    visit.socket.reads.clear()
    visit.socket.sending.clear()
    visit.socket.say("resume", thread_id=OTHER_THREAD, after_seq=0)
    await visit.socket.sending.wait()


async def _submitting(place: Place, visit: Visit) -> None:
    await _watching(place, visit)
    place.desk.commits.clear()
    place.desk.submitting.clear()
    visit.socket.say("user_message", text="x", thread_id=OTHER_THREAD)
    await place.desk.submitting.wait()


async def _leaves(visit: Visit) -> None:
    visit.socket.leave()
    await _is_noticed(visit)


async def _loses_the_line(visit: Visit) -> None:
    visit.socket.break_off()
    visit.socket.say("ping")
    await _is_noticed(visit)


async def _is_noticed(visit: Visit) -> None:
    # While it waits for the desk nobody reads, so the desk's answer or a failing send is the first that is noticed.
    visit.place.desk.authentications.set()
    visit.place.desk.commit(("ann", THREAD))
    await visit.running


async def _is_closed(visit: Visit) -> None:
    visit.socket.reads.set()
    visit.connection.close(1012, "the server is going away")
    await visit.running


async def _is_cancelled(visit: Visit) -> None:
    visit.running.cancel()
    await asyncio.wait([visit.running])
    assert visit.running.cancelled()


PHASES = [_unknown, _authenticating, _serving, _watching, _replaying, _replaying_to_a_slow_reader, _submitting]
ENDS = [_leaves, _loses_the_line, _is_closed, _is_cancelled]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("phase", PHASES)
async def test_nothing_is_left_behind(phase: Phase, end: Callable[[Visit], Awaitable[None]]) -> None:
    """However and whenever a connection ends, no task, subscription, place in the register or timer remains."""
    before = asyncio.all_tasks()
    place = Place()
    socket = MemorySocket()
    connection = Connection(
        socket, place.desk, place.hub, place.connections, None,
        authentication_timeout=timedelta(seconds=20), room=Room(50, ROOMY),
    )  # fmt: skip
    visit = Visit(place, socket, connection, asyncio.create_task(connection.run()))
    await phase(place, visit)
    await end(visit)
    place.assert_empty()
    place.desk.commits.set()
    await asyncio.gather(*place.desk.writer)
    place.assert_empty()
    assert asyncio.all_tasks() == before
    gone = weakref.ref(connection)
    place.desk.writer.clear()
    del connection, visit, socket
    gc.collect()
    assert gone() is None


async def test_a_message_on_its_way_in_is_stored_though_its_socket_is_gone(place: Place) -> None:
    """A disconnect does not recall what was said: it is stored, and answered to whoever resumes."""
    async with place.visit(place.principal("ann")) as visit:
        place.desk.commits.clear()
        visit.socket.say("user_message", text="x", thread_id=THREAD)
        await place.desk.submitting.wait()
        visit.connection.close(4401, "signed out")
        await visit.ended()
        place.desk.commits.set()
        await asyncio.gather(*place.desk.writer)
        assert visit.socket.types() == ["connection_ready"]
        place.assert_empty()
    async with place.ready("ann") as again:
        again.socket.say("resume", thread_id=THREAD, after_seq=0)
        await again.socket.until("user_message", seq=1)


async def test_a_connection_that_is_closed_before_it_runs_is_only_closed(place: Place) -> None:
    """`close` before `run` ends it as soon as it runs."""
    connection = Connection(
        socket := MemorySocket(), place.desk, place.hub, place.connections, place.principal(),
        authentication_timeout=timedelta(seconds=20), room=Room(50, ROOMY),
    )  # fmt: skip
    connection.close(1012, "the server is going away")
    await connection.run()
    assert socket.closed == (1012, "the server is going away")
    place.assert_empty()


async def test_no_users_context_outlives_its_frame(place: Place) -> None:
    """What a frame binds is not bound for the next one, nor for the task that serves the socket."""
    async with place.ready("ann") as visit:
        for _ in range(3):
            visit.socket.say("user_message", text="x", client_message_id=str(uuid4()))
        await visit.ping()
        assert [bound for _, _, bound in place.desk.submissions] == ["ann"] * 3
