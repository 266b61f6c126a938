"""What has gone wrong elsewhere, built on purpose: each check fails on the build with the defect, and passes on ours.

The incidents are those of ownership between 2025 and 2026 in servers of this kind: a path to a thread, run or stream
that was keyed by its id alone, and state that users shared. Each test is named after its incident.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote
from uuid import uuid4

import pytest
from blockbuster import BlockBuster
from fastapi import Request
from sqlalchemy import bindparam, select
from starlette.responses import FileResponse
from starlette.routing import Mount, Route

from netra_backend.app.api import ws
from netra_backend.app.api.dependencies import PrincipalDep, request_context
from netra_backend.app.api.ownership import FRAMES, IDS, ROUTES, IdKind, IdPosition, Key, Where
from netra_backend.app.db.repositories import threads as threads_module
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.db.tables import threads
from netra_backend.app.main import WEB
from netra_backend.app.realtime.connection import Connection
from netra_backend.app.runs.run_service import RunService
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Agent, Emitter
from netra_backend.app.services.submission import Accepted, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.attacks import SETTINGS, Actor, Assault, besieging, make_actors
from tests.support.database import Backend, on_sqlite
from tests.support.in_process import InProcess, in_process
from tests.support.made_contexts import make_context

Besiege = Callable[[], AbstractAsyncContextManager[Assault]]


@pytest.fixture(autouse=True)
def _free_to_block(blockbuster: BlockBuster | None) -> None:
    """The tests build servers, and read rows and files, on the loop on which these serve."""
    if blockbuster is not None:
        blockbuster.deactivate()


@pytest.fixture
def besiege(backend: Backend, tmp_path: Path) -> Besiege:
    """Begins a server of its own, with a victim in it; with the defect that the test has built by then."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[Assault]:
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        async with in_process(folder, **backend.settings(folder), **SETTINGS) as server, besieging(server) as assault:
            yield assault
            await assault.let_go()

    return begin


async def caught(assault: Assault, key: Key) -> str:
    """What the attack on a route or frame finds on a build with a defect."""
    with pytest.raises(AssertionError) as found:
        await assault.on(key)
    return str(found.value)


def key_http_by_id_alone(assault: Assault) -> None:
    """The defect: an HTTP request works for whoever owns the id that its path names."""
    victim = assault.victim
    owners = dict.fromkeys((*victim.thread_ids, *victim.run_ids, assault.running), victim.user_id)

    def by_id_alone(request: Request, principal: PrincipalDep) -> UserExecutionContext:
        context = request_context(request, principal)
        named = next(iter(request.path_params.values()), "").lower()
        return replace(context, user_id=owners.get(named, context.user_id))

    assault.server.app.dependency_overrides[request_context] = by_id_alone


