"""Attacks on the ownership of everything, made from the registry of routes and frames.

For every route and frame, and every place in which it takes an id, one user sends another user's id and what can be
made of it, and a second user, who has the same things, sends an id of nobody in its place. The server must answer both
alike, after the same statements, and the other user must not notice. One's own ids must work.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from functools import cache, partial
from itertools import count, cycle
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

import jwt
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Connection, Row, insert, select

from netra_backend.app.api.ownership import FRAMES, IDS, ROUTES, SOCKET, IdKind, IdPosition, Key, OwnerRule, Where
from netra_backend.app.api.page_session import COOKIE
from netra_backend.app.auth.keys import KEY_FILE, load_or_make_keys
from netra_backend.app.auth.tokens import ALGORITHM, AUDIENCE, ISSUER, RefreshToken
from netra_backend.app.db.repositories.repository import encode_cursor
from netra_backend.app.db.system_operations import insert_session, insert_user
from netra_backend.app.db.tables import metadata, usage_records, usage_uploads
from netra_backend.app.runs.ledger import AppendEvents, ClaimRun, Ledger
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.usage_record import UsageRecord
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.agents import GateAgent
from tests.support.database import administer, see_all
from tests.support.in_process import HOST, Answer, Frame, InProcess, InProcessSocket
from tests.support.stored_runs import completion, happening, message
from tests.support.usage_records import csv_of, usage_record

PASSWORD: Final = "correct horse"
LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
FAR_AWAY: Final = datetime(2126, 1, 1, tzinfo=UTC)
THREADS: Final = 12
THE_END: Final = "the end of what is told"

_VARYING: Final = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r'"csrf_token":"[^"]+"'), '"csrf_token":"<text>"'),
    (re.compile(r"netra-session=[^;]+"), "netra-session=<token>"),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|\+00:00)"), "<time>"),
    (re.compile(r"expires=[^;]+"), "expires=<time>"),  # of a cookie that is taken away: the second of the answer
)
_NEVER_ALIKE: Final = ("date", "x-request-id")

Make = Callable[[str], str]
VARIANTS: Final[dict[str, Make]] = {
    "the id": lambda id_: id_,
    "in capitals": str.upper,
    "a prefix": lambda id_: id_[:-1],
    "longer": lambda id_: f"{id_}0",
    "without its first": lambda id_: id_[1:],
    "with its user before": lambda id_: f"ann:1:{id_}",
    "escaped": lambda id_: f"ann%3A1:{id_}",
    "with a path behind": lambda id_: f"{id_}/..",
    "as a pattern": lambda id_: f"{id_[:-1]}%",
    "as a list": lambda id_: f"{id_},",
    "in blanks": lambda id_: f" {id_} ",
    "with a NUL": lambda id_: f"{id_}\0",
    "much too long": lambda id_: f"{id_}{'0' * 500}",
}
"""What is made of an id of somebody else, and of one of nobody."""


@dataclass(frozen=True)
class Actor:
    """A user with one of everything.

    Attributes:
        thread_ids: the first one has a run that has ended and one that waits.
        run_ids: of these two.
        text: what the user has said; nobody else may read it.
    """

    user_id: str
    session_id: str
    token: str
    refresh_token: str
    upload_id: str
    text: str
    thread_ids: tuple[str, ...]
    run_ids: tuple[str, ...]
    message_ids: tuple[str, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no answer to anybody else may hold, unless that one has sent it."""
        told = (self.text, self.session_id, self.upload_id, f'"{self.user_id}"', f"{self.user_id}@")
        return (*told, *self.thread_ids, *self.run_ids, *self.message_ids)


@cache
def _password_hash() -> str:
    """A hash that the server takes, and that is quickly checked: what it makes itself is meant to take long."""
    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)).hash(PASSWORD)


NOBODY: Final = Actor("v", "s", "t", "r", "u", "x", *(("0" * 36,) * THREADS for _ in range(3)))


async def make_actors(server: InProcess, user_ids: Sequence[str], threads: int = 1) -> list[Actor]:
    """Users with accounts, sessions, threads, runs and records, stored without asking the server's runs to begin."""
    password_hash = _password_hash()
    return list(await asyncio.gather(*(_actor(server, user_id, password_hash, threads) for user_id in user_ids)))


