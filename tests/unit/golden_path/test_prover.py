"""The prover against a small server that can be made to misbehave."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiohttp import WSCloseCode, web

from netra_golden_path.canary import plant
from netra_golden_path.client import Account, Target
from netra_golden_path.faults import draw_drops
from netra_golden_path.figures import Figures, Record, compute
from netra_golden_path.journey import Message
from netra_golden_path.progress import Status
from netra_golden_path.prover import Options, PreparationFailed, Thread, plan, prove

Frame = dict[str, Any]


@dataclass
class User:
    """One account of the fake."""

    number: int
    password: str
    user_id: str = field(default_factory=lambda: str(uuid4()))
    records: list[Record] = field(default_factory=list)
    threads: dict[str, list[Frame]] = field(default_factory=dict)
    logs: dict[str, list[Frame]] = field(default_factory=dict)
    runs: dict[str, list[Frame]] = field(default_factory=dict)
    refreshed: int = 0


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Play = Callable[[web.WebSocketResponse, list[Frame], User], Awaitable[None]]


async def play(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    """Sends a run's frames as they should be sent."""
    for frame in frames:
        await socket.send_str(orjson.dumps(frame).decode())


class Fake:
    """A deployment in this process that obeys docs/wire.md as far as the prover looks."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.tokens: dict[str, User] = {}
        self.sent: list[Frame] = []
        self.forms: list[str] = []
        self.play: Play = play
        self.replay: Play = play
        self.refuse: dict[str, web.HTTPException] = {}
        self.expires_in = 900.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Target]:
        """Serves for the block."""

        @web.middleware
        async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path in self.refuse:
                raise self.refuse[request.path]
            return await handler(request)

        app = web.Application(middlewares=[refuse], client_max_size=2**24)
        app.add_routes(
            [
                web.post("/auth/register", self._register),
                web.post("/auth/login", self._login),
                web.post("/auth/refresh", self._refresh),
                web.get("/auth/me", self._me),
                web.post("/api/usage-records", self._upload),
                web.delete("/api/usage-records", self._delete),
                web.get("/api/threads/{thread_id}/messages", self._messages),
                web.get("/ws", self._socket),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield Target.of(f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    async def _register(self, request: web.Request) -> web.Response:
        body = await request.json()
        number = int(body["email"].split("-")[2])
        self.users[body["email"]] = User(number, body["password"])
        return web.json_response({"user_id": self.users[body["email"]].user_id}, status=201)

    async def _login(self, request: web.Request) -> web.Response:
        form = await request.post()
        user = self.users[str(form["username"])]
        assert user.password == form["password"]
        return self._signed_in(user)

    async def _refresh(self, request: web.Request) -> web.Response:
        user = self.tokens.pop((await request.json())["refresh_token"])
        user.refreshed += 1
        return self._signed_in(user)

    def _signed_in(self, user: User) -> web.Response:
        access, refresh = str(uuid4()), str(uuid4())
        self.tokens |= {access: user, refresh: user}
        return web.json_response(
            {"access_token": access, "token_type": "bearer", "expires_in": self.expires_in, "refresh_token": refresh}
        )

    def _user(self, request: web.Request) -> User:
        return self.tokens[request.headers["Authorization"].removeprefix("Bearer ")]

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"user_id": self._user(request).user_id})

    async def _upload(self, request: web.Request) -> web.Response:
        body, user = await request.read(), self._user(request)
        rows: Iterable[dict[str, Any]]
        if request.content_type == "text/csv":
            rows = csv.DictReader(io.StringIO(body.decode(), newline=""))
        else:
            rows = [orjson.loads(line) for line in body.splitlines()]
        user.records += [_record(row) for row in rows]
        return web.json_response({"upload_id": str(uuid4()), "accepted": len(user.records)}, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        self._user(request).records.clear()
        return web.json_response({"deleted": 0})

    async def _messages(self, request: web.Request) -> web.Response:
        """Gives one message a page."""
        messages = self._user(request).threads[request.match_info["thread_id"]]
        place = int(request.query.get("cursor", 0))
        cursor = str(place + 1) if place + 1 < len(messages) else None
        return web.json_response({"messages": messages[place : place + 1], "next_cursor": cursor})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["netra.v1"])
        await socket.prepare(request)
        if "Authorization" in request.headers:
            self.forms.append("header")
            user = self._user(request)
        else:
            self.forms.append("frame")
            user = self.tokens[(await socket.receive_json())["token"]]
            await socket.send_json({"type": "auth_success", "user_id": user.user_id})
        ready = {"protocol": "netra.v1", "connection_id": "w", "user_id": user.user_id, "server_time": _now()}
        await socket.send_json({"type": "connection_ready", **ready})
        async for message in socket:
            frame = orjson.loads(message.data)
            if frame["type"] == "ping":
                await socket.send_json({"type": "pong", "server_time": _now()})
            elif frame["type"] == "resume":
                log = user.logs[frame["thread_id"]]
                await self.replay(socket, [entry for entry in log if entry["seq"] > frame["after_seq"]], user)
            elif frame["client_message_id"] in user.runs:
                await self.play(socket, user.runs[frame["client_message_id"]], user)
            else:
                self.sent.append({**frame, "user": user.number})
                await self.play(socket, _run(frame, user), user)
        return socket


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _run(message: Frame, user: User) -> list[Frame]:
    """The frames of one run, which also stand in the user's thread afterwards."""
    thread_id = message.get("thread_id") or str(uuid4())
    thread = user.threads.setdefault(thread_id, [])
    first = thread[-1]["seq"] + 1 if thread else 1
    ids = {"user_id": user.user_id, "thread_id": thread_id, "run_id": str(uuid4())}
    tool = {"tool_call_id": "k", "tool": "read"}
    result = {"answer": "As follows.", "figures": _wire(compute(user.records))}
    entries: list[tuple[str, Frame]] = [
        ("user_message", {"text": message["text"], "client_message_id": message["client_message_id"]}),
        ("agent_started", {"attempt": 1}),
        ("agent_thinking", {"text": "Let me see."}),
        ("tool_executing", {**tool, "arguments": {}}),
        ("tool_completed", {**tool, "status": "ok", "result": None, "duration_ms": 1}),
        ("agent_completed", {"result": result}),
    ]
    log: list[Frame] = [
        {
            "type": type_,
            "seq": seq,
            **ids,
            "request_id": "q",
            "parent_request_id": None,
            "agent": None if type_ == "user_message" else "supervisor",
            "timestamp": _now(),
            "data": data,
        }
        for seq, (type_, data) in enumerate(entries, first)
    ]
    log[-1]["final"] = True
    user.logs.setdefault(thread_id, []).extend(log)
    for entry, role, content in ((log[0], "user", message["text"]), (log[-1], "assistant", result)):
        kept = {"seq": entry["seq"], "run_id": ids["run_id"], "timestamp": entry["timestamp"]}
        thread.append({**kept, "role": role, "content": content})
    accepted = {"client_message_id": message["client_message_id"], "seq": first, **ids}
    del accepted["user_id"]
    run = [{"type": "message_accepted", **accepted}, *log]
    user.runs[message["client_message_id"]] = run
    return run