def key_socket_by_id_alone(assault: Assault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The defect: a frame works for whoever owns the thread or run that it names."""
    victim = assault.victim
    owners = dict.fromkeys((*victim.thread_ids, *victim.run_ids, assault.running), victim.user_id)
    ours = Connection._context

    def by_id_alone(connection: Connection, thread_id: str, run_id: str) -> UserExecutionContext:
        context = ours(connection, thread_id, run_id)
        return replace(context, user_id=owners.get(thread_id, owners.get(run_id, context.user_id)))

    monkeypatch.setattr(Connection, "_context", by_id_alone)


# 2. CVE-2025-64168: state on an agent object that all runs share.


class SecretAgent:
    """Remembers what it is told, waits while others are told something, and says what it remembers."""

    told: ClassVar[list[str]] = []
    all_told: ClassVar[asyncio.Event]

    def __init__(self) -> None:
        self.secret = ""

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Write, let the others write, read."""
        self.secret = message
        self.told.append(message)
        if len(self.told) == USERS:
            self.all_told.set()

        async def read() -> JsonValue:
            await self.all_told.wait()
            return self.secret

        return await emit.tool("read", read)


USERS: Final = 20
_shared = SecretAgent()


def one_for_all() -> Agent:
    """The defect: a factory that hands out one agent."""
    return _shared


async def _secrets_stay_apart(folder: Path, agent: str) -> None:
    """Many users at once, each with a secret: what each is answered, and what is stored, is the own one."""
    SecretAgent.told.clear()
    SecretAgent.all_told = asyncio.Event()
    async with in_process(folder, agents={"agent": f"{__name__}:{agent}"}) as server:
        actors = await make_actors(server, [f"user {number}" for number in range(USERS)])
        await asyncio.gather(*(_ask(server, actor, f"the secret of {actor.user_id}") for actor in actors))


async def _ask(server: InProcess, actor: Actor, text: str, agent: str = "agent") -> JsonValue:
    """Ask the agent, and see that the answer on the socket is the one that is stored."""
    thread_id = str(uuid4())
    async with server.connected(actor.token) as socket:
        socket.say("user_message", text=text, agent=agent, thread_id=thread_id)
        await socket.until(lambda frame: frame.get("final") is True)
        result: JsonValue = socket.heard[-1]["data"]["result"]
    headers = {"authorization": f"Bearer {actor.token}"}
    stored = json.loads((await server.call("GET", f"/api/threads/{thread_id}/messages", headers=headers)).body)
    assert stored["messages"][-1]["content"] == result
    assert not text.startswith("the secret") or result == text, f"{actor.user_id} was answered {result}"
    return result


async def test_incident_02_state_on_a_shared_agent(tmp_path: Path) -> None:
    """Agents are made for each run: with one agent for all, users are answered each other's secrets."""
    with pytest.raises(AssertionError, match="was answered the secret of"):
        await _secrets_stay_apart(tmp_path / "shared", "one_for_all")
    await _secrets_stay_apart(tmp_path / "ours", "SecretAgent")


# 3, 8, 9, 11. CVE-2026-44504, CVE-2026-31950, CVE-2026-45349, CVE-2026-42276: paths keyed by an id alone.

BY_ID_ALONE: Final[dict[str, Key]] = {
    "03 a run is made in another's thread": ("POST", "/api/threads/{thread_id}/messages"),
    "03 the first frame of a stream tells another's history": ("GET", "/api/threads/{thread_id}/events"),
    "08 another's stream is resumed": ("GET", "/api/threads/{thread_id}/events"),
    "11 another's run is cancelled": ("POST", "/api/runs/{run_id}/cancel"),
}


@on_sqlite
@pytest.mark.parametrize("incident", BY_ID_ALONE)
async def test_incidents_03_08_11_keyed_by_the_id_alone(besiege: Besiege, incident: str) -> None:
    """Over HTTP the token says whose thread or run it is: where the id says it, the attack on the route succeeds."""
    key = BY_ID_ALONE[incident]
    async with besiege() as assault:
        await assault.on(key)
        key_http_by_id_alone(assault)
        assert "the id: another user's id is told from an unknown one" in await caught(assault, key)
        if "cancelled" in incident:  # it was stopped, as it was elsewhere
            await assault.watching.until(lambda frame: frame["type"] == "run_cancelled")


@on_sqlite
@pytest.mark.parametrize("frame", ["user_message", "resume", "cancel_run"])
async def test_incidents_06_08_09_11_keyed_by_the_id_in_a_frame(
    besiege: Besiege, monkeypatch: pytest.MonkeyPatch, frame: str
) -> None:
    """On the socket too (CVE-2025-68492): an id in a frame, which is a body, is looked for among one's own only."""
    async with besiege() as assault:
        await assault.on(frame)
        key_socket_by_id_alone(assault, monkeypatch)
        assert f"{frame}, frame" in await caught(assault, frame)


@on_sqlite
async def test_incident_09_an_id_in_the_body(besiege: Besiege, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that the body names is one of the user's own: where its owner is taken from the id, it is found out."""
    key = ("POST", "/api/threads")
    ours = ThreadRepository.create
    async with besiege() as assault:
        await assault.on(key)
        owners = dict.fromkeys(assault.victim.thread_ids, assault.victim.user_id)

        async def by_id_alone(repository: ThreadRepository, thread_id: str, title: str | None) -> Any:
            repository._user_id = owners.get(thread_id, repository._user_id)
            return await ours(repository, thread_id, title)

        monkeypatch.setattr(ThreadRepository, "create", by_id_alone)
        assert "body thread_id: the id: another user's id is told" in await caught(assault, key)


# 4. GHSA-747p-c922-m55f: the filter was not applied where a thread is made when it is missing, on one backend only.


async def test_incident_04_made_when_missing(besiege: Besiege, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every database: whoever sends into a thread of another's id gets an own one, and never the other's."""
    key = ("POST", "/api/threads/{thread_id}/messages")
    ours = RunService.submit
    async with besiege() as assault:
        await assault.on(key)
        owners = dict.fromkeys(assault.victim.thread_ids, assault.victim.user_id)

        async def if_not_exists(
            service: RunService,
            context: UserExecutionContext,
            submission: Submission,
            acknowledge: Callable[[Accepted], None] | None = None,
        ) -> Accepted:
            owner = owners.get(context.thread_id, context.user_id)
            return await ours(service, replace(context, user_id=owner), submission, acknowledge)

        monkeypatch.setattr(RunService, "submit", if_not_exists)
        assert "path thread_id: the id" in await caught(assault, key)


# 5. LangGraph Agent Server 0.13 and 0.15: a namespace's prefix that matched across the boundary of a segment.

IDS_WITH_SEPARATORS: Final = (
    "a",
    "a:",
    "a:b",
    ":",
    "b",
    "a%3Ab",
    "a%",
    "%3A",
    "a/b",
    "a|b",
    "a b",
    "ab",
    "a\\b",
    "user",
)


def collisions(make_key: Callable[[UserExecutionContext], str]) -> int:
    """How many pairs of different (user, thread, run) have the same key, or one that begins with the other's."""
    keys: dict[str, tuple[str, str, str]] = {}
    found = 0
    for ids in product(IDS_WITH_SEPARATORS, IDS_WITH_SEPARATORS, IDS_WITH_SEPARATORS):
        context = make_context(ids[0], thread_id=ids[1], run_id=ids[2])
        found += keys.setdefault(make_key(context), ids) != ids
    return found


def test_incident_05_a_key_across_the_boundary_of_its_segments() -> None:
    """Keys of different ids differ, whatever separators these hold; keys that are merely joined do not."""
    assert collisions(lambda context: f"{context.user_id}:{context.thread_id}:{context.run_id}") > 0
    assert collisions(lambda context: context.get_scoped_key("cache", "run")) == 0
    users = {make_context(user_id).get_scoped_key("cache") for user_id in IDS_WITH_SEPARATORS}
    assert len(users) == len(IDS_WITH_SEPARATORS)


@pytest.mark.filterwarnings("ignore:.*UnownedStatementError")
async def test_incident_05_an_owner_that_begins_with_another(besiege: Besiege, monkeypatch: pytest.MonkeyPatch) -> None:
    """The victim's id begins the attacker's: where an owner is matched by its beginning, neither wall lets it pass."""
    by_prefix = (
        select(*threads_module._COLUMNS)
        .where(bindparam("owner_id").startswith(threads.c.user_id), threads.c.erased_at.is_(None))
        .limit(bindparam("rows"))
    )
    async with besiege() as assault:
        (attacker,) = await make_actors(assault.server, ["ann:1x"])
        headers = {"authorization": f"Bearer {attacker.token}"}
        own = await assault.server.call("GET", "/api/threads", headers=headers)
        monkeypatch.setattr(threads_module, "_PAGE", by_prefix)
        answer = await assault.server.call("GET", "/api/threads", headers=headers)
        if assault.server.services.database.storage.is_shared:
            assert answer.body == own.body
        else:
            assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal_error")


# 12. CVE-2026-25536: replies routed by an id that every client counts from 0.


async def _replies_are_routed(server: InProcess) -> None:
    """Two clients with the same message ids at once: each hears of its own messages only, and of all of them."""
    ann, bob = await make_actors(server, ["ann", "bob"])
    ids = [str(number) for number in range(10)]
    async with server.connected(ann.token) as of_ann, server.connected(bob.token) as of_bob:
        for message_id in ids:
            for socket, text in ((of_ann, "ann says"), (of_bob, "bob says")):
                socket.say("user_message", text=text, agent="gate", client_message_id=message_id)
        for socket, actor, text in ((of_ann, ann, "ann says"), (of_bob, bob, "bob says")):
            socket.say("ping")
            await socket.until(lambda frame: frame["type"] == "pong")
            accepted = [frame for frame in socket.heard if frame["type"] == "message_accepted"]
            assert [frame["client_message_id"] for frame in accepted] == ids, f"{actor.user_id} heard {socket.heard}"
            headers = {"authorization": f"Bearer {actor.token}"}
            for frame in accepted:
                run = await server.call("GET", f"/api/runs/{frame['run_id']}", headers=headers)
                assert run.status == 200, f"{actor.user_id} was told of a run that is another's"
            said = {frame["data"]["text"] for frame in socket.heard if frame["type"] == "user_message"}
            assert said <= {text}


async def test_incident_12_replies_by_an_id_that_clients_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies go to the socket that asked: where one desk keeps them by the client's id, they go to another's."""
    waiting: dict[str | None, Callable[[Accepted], None]] = {}
    ours = ws._Desk.submit

    async def by_message_alone(
        desk: ws._Desk, context: UserExecutionContext, submission: Submission, acknowledge: Callable[[Accepted], None]
    ) -> Accepted:
        asked_by = waiting.setdefault(submission.client_message_id, acknowledge)
        return await ours(desk, context, submission, asked_by)

    async with in_process(tmp_path, **SETTINGS) as server:
        await _replies_are_routed(server)
    monkeypatch.setattr(ws._Desk, "submit", by_message_alone)
    async with in_process(tmp_path / "defect", **SETTINGS) as server:
        with pytest.raises(AssertionError):
            await asyncio.wait_for(_replies_are_routed(server), 10)


# 14. CVE-2026-22218 and -22219: a path, or a URL, of the client's own choice.

OUTSIDE: Final = ("../main.py", "..%2Fmain.py", "%2e%2e/main.py", "..%5cmain.py", "....//main.py", "%00../main.py")


async def _serves_only_pages(server: InProcess, secret: Path) -> None:
    """No path that a client writes leads to a file that is not of the pages."""
    absolute = str(secret)
    for written in (*OUTSIDE, quote(absolute, safe=""), absolute, f"/{absolute}", f"file://{absolute}"):
        for below in ("/static/", "/static//", "/static/sub/"):
            answer = await server.call("GET", f"{below}{written}")
            assert answer.status in (404, 405, 307), f"{below}{written}: {answer.status}"
            assert b"the secret of the file" not in answer.body
            assert b"def create_app" not in answer.body


async def test_incident_14_a_path_of_the_clients_own_choice(tmp_path: Path) -> None:
    """Files are served from the folder of the pages only, and nothing that a client sends is fetched or opened."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of the file")
    async with in_process(tmp_path / "data") as server:
        await _serves_only_pages(server, secret)

        async def naive(request: Request) -> FileResponse:
            return FileResponse(WEB / request.path_params["path"])

        routes = server.app.router.routes
        routes[:] = [
            Route("/static/{path:path}", naive) if isinstance(route, Mount) and route.path == "/static" else route
            for route in routes
        ]
        with pytest.raises(AssertionError, match=r"main\.py: 200"):
            await _serves_only_pages(server, secret)


def test_incident_14_no_route_or_frame_takes_a_path_or_an_address() -> None:
    """No declared id is of a file or a URL; a new kind of id needs an attack, and this list, to be thought of."""
    assert set(IdKind) == {
        *(IdKind.THREAD, IdKind.THREAD_OR_NEW, IdKind.RUN, IdKind.MESSAGE, IdKind.SEQ, IdKind.CURSOR, IdKind.PROOF)
    }
    assert IDS.keys() <= ROUTES.keys() | FRAMES.keys()
    assert IdPosition(Where.FRAME, "url", IdKind.CURSOR) not in {one for ids in IDS.values() for one in ids}


# 15. agno PR #9380: a tool's cache whose key had no user.


class CachingAgent:
    """Looks something up in a tool whose results are kept for all runs, by scope and arguments."""

    kept: ClassVar[dict[str, JsonValue]] = {}
    calls: ClassVar[defaultdict[str, int]] = defaultdict(int)

    def key(self, context: UserExecutionContext, arguments: str) -> str:
        """The key of a result."""
        return context.get_scoped_key(f"balance {arguments}")

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Look up the balance of the user, or what is kept of it."""
        key = self.key(context, message)

        async def balance() -> JsonValue:
            if key not in self.kept:
                self.calls[context.user_id] += 1
                self.kept[key] = f"the balance of {context.user_id}"
            return self.kept[key]

        return await emit.tool("balance", balance, arguments={"month": message}, idempotent=True)


class CachingForAllAgent(CachingAgent):
    """The defect: the key has lost the user."""

    def key(self, context: UserExecutionContext, arguments: str) -> str:
        """The arguments alone."""
        return arguments


async def _caches_by_user(folder: Path, agent: str) -> None:
    """The same tool with the same arguments gives two users two results, and is called once for each of them."""
    CachingAgent.kept.clear()
    CachingAgent.calls.clear()
    async with in_process(folder, agents={"agent": f"{__name__}:{agent}"}) as server:
        actors = await make_actors(server, ["ann", "bob"])
        for _ in range(3):
            for actor in actors:
                assert await _ask(server, actor, "January") == f"the balance of {actor.user_id}"
    assert CachingAgent.calls == {"ann": 1, "bob": 1}


async def test_incident_15_a_tools_cache_without_the_user(tmp_path: Path) -> None:
    """A cache that outlives the run is keyed by scope: without the user in its key, the second is given the first's."""
    with pytest.raises(AssertionError, match="the balance of ann"):
        await _caches_by_user(tmp_path / "defect", "CachingForAllAgent")
    await _caches_by_user(tmp_path / "ours", "CachingAgent")