async def _actor(server: InProcess, user_id: str, password_hash: str, threads: int) -> Actor:
    writer = server.services.database.writer
    keys = load_or_make_keys(server.services.settings.data_dir / KEY_FILE)
    now = datetime.now(UTC)
    refresh_token = RefreshToken.generate(str(uuid4()), keys)
    await writer.run(
        partial(
            insert_user, user_id=user_id, email=f"{user_id}@example.org", password_hash=password_hash, created_at=now
        )
    )
    await writer.run(
        partial(
            insert_session,
            user_id=user_id,
            password_hash=password_hash,
            session_id=refresh_token.session_id,
            refresh_hash=refresh_token.hash,
            created_at=now,
            expires_at=now + timedelta(days=1),
            most=100,
        )
    )
    upload_id = f"{'0' if threads > 1 else 'f'}{str(uuid4())[1:]}"  # so that two attackers' lists stand alike to it
    await writer.run(partial(_upload, user_id, upload_id), user_id=user_id)
    text = f"the words of {user_id}!"
    ledger = Ledger(server.services.database, lambda _entries: None)
    thread_ids, message_ids, run_ids = _ids(threads), _ids(threads), _ids(2)
    for number, (thread_id, message_id) in enumerate(zip(thread_ids, message_ids, strict=True)):
        run_id = str(uuid4()) if number else run_ids[0]
        stored = await ledger.write(message(user_id, thread_id, run_id, text=text, client_message_id=message_id))
        run = (await ledger.write(ClaimRun(user_id, stored.run.run_id))).run
        thoughts = tuple(happening(run) for _ in range(0 if number else 3 * threads))
        completed = replace(completion(run), data=json.dumps({"result": text}))
        await ledger.write(AppendEvents(run, (*thoughts, completed), RunStatus.COMPLETED))
    await ledger.write(message(user_id, thread_ids[0], run_ids[1], text=text, client_message_id=str(uuid4())))
    return Actor(
        user_id=user_id,
        session_id=refresh_token.session_id,
        token=server.services.accounts._tokens.issue(user_id, refresh_token.session_id),
        refresh_token=str(refresh_token),
        upload_id=upload_id,
        text=text,
        thread_ids=thread_ids,
        run_ids=run_ids,
        message_ids=message_ids,
    )


def _ids(number: int) -> tuple[str, ...]:
    """New UUIDs, in their order, so that two users' lists have the same one."""
    return tuple(sorted(str(uuid4()) for _ in range(number)))


def _upload(user_id: str, upload_id: str, connection: Connection) -> None:
    own = {"user_id": user_id, "upload_id": upload_id}
    upload = {**own, "created_at": LONG_AGO, "completed_at": LONG_AGO}
    record = {name: getattr(usage_record(), name) for name in UsageRecord.__slots__}
    connection.execute(insert(usage_uploads), upload)
    connection.execute(insert(usage_records), {**own, "line": 1, **record})


# What a request holds beside its ids. A route or frame that is new and needs more is told by its own call's failure.

_JSON: Final = {"content-type": "application/json"}
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_CSV: Final = {"content-type": "text/csv"}
_FIELDS: Final[dict[Key, dict[str, Any]]] = {
    ("POST", "/auth/register"): {"email": "new@example.org", "password": PASSWORD},
    ("POST", "/auth/password"): {"current_password": PASSWORD, "new_password": PASSWORD},
    ("PATCH", "/api/threads/{thread_id}"): {"title": "changed"},
    ("POST", "/api/threads/{thread_id}/messages"): {"text": "hello"},
    "user_message": {"text": "hello"},
}
_TAKES_JSON: Final = frozenset({("POST", "/api/threads"), ("POST", "/auth/refresh"), *_FIELDS})
_TAKES_SIGN_IN: Final = frozenset({("POST", "/auth/login"), ("POST", "/auth/session")})
_OF_PAGE: Final = {("POST", "/auth/session"): {"origin": f"http://{HOST}"}}
"""The headers of what only the server's own page may call."""
_TARGETS: Final = {("GET", "/static"): "/static/index.html"}
_CURSORS: Final[dict[Key, Callable[[str, str], str]]] = {
    ("GET", "/api/threads"): lambda thread_id, _upload_id: encode_cursor(FAR_AWAY, thread_id),
    ("GET", "/api/threads/{thread_id}/messages"): lambda _thread_id, _upload_id: encode_cursor(1),
    ("GET", "/api/usage-records"): lambda _thread_id, upload_id: encode_cursor(upload_id, 0),
}
IDENTITIES: Final = {
    Where.QUERY: ("user_id",),
    Where.HEADER: ("x-user-id", "x-forwarded-user"),
    Where.COOKIE: ("user_id", COOKIE),
    Where.BODY: ("user_id",),
    Where.FRAME: ("user_id",),
}
"""Where and by which names a client may try to say who it is."""