def _record(row: dict[str, Any]) -> Record:
    return Record(
        timestamp=datetime.fromisoformat(row["timestamp"]),
        request_id=row["request_id"],
        model=row["model"],
        operation=row["operation"],
        prompt_fingerprint=row["prompt_fingerprint"],
        input_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
        cost_usd=Decimal(row["cost_usd"]),
        latency_ms=int(row["latency_ms"]),
        deferrable=str(row["deferrable"]).lower() == "true",
        label=row["label"],
    )


def _wire(figures: Figures) -> Frame:
    return {
        "currency": "USD",
        "record_count": figures.record_count,
        "total_usd": figures.total_usd,
        "by_model_usd": figures.by_model_usd,
        "by_operation_usd": figures.by_operation_usd,
        "savings_usd": figures.savings_usd,
        "costliest": [
            {
                "timestamp": record.timestamp.isoformat(),
                "request_id": record.request_id,
                "model": record.model,
                "operation": record.operation,
                "cost_usd": f"{record.cost_usd:f}",
                "label": record.label,
            }
            for record in figures.costliest
        ],
    }


async def test_a_right_deployment_passes() -> None:
    """Users who all get their own right answers give 100 %, with every journey measured once."""
    fake, status = Fake(), Status()
    async with fake.running() as target:
        report = await prove(Options(target=target, users=6, journeys=5, ramp_s=0), status)
    assert report.measurements.findings == {}
    assert (report.passed, report.success_rate, report.leaks, report.missing_events) == (True, 100.0, 0, 0)
    assert report.measurements.done == report.planned == 30
    for latency in (report.measurements.connect, report.measurements.first_event, report.measurements.journey):
        assert latency.count == 30
    assert (status.phase, status.done, status.total, status.failed) == ("journeys", 30, 30, 0)