Values = Mapping[IdPosition, Any]


@dataclass(frozen=True)
class Sent:
    """One request or frame.

    Attributes:
        values: of its ids.
        bases: the ids that the values are made of.
        identity: where and by which name it says that it is somebody, and whom.
        has_token: whether it says who it is by its token.
    """

    values: Values
    bases: tuple[str, ...] = ()
    identity: tuple[Where, str, str] | None = None
    has_token: bool = True


@dataclass(frozen=True)
class Heard:
    """What came of it, with everything that must differ taken out, and as it was."""

    told: tuple[str, ...]
    statements: tuple[str, ...]
    raw: str


def attacks_on(key: Key, victim: Actor = NOBODY, running: str = "no run") -> Iterator[tuple[Sent, Sent, str]]:
    """What is sent to a route or frame with the victim's ids, the same with nobody's, and what it is called.

    Args:
        key: the route or frame.
        victim: whose ids; without one nothing that can be sent.
        running: the id of a run of the victim's that goes on.
    """
    positions = IDS.get(key, ())
    is_owned = isinstance(key, str) or ROUTES[key] not in (OwnerRule.PUBLIC, OwnerRule.OPERATOR)
    pair_of = partial(_pair, victim, running, key)
    number = cycle(range(THREADS))
    for position in positions:
        for variant in _variants(position):
            pair = pair_of(position, next(number))
            foreign, unknown = (Sent({position: _made(position, variant, base)}, _texts([base])) for base in pair)
            yield foreign, unknown, f"{position.where} {position.name}: {variant}"
    if len(positions) > 1:
        at = next(number)
        both = [pair_of(position, at) for position in positions]
        foreign, unknown = (
            Sent(dict(zip(positions, bases, strict=True)), _texts(bases)) for bases in zip(*both, strict=True)
        )
        yield foreign, unknown, "all at once"
    if not is_owned:
        return
    for where, names in IDENTITIES.items():
        if (where is Where.FRAME) != isinstance(key, str) or (where is Where.BODY and key not in _TAKES_JSON):
            continue
        for name in names:
            foreign, unknown = (Sent({}, (), (where, name, user_id)) for user_id in (victim.user_id, "ann:9"))
            yield foreign, unknown, f"an identity as {name!r} in the {where}"
    if isinstance(key, tuple) and key[0] != SOCKET:
        first = positions[:1]
        pairs = [pair_of(position, next(number)) for position in first]
        foreign, unknown = (
            Sent(dict(zip(first, bases, strict=True)), _texts(bases), has_token=False)
            for bases in (zip(*pairs, strict=True) if pairs else ((), ()))
        )
        yield foreign, unknown, "without a token"


def _variants(position: IdPosition) -> list[str]:
    if position.kind is IdKind.SEQ:
        return ["the id", "negative", "no number", "too large"]
    return list(VARIANTS)


def _pair(victim: Actor, running: str, key: Key, position: IdPosition, at: int) -> tuple[Any, Any]:
    """An id of the victim's, and one of nobody's that looks like it at both ends."""
    match position.kind:
        case IdKind.THREAD | IdKind.THREAD_OR_NEW:
            return victim.thread_ids[at], _like(victim.thread_ids[at])
        case IdKind.RUN:
            run_id = (running, *victim.run_ids)[at % 3]
            return run_id, _like(run_id)
        case IdKind.MESSAGE:
            return victim.message_ids[at], _like(victim.message_ids[at])
        case IdKind.SEQ:
            return 40, 40  # a number is nobody's, and a refusal may tell it
        case IdKind.CURSOR:
            thread_id, upload_id = victim.thread_ids[at], victim.upload_id
            return _CURSORS[key](thread_id, upload_id), _CURSORS[key](_like(thread_id), _like(upload_id))
        case IdKind.PROOF:
            if position.where is Where.FRAME:
                return _forged(victim.user_id, victim.session_id), _forged("ann:9", _like(victim.session_id))
            return f"{victim.session_id}.made-up", f"{_like(victim.session_id)}.made-up"
    raise AssertionError(f"{position}: no attack is known on an id of this kind")


def cells_of(key: Key) -> int:
    """How many cells of the matrix a route or frame has: each of its ids with one's own, a foreign and an unknown value
    in every form."""
    return max(1, len(IDS.get(key, ()))) + 2 * sum(1 for _ in attacks_on(key))


SETTINGS: Final[dict[str, Any]] = {
    "agents": {"gate": "tests.support.agents:GateAgent"},
    "max_running_runs": 1,  # the victim's: no other run begins, so that nothing happens beside what is asked
    "sweep_interval": "PT1H",
    "shutdown_grace": "PT0.01S",
}
"""Of a server that is to be attacked."""


@dataclass
class Assault:
    """Attacks a server in which one user, the victim, has a running run and watches it; made by `besieging`.

    Attributes:
        cells: how many (route or frame, place, id) have been tried.
    """

    server: InProcess
    victim: Actor
    watching: InProcessSocket
    running: str
    gate: str
    cells: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def let_go(self) -> None:
        """Let the victim's run go on to its end, and wait for it."""
        context = UserExecutionContext.from_request(self.victim.user_id, self.victim.thread_ids[0], self.running)
        GateAgent._gates[context.get_scoped_key(f"gate {self.gate}")].set()
        await self.watching.until(lambda frame: frame.get("final") is True)

    async def on(self, key: Key) -> int:
        """Attack one route or frame; raises AssertionError when it does not hold.

        Returns:
            How many cells were tried.
        """
        before = self.cells
        (owner,) = await self._actors(1)
        await self._own_works(key, owner)
        lasts = IDS.get(key) or key in FRAMES or (isinstance(key, tuple) and key[0] == "GET")
        attacker, twin = await self._actors(2)
        for foreign, unknown, name in attacks_on(key, self.victim, self.running):
            await self._compare(key, (attacker, foreign), (twin, unknown), name)
            if not lasts:  # the session, or the account, may be over
                attacker, twin = await self._actors(2)
        return self.cells - before

    async def _actors(self, number: int) -> list[Actor]:
        # The victim's id is "ann:1": a prefix of each of these, with a separator in it.
        return await make_actors(self.server, [f"ann:1{next(self._numbers):05}" for _ in range(number)])

    async def _own_works(self, key: Key, owner: Actor) -> None:
        heard = await self._heard(key, owner, Sent(self._own(key, owner)))
        assert _is_success(heard), f"{key}: one's own was refused: {heard.told}"
        assert not self._leaks(heard, ()), f"{key}: the victim's in one's own: {heard.raw}"
        self.cells += max(1, len(IDS.get(key, ())))

    def _own(self, key: Key, actor: Actor) -> dict[IdPosition, Any]:
        return {position: self._own_value(key, position, actor) for position in IDS.get(key, ())}

    def _own_value(self, key: Key, position: IdPosition, actor: Actor) -> Any:
        match position.kind:
            case IdKind.THREAD_OR_NEW if position.where is Where.BODY:
                return str(uuid4())
            case IdKind.THREAD | IdKind.THREAD_OR_NEW:
                return actor.thread_ids[0]
            case IdKind.RUN:
                return actor.run_ids[1]
            case IdKind.MESSAGE:
                return str(uuid4())
            case IdKind.SEQ:
                return 0
            case IdKind.CURSOR:
                return _CURSORS[key](actor.thread_ids[0], actor.upload_id)
            case IdKind.PROOF:
                return actor.token if position.where is Where.FRAME else actor.refresh_token
        raise AssertionError(f"{position}: nobody knows what one's own is")

    async def _compare(self, key: Key, foreign: tuple[Actor, Sent], unknown: tuple[Actor, Sent], name: str) -> None:
        before = await self._of_victim()
        heard = []
        for actor, sent in (foreign, unknown):
            filled = replace(sent, values={**self._own(key, actor), **sent.values})
            heard.append(await self._heard(key, actor, filled))
        of_victim, of_nobody = heard
        about = f"{key}, {name}"
        assert of_victim.told == of_nobody.told, (
            f"{about}: another user's id is told from an unknown one: {_differences(of_victim.told, of_nobody.told)}"
        )
        assert of_victim.statements == of_nobody.statements, (
            f"{about}: other statements for another user's id: "
            f"{_differences(of_victim.statements, of_nobody.statements)}"
        )
        leaked = self._leaks(of_victim, foreign[1].bases)
        assert not leaked, f"{about}: {leaked} of the victim in {of_victim.raw}"
        if not foreign[1].has_token:
            assert not _is_success(of_victim) or ROUTES.get(key) is OwnerRule.PUBLIC, f"{about}: served"  # type: ignore[arg-type]  # frames have their token
        assert await self._of_victim() == before, f"{about}: the victim's rows have changed"
        self.cells += 2

    def _leaks(self, heard: Heard, sent: Sequence[str]) -> list[str]:
        allowed = " ".join(sent)
        return [secret for secret in self.victim.secrets if secret in heard.raw and secret not in allowed]

    async def _of_victim(self) -> list[Row[Any]]:
        of_user = partial(_rows_of, self.victim.user_id)
        return await administer(self.server.services.database, of_user)

    async def _heard(self, key: Key, actor: Actor, sent: Sent) -> Heard:
        told, statements = await (self._say(key, actor, sent) if isinstance(key, str) else self._call(key, actor, sent))
        return Heard(tuple(_alike(text, actor, sent) for text in told), tuple(statements), "\n".join(told))

    async def _call(self, key: tuple[str, str], actor: Actor, sent: Sent) -> tuple[list[str], list[str]]:
        method, path = key
        path = _TARGETS.get(key, path)
        if method == SOCKET:
            return await self._upgrade(actor, sent)
        query: dict[str, str] = {}
        headers = {"authorization": f"Bearer {actor.token}"} if sent.has_token else {}
        headers |= _OF_PAGE.get(key, {})
        fields = dict(_FIELDS.get(key, {}))
        for position, value in sent.values.items():
            match position.where:
                case Where.PATH:
                    path = path.replace(f"{{{position.name}}}", quote(str(value), safe=""))
                case Where.QUERY:
                    query[position.name] = str(value)
                case Where.HEADER:
                    headers[position.name] = str(value)
                case Where.BODY:
                    fields[position.name] = value
        if sent.identity is not None:
            where, name, user_id = sent.identity
            if where is Where.QUERY:
                query[name] = user_id
            elif where is Where.HEADER:
                headers[name] = user_id
            elif where is Where.COOKIE:
                headers["cookie"] = f"{name}={user_id}"
            else:
                fields[name] = user_id
        body = b""
        if key in _TAKES_JSON:
            headers |= _JSON
            body = json.dumps(fields).encode()
        elif key in _TAKES_SIGN_IN:
            headers |= _FORM
            body = urlencode({"username": f"{actor.user_id}@example.org", "password": PASSWORD}).encode()
        elif key == ("POST", "/api/usage-records"):
            headers |= _CSV
            body = csv_of(2).encode()

        async def listening(answer: Answer) -> None:
            if await self._until_told(actor, sent):
                await answer.until(lambda answer: THE_END.encode() in answer.body)

        with self.server.statements() as statements:
            answer = await self.server.call(method, path, query=query, headers=headers, body=body, listening=listening)
            executed = list(statements)
        told = [f"{name}: {value}" for name, value in answer.headers if name not in _NEVER_ALIKE]
        return [str(answer.status), *told, answer.body.decode()], executed

    async def _upgrade(self, actor: Actor, sent: Sent) -> tuple[list[str], list[str]]:
        with self.server.statements() as statements:
            async with self.server.connected(actor.token) as socket:
                executed = list(statements)
        return ["200", *_frames(socket.heard)], executed

    async def _say(self, name: str, actor: Actor, sent: Sent) -> tuple[list[str], list[str]]:
        fields = {**_FIELDS.get(name, {}), **{position.name: value for position, value in sent.values.items()}}
        if sent.identity is not None:
            fields[sent.identity[1]] = sent.identity[2]
        async with self.server.connected(actor.token) as socket:
            if name == "cancel_run":  # so that there is somebody to hear of it
                socket.say("resume", thread_id=actor.thread_ids[0], after_seq=0)
                await self.server.until_read()
                await socket.until(lambda frame: frame.get("seq") == 1)
            socket.say("ping")
            await socket.until(lambda frame: frame["type"] == "pong")
            socket.heard.clear()
            with self.server.statements() as statements:
                socket.say(name, **fields)
                socket.say("ping")
                await socket.until(lambda frame: frame["type"] == "pong")
                await self._until_told(actor, sent)
                socket.say("ping")
                await socket.until(lambda _frame: [frame["type"] for frame in socket.heard].count("pong") >= 2)
                executed = list(statements)
        closed = [] if socket.closed is None else [json.dumps(socket.closed, sort_keys=True, default=str)]
        return ["200", *_frames(socket.heard), *closed], executed

    async def _until_told(self, actor: Actor, sent: Sent) -> bool:
        """Wait until a replay has told all, and say so to whoever watches then; returns whether the actor does."""
        await self.server.until_read()
        hub = self.server.services.hub
        is_told = False
        for position, value in sent.values.items():
            if position.kind in (IdKind.THREAD, IdKind.THREAD_OR_NEW):
                key = (actor.user_id, str(value).lower())
                is_told = is_told or key in hub._subscriptions
                hub.publish_delta(*key, "a run", THE_END)
        return is_told