async def test_both_forms_of_authentication_and_all_kinds_of_thread_are_used() -> None:
    """Tokens travel in headers and frames; threads are chosen by the server, continued, and brought by the client."""
    fake = Fake()
    async with fake.running() as target:
        assert (await prove(Options(target=target, users=2, journeys=4, ramp_s=0))).passed
    assert fake.forms.count("header") == fake.forms.count("frame") == 4
    for user in fake.users.values():
        sent = [frame for frame in fake.sent if frame["user"] == user.number]
        assert [("thread_id" in frame) for frame in sent] == [False, True, True, True]
        assert [len(thread) for thread in user.threads.values()] == [4, 4]


async def test_dropped_users_come_back_and_get_every_entry_once() -> None:
    """Connections are dropped at places drawn from the seed, before the acknowledgement too; everything still comes."""
    fake = Fake()
    async with fake.running() as target:
        report = await prove(Options(target=target, users=20, journeys=3, ramp_s=0, drops=2, seed=3))
    assert report.measurements.findings == {}
    assert report.measurements.drops == 120 - _too_late(seed=3, users=20, journeys=3)
    assert report.measurements.resends > 0
    assert report.measurements.losses == 0


def _too_late(seed: int, users: int, journeys: int) -> int:
    """Drops that would come with the final event, which is the fake's sixth entry."""
    drawn = [draw_drops(seed, user, journey, 2) for user in range(users) for journey in range(1, journeys + 1)]
    return sum(sum(drops) == 6 for drops in drawn)