def _rows_of(user_id: str, connection: Connection) -> list[Row[Any]]:
    see_all(connection)
    return [
        row
        for table in metadata.sorted_tables
        for row in connection.execute(select(table).where(table.c.user_id == user_id).order_by(*table.primary_key))
    ]


@asynccontextmanager
async def besieging(server: InProcess) -> AsyncIterator[Assault]:
    """A victim in a server with `SETTINGS`, whose run is waiting in a tool, and whose socket watches it."""
    (victim,) = await make_actors(server, ["ann:1"], threads=THREADS)
    gate = str(uuid4())
    async with server.connected(victim.token) as watching:
        watching.say("user_message", text=f"hold {gate}", agent="gate", thread_id=victim.thread_ids[0])
        await watching.until(lambda frame: frame["type"] == "tool_executing")
        yield Assault(server, victim, watching, watching.heard[-1]["run_id"], gate)


def _differences(of_victim: Sequence[str], of_nobody: Sequence[str]) -> str:
    return "\n".join(unified_diff(of_victim, of_nobody, "the victim's", "nobody's", lineterm="", n=0))


def _frames(heard: Sequence[Frame]) -> list[str]:
    return [json.dumps(frame, sort_keys=True, ensure_ascii=False) for frame in heard]


def _made(position: IdPosition, variant: str, base: Any) -> Any:
    if position.kind is not IdKind.SEQ:
        return VARIANTS[variant](base)
    return {"negative": -1, "no number": "x", "too large": 2**60}.get(variant, base)