async def _once_more(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    await play(socket, [*frames[:1], *frames], user)


async def _one_less(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    await play(socket, frames[1:] or frames, user)


@pytest.mark.parametrize("replay", [_once_more, _one_less])
async def test_a_replay_with_too_much_or_too_little_is_found(replay: Play) -> None:
    """Who resumes and gets an entry twice, or one not at all, has a failed journey."""
    fake = Fake()
    fake.replay = replay
    async with fake.running() as target:
        report = await prove(Options(target=target, users=3, ramp_s=0, drops=2, seed=3))
    assert report.measurements.failed == 3
    assert report.measurements.findings["replay"].count == 3


async def test_a_lost_server_is_come_back_to_only_when_that_is_asked_for() -> None:
    """A connection that ends by itself fails the journey, unless the server is to be killed."""

    async def lose_once(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
        await play(socket, frames[:3], user)
        fake.play = play
        await socket.close(code=WSCloseCode.SERVICE_RESTART)

    fake = Fake()
    for outlives, done in ((False, 0), (True, 1)):
        fake.play = lose_once
        async with fake.running() as target:
            report = await prove(Options(target=target, users=1, outlives_server=outlives))
        assert (report.measurements.done, report.measurements.losses) == (done, int(outlives))


async def test_the_disturbance_lasts_as_long_as_the_journeys() -> None:
    """It begins when the users are prepared."""
    fake, seen = Fake(), []

    @asynccontextmanager
    async def disturbance() -> AsyncIterator[None]:
        seen.append((len(fake.users), len(fake.sent)))
        yield
        seen.append((len(fake.users), len(fake.sent)))

    async with fake.running() as target:
        await prove(Options(target=target, users=3), disturbance=disturbance)
    assert seen == [(3, 0), (3, 3)]


async def test_users_share_client_made_ids() -> None:
    """Two users bring the same thread and message ids, so that a server that mixes them up is found."""
    fake = Fake()
    async with fake.running() as target:
        await prove(Options(target=target, users=2, journeys=3, ramp_s=0))
    ids = [
        {(frame.get("thread_id"), frame["client_message_id"]) for frame in fake.sent if frame["user"] == user}
        for user in (0, 1)
    ]
    assert len(ids[0] & ids[1]) == 2


async def test_the_same_seed_uploads_the_same_records() -> None:
    """A proof can be repeated from its seed, with users of its own."""
    fakes = Fake(), Fake()
    for fake in fakes:
        async with fake.running() as target:
            assert (await prove(Options(target=target, users=2, seed=9))).seed == 9
    records = [{user.number: user.records for user in fake.users.values()} for fake in fakes]
    assert records[0] == records[1]
    assert not fakes[0].users.keys() & fakes[1].users.keys()


async def test_tokens_are_renewed_before_they_end() -> None:
    """A token that would end within the next journey is renewed before it."""
    fake = Fake()
    fake.expires_in = 0
    async with fake.running() as target:
        assert (await prove(Options(target=target, users=1, journeys=3))).passed
    assert [user.refreshed for user in fake.users.values()] == [3]


async def test_existing_accounts_are_used_with_fresh_records() -> None:
    """Given accounts are signed in, and what they uploaded before does not count."""
    fake = Fake()
    accounts = tuple(Account(f"golden-kept-{user}-x", f"password {user}") for user in range(2))
    for user, account in enumerate(accounts):
        fake.users[account.email] = User(user, account.password)
    async with fake.running() as target:
        for _ in range(2):
            assert (await prove(Options(target=target, users=2, accounts=accounts))).passed
    assert len(fake.users) == 2
    with pytest.raises(ValueError, match="3 users need as many accounts, got 2"):
        Options(target=target, users=3, accounts=accounts)


async def test_a_leak_is_found_and_told_without_the_secret() -> None:
    """A frame with another user's secret fails the journey that received it, and no other."""
    secret = plant(4, 2).label

    async def leak(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
        if user.number == 0:
            frames[3]["data"]["text"] = f"Earlier I saw {secret}"
        await play(socket, frames, user)

    fake = Fake()
    fake.play = leak
    async with fake.running() as target:
        report = await prove(Options(target=target, users=3, seed=4))
    assert not report.passed
    assert (report.leaks, report.measurements.done, report.measurements.failed) == (1, 2, 1)
    assert set(report.measurements.findings) == {"leak"}
    (finding,) = report.measurements.findings["leak"].examples
    assert (finding.user, finding.journey) == (0, 1)
    assert "of user 2" in finding.detail
    assert secret.encode() not in report.as_json()


async def _drop(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    await play(socket, frames[:4], user)
    await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too slow")


async def _go_silent(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    await play(socket, frames[:4], user)


async def _refuse_message(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    await socket.send_json({"type": "error", "code": "too_many_messages", "message": "Later."})


async def _babble(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    await socket.send_str("[not an object]")


async def _send_bytes(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
    await socket.send_bytes(orjson.dumps(frames[0]))


@pytest.mark.parametrize(
    ("behaviour", "name", "words", "missing"),
    [
        (_drop, "connection_ended", "code 1013 (too slow), while waiting for the final event", 3),
        (
            _go_silent,
            "timeout",
            "not done within 1.5 s, while waiting for the final event; the last frame was agent_thinking with seq 3",
            3,
        ),
        (_refuse_message, "message_refused", "too_many_messages: Later.", 5),
        (_babble, "wire_broken", "a frame is not JSON: b'[not an object]'", 5),
        (_send_bytes, "wire_broken", "a binary frame came", 5),
    ],
)
async def test_a_journey_that_cannot_end_is_a_failed_one(behaviour: Play, name: str, words: str, missing: int) -> None:
    """Whatever the server does to a connection is told as that journey's failure; the others go on."""

    async def misbehave_once(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
        await (behaviour if user.number == 1 else play)(socket, frames, user)

    fake = Fake()
    fake.play = misbehave_once
    async with fake.running() as target:
        report = await prove(Options(target=target, users=3, limit_s=1.5))
    assert (report.measurements.done, report.measurements.failed) == (2, 1)
    (finding,) = report.measurements.findings[name].examples
    assert (finding.user, words) == (1, words)
    assert words in finding.detail
    assert report.missing_events == missing


async def test_after_a_failed_journey_the_next_one_takes_a_new_thread() -> None:
    """A thread in an unknown state is left alone."""

    async def fail_first(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
        await (_drop if frames[1]["seq"] == 1 and len(user.threads) == 1 else play)(socket, frames, user)

    fake = Fake()
    fake.play = fail_first
    async with fake.running() as target:
        report = await prove(Options(target=target, users=1, journeys=3))
    assert (report.measurements.done, report.measurements.failed) == (2, 1)
    assert [len(thread) for user in fake.users.values() for thread in user.threads.values()] == [2, 2, 2]


async def test_a_refused_upgrade_is_a_failed_journey() -> None:
    """A socket that is not let in is told with its status."""
    fake = Fake()
    fake.refuse["/ws"] = web.HTTPForbidden()
    async with fake.running() as target:
        report = await prove(Options(target=target, users=1))
    assert set(report.measurements.findings) == {"call_refused"}
    assert "GET /ws was answered with 403" in report.measurements.findings["call_refused"].examples[0].detail
    assert report.missing_events == 0


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/me", "/api/usage-records"])
async def test_a_user_who_cannot_be_prepared_ends_the_proof(path: str) -> None:
    """The first refusal in the preparation is raised with the server's own words."""
    fake = Fake()
    fake.refuse[path] = web.HTTPForbidden(text='{"code": "registration_closed"}')
    async with fake.running() as target:
        with pytest.raises(PreparationFailed, match=f"user \\d+ .*{path} was answered with 403: .*registration_closed"):
            await prove(Options(target=target, users=30))


async def test_nobody_there_is_told() -> None:
    """A deployment that does not answer cannot be proven."""
    with pytest.raises(PreparationFailed, match="Cannot connect"):
        await prove(Options(target=Target.of("http://127.0.0.1:1"), users=2))


async def test_two_users_with_one_id_are_found() -> None:
    """A server that takes two users for the same one fails the proof before it begins."""
    fake = Fake()

    async def me(request: web.Request) -> web.Response:
        return web.json_response({"user_id": "everybody"})

    fake._me = me  # type: ignore[method-assign]  # one route of the fake is replaced
    async with fake.running() as target:
        report = await prove(Options(target=target, users=2))
    details = [finding.detail for finding in report.measurements.findings["wrong_id"].examples]
    assert details[0] == "users 0 and 1 were given the same user_id"


async def test_users_start_over_the_ramp() -> None:
    """The last user starts when the ramp is nearly over, so that the journeys take at least as long."""
    fake = Fake()
    async with fake.running() as target:
        report = await prove(Options(target=target, users=4, ramp_s=0.2))
    assert {frame["user"] for frame in fake.sent} == {0, 1, 2, 3}
    assert report.duration_s >= 0.15


async def test_a_cancelled_proof_leaves_nothing_running() -> None:
    """A proof that is cancelled ends, with its connections."""
    fake, begun = Fake(), asyncio.Event()

    async def hang(socket: web.WebSocketResponse, frames: list[Frame], user: User) -> None:
        begun.set()

    fake.play = hang
    async with fake.running() as target:
        proof = asyncio.create_task(prove(Options(target=target, users=2)))
        await begun.wait()
        proof.cancel()
        with pytest.raises(asyncio.CancelledError):
            await proof


def test_a_journey_goes_on_where_the_last_one_ended() -> None:
    """Even journeys continue a known thread at its next seq, and choose a new one when it is not known."""
    last = Thread("t", (Message(1, "user", "x", "r"), Message(17, "assistant", {}, "r")))
    assert (plan("run", 0, 2, last).thread_id, plan("run", 0, 2, last).first_seq) == ("t", 18)
    assert plan("run", 0, 3, last).thread_id not in (None, "t")
    assert plan("run", 0, 2, None).thread_id == plan("run", 1, 2, None).thread_id
    assert plan("run", 0, 1, None).thread_id is None
    assert plan("run", 0, 1, None).header_form != plan("run", 1, 1, None).header_form
    assert plan("run", 0, 1, None).header_form != plan("run", 0, 2, None).header_form