def _texts(bases: Iterable[Any]) -> tuple[str, ...]:
    """The ids among the bases; numbers are left as they are told."""
    return tuple(base for base in bases if isinstance(base, str))


def _like(id_: str) -> str:
    """Another UUID with the same ends."""
    return f"{id_[0]}{str(uuid4())[1:-1]}{id_[-1]}"


def _forged(user_id: str, session_id: str) -> str:
    """An access token that names a user, signed by a key that is not the server's."""
    claims = {"sub": user_id, "sid": session_id, "iat": LONG_AGO, "nbf": LONG_AGO, "exp": FAR_AWAY}
    return jwt.encode({**claims, "iss": ISSUER, "aud": AUDIENCE}, "a key of the attacker's own choice", ALGORITHM)


def _is_success(heard: Heard) -> bool:
    return (
        heard.told[0].startswith("2")
        and not any('"type": "error"' in told for told in heard.told)
        and (not any("websocket.close" in told for told in heard.told))
    )


def _alike(text: str, actor: Actor, sent: Sent) -> str:
    """A text without what differs between two users who ask for different ids."""
    for base in sent.bases:
        for core in (base[1:-1], base[1:-1].upper()) if len(base) > 2 else (base,):
            text = text.replace(core, "<id>")
    for id_ in (*actor.secrets, actor.user_id):
        text = text.replace(id_, "<own>")
    for varying, name in _VARYING:
        text = varying.sub(name, text)
    return text


if __name__ == "__main__":
    keys: list[Key] = [*ROUTES, *FRAMES]
    for of in keys:
        print(cells_of(of), of if isinstance(of, str) else " ".join(of))
    print(sum(map(cells_of, keys)), "cells on each database")
