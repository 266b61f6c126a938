"""What happened to others at the door, each built here as a defect that its check finds, and absent from ours.

The rows are those of the table of published incidents that this project holds itself against.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from blockbuster import BlockBuster
from sqlalchemy import Connection, select, update
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import netra_backend.app.api.middleware as middleware_module
import netra_backend.app.api.ws as ws_module
import netra_backend.app.main as main_module
import netra_backend.app.realtime.event_stream as event_stream_module
from netra_backend.app.api.accounts import Accounts
from netra_backend.app.api.middleware import HostAndOrigin
from netra_backend.app.auth.tokens import PAGE_AUDIENCE
from netra_backend.app.config import Settings
from netra_backend.app.db import system_operations
from netra_backend.app.db.system_operations import Rotation
from netra_backend.app.db.tables import sessions
from netra_backend.app.realtime.connections import Connections
from netra_backend.app.realtime.event_stream import EventStream
from netra_backend.app.services.principal import AuthenticationError, Principal
from tests.support.inner_server import InnerServer, serving_here
from tests.support.person import ANSWER_LIMIT_S, Person, Socket, a_person, http_client

EVIL = "https://evil.example"
AGENTS = {"gate": "tests.support.agents:GateAgent"}
Check = Callable[[InnerServer], Awaitable[None]]
Defect = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def _free_to_block(blockbuster: BlockBuster | None) -> None:
    """Building an app and starting it read and make files, here in the test's own event loop."""
    if blockbuster is not None:
        blockbuster.deactivate()


async def _holds(check: Check, folder: Path) -> bool:
    """Whether a check passes on the server as it is now built."""
    async with serving_here(Settings(data_dir=folder, agents=AGENTS)) as server:
        try:
            await check(server)
        except AssertionError:
            return False
        return True


async def _finds(check: Check, defect: Defect, folder: Path) -> bool:
    """Whether a check fails on a build with a defect."""
    with pytest.MonkeyPatch.context() as patch:
        defect(patch)
        return not await _holds(check, folder)


@asynccontextmanager
async def _page(person: Person) -> AsyncIterator[httpx.AsyncClient]:
    """A browser in which a person has signed in at the page."""
    async with http_client(person.server, Origin=person.server.url) as http:
        form = {"username": person.email, "password": person.password}
        answer = (await http.post("/auth/session", data=form)).raise_for_status()
        http.headers["X-Netra-CSRF"] = answer.json()["csrf_token"]
        yield http


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def _unsigned(claims: dict[str, Any], **header: str) -> str:
    parts = ({"alg": "none", "typ": "JWT", **header}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


async def _status(server: InnerServer, path: str, **headers: str) -> int:
    async with http_client(server) as http:
        return (await http.get(path, headers=headers)).status_code


async def _opened_as(server: InnerServer, **headers: str) -> str | None:
    """Whose a socket with such headers becomes; None when nobody's."""
    try:
        async with connect(server.websocket_url, additional_headers=headers) as connection:
            ready: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), ANSWER_LIMIT_S))
            return str(ready.get("user_id"))
    except (InvalidStatus, ConnectionClosed):
        return None


# Row 7: a session restored from its id alone (CVE-2026-56104)


async def _nobody_comes_back_as_another(server: InnerServer) -> None:
    """Whoever knows another's session id gets nothing for it: as a cookie, in a token, to refresh, to reconnect."""
    async with a_person(server) as ann, a_person(server) as eve, _page(ann) as page, _page(eve) as other:
        cookie = _claims(next(iter(page.cookies.values())))
        own = next(iter(other.cookies.values()))
        for session_id in (cookie["sid"], _claims(ann.access_token)["sid"]):
            forged = _unsigned({**cookie, "sid": session_id}, kid="0" * 16)
            for value in (
                session_id,
                forged,
                f"{own}; netra-session={session_id}",
                f"{session_id}; netra-session={own}",
            ):
                headers = {"Cookie": f"netra-session={value}", "Origin": server.url}
                assert await _opened_as(server, **headers) in (None, eve.user_id)
                async with http_client(server, **headers) as http:
                    answer = await http.get("/auth/me")
                assert answer.status_code == 401 or answer.json()["user_id"] == eve.user_id
            for token in (f"{session_id}.{'x' * 43}.{'x' * 43}", f"{session_id}.{eve.refresh_token.partition('.')[2]}"):
                for headers in ({}, {"Cookie": f"netra-session={own}"}):
                    async with http_client(server, **headers) as http:
                        answer = await http.post("/auth/refresh", json={"refresh_token": token})
                    assert answer.status_code == 401
        assert (await page.get("/auth/me")).json()["user_id"] == ann.user_id  # and her sessions still hold
        assert (await ann.http.get("/auth/me")).status_code == 200


def _cookie_is_the_sessions_id(patch: pytest.MonkeyPatch) -> None:
    verify = Accounts.authenticate_page

    async def restore(self: Accounts, cookie: str) -> Principal:
        @system_operations._system_operation
        def find(connection: Connection) -> Any:
            return connection.execute(select(sessions).where(sessions.c.session_id == cookie)).one_or_none()

        found = await self._database.read(find)
        if found is None:
            return await verify(self, cookie)
        return Principal(found.user_id, found.session_id, found.expires_at)

    patch.setattr(Accounts, "authenticate_page", restore)


def _cookie_is_not_verified(patch: pytest.MonkeyPatch) -> None:
    async def believe(self: Accounts, cookie: str) -> Principal:
        try:
            claims = _claims(cookie)
        except (ValueError, IndexError):
            raise AuthenticationError("no") from None
        assert claims["aud"] == PAGE_AUDIENCE
        return await self._held(Principal(claims["sub"], claims["sid"], self._cookies.verify(
            self._cookies.issue(claims["sub"], claims["sid"])).expires_at))  # fmt: skip

    patch.setattr(Accounts, "authenticate_page", believe)


def _refresh_by_the_sessions_id(patch: pytest.MonkeyPatch) -> None:
    @system_operations._system_operation
    def rotate(connection: Connection, /, *, session_id: str, new_hash: str, **_: Any) -> Rotation | None:
        statement = update(sessions).where(sessions.c.session_id == session_id).values(refresh_hash=new_hash)
        user_id = connection.execute(statement.returning(sessions.c.user_id)).scalar_one_or_none()
        return None if user_id is None else Rotation(user_id, is_over=False)

    patch.setattr(system_operations, "rotate_refresh_token", rotate)


async def test_row_7_a_session_is_not_restored_from_its_id(tmp_path: Path) -> None:
    """Another's session id opens nothing, under another's cookie or none; three builds in which it does are found."""
    assert await _holds(_nobody_comes_back_as_another, tmp_path / "ours")
    for number, defect in enumerate((_cookie_is_the_sessions_id, _cookie_is_not_verified, _refresh_by_the_sessions_id)):
        assert await _finds(_nobody_comes_back_as_another, defect, tmp_path / str(number)), defect


# Row 10: what a user may do, remembered at the connect (CVE-2026-44553)


async def _log_out(person: Person) -> None:
    (await person.http.post("/auth/logout")).raise_for_status()


async def _log_out_everywhere(person: Person) -> None:
    (await person.http.post("/auth/logout-everywhere")).raise_for_status()


async def _change_password(person: Person) -> None:
    change = {"current_password": person.password, "new_password": "another good password"}
    (await person.http.post("/auth/password", json=change)).raise_for_status()


async def _erase(person: Person) -> None:
    (await person.http.delete("/auth/me")).raise_for_status()


async def _spend_twice(person: Person) -> None:
    for _ in range(2):
        await person.http.post("/auth/refresh", json={"refresh_token": person.refresh_token})


REVOCATIONS = (_log_out, _log_out_everywhere, _change_password, _erase, _spend_twice)


async def _what_is_revoked_is_cut(server: InnerServer) -> None:
    """However a session ends: the next frame of its socket is not served, its stream ends, and others go on."""
    async with a_person(server) as bob, bob.connected() as others_socket:
        for revoke in REVOCATIONS:
            async with a_person(server) as ann, ann.connected() as socket:
                thread_id = str(uuid4())
                await ann.http.post("/api/threads", json={"thread_id": thread_id})
                async with ann.http.stream("GET", f"/api/threads/{thread_id}/events") as stream:
                    await revoke(ann)
                    assert await _is_cut(socket)
                    assert await _ends(stream)
                assert (await ann.http.get("/api/threads")).status_code == 401
        await others_socket.send("ping")
        await others_socket.expect("pong")


async def _is_cut(socket: Socket) -> bool:
    try:
        await socket.send("ping")
        await socket.receive()
    except ConnectionClosed as closed:
        return closed.rcvd is not None and closed.rcvd.code == 4401
    return False


async def _ends(stream: httpx.Response) -> bool:
    """Whether a stream ends by itself; one that goes on says every few milliseconds that there is nothing new."""
    said = 0
    async for _ in stream.aiter_lines():
        said += 1
        if said > 200:
            return False
    return True


def _identity_is_remembered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connections, "close_user", lambda *_: None)
    patch.setattr(Connections, "close_session", lambda *_: None)


def _streams_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EventStream, "close", lambda *_: None)


def _only_the_same_session_is_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connections, "close_user", lambda *_: None)


async def test_row_10_what_is_revoked_is_cut_from_live_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logged out, changed and erased users lose open sockets and streams; builds that remember them are found."""
    monkeypatch.setattr(event_stream_module, "HEARTBEAT_SECONDS", 0.005)
    assert await _holds(_what_is_revoked_is_cut, tmp_path / "ours")
    for number, defect in enumerate((_identity_is_remembered, _only_the_same_session_is_cut, _streams_are_forgotten)):
        assert await _finds(_what_is_revoked_is_cut, defect, tmp_path / str(number)), defect


# Row 13: cross-site WebSocket hijacking, DNS rebinding, a wildcard with credentials (adk-python #4947, LangGraph v0.14)


async def _no_other_site_gets_in(server: InnerServer) -> None:
    """Foreign, null and missing origins, and rebound names, open no socket and read nothing, cookie or token."""
    port = server.url.rpartition(":")[2]
    async with a_person(server) as ann, _page(ann) as page:
        cookie = f"netra-session={next(iter(page.cookies.values()))}"
        bearer = f"Bearer {ann.access_token}"
        assert await _opened_as(server, Cookie=cookie, Origin=server.url) == ann.user_id
        assert await _opened_as(server, Authorization=bearer) == ann.user_id
        assert await _opened_as(server, Cookie=cookie) is None
        for origin in (EVIL, "null", f"{server.url}.evil.example", "http://127.0.0.1:1"):
            assert await _opened_as(server, Cookie=cookie, Origin=origin) is None
            assert await _opened_as(server, Authorization=bearer, Origin=origin) is None
            async with http_client(server, Cookie=cookie, Origin=origin) as http:
                answer = await http.get("/auth/me")
                assert answer.headers.get("access-control-allow-credentials") is None
                assert answer.headers.get("access-control-allow-origin") is None
                assert answer.status_code == 403
        for host in (f"rebound.example:{port}", "rebound.example", f"127.0.0.1.rebound.example:{port}"):
            origin = f"http://{host}"  # the page that was rebound is of the same origin as its victim
            assert await _status(server, "/auth/me", Host=host, Authorization=bearer) == 403
            assert await _status(server, "/auth/me", Host=host, Cookie=cookie, Origin=origin) == 403
            assert await _handshake(server, host, Cookie=cookie, Origin=origin) == 403


async def _handshake(server: InnerServer, host: str, **headers: str) -> int:
    """The status of an upgrade under a name of one's choice, which WebSocket clients do not let one choose."""
    address, _, port = server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(address, int(port))
    key = base64.b64encode(bytes(16)).decode()
    given = {
        "Host": host, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key, **headers,
    }  # fmt: skip
    lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    status = (await asyncio.wait_for(reader.readline(), ANSWER_LIMIT_S)).split()[1]
    writer.close()
    return int(status)


class _Everything(frozenset[str]):
    def __contains__(self, _item: object) -> bool:
        return True


def _changed(patch: pytest.MonkeyPatch, **attributes: Any) -> None:
    make = HostAndOrigin.__init__

    def init(self: HostAndOrigin, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        for name, value in attributes.items():
            setattr(self, name, value)

    patch.setattr(HostAndOrigin, "__init__", init)


def _origins_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    _changed(patch, _origins=_Everything())


def _null_is_let_in(patch: pytest.MonkeyPatch) -> None:
    _changed(patch, _origins=frozenset({"null"}))


def _hosts_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    _changed(patch, _hosts=_Everything())


def _hosts_are_compared_by_their_beginning(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(middleware_module, "_hostname", lambda host: "127.0.0.1" if host.startswith("127.0.0.1") else host)


def _a_cookie_needs_no_origin(patch: pytest.MonkeyPatch) -> None:
    def nothing(_connection: HTTPConnection) -> None:
        pass

    patch.setattr(ws_module, "check_page", nothing)


def _wildcard_with_credentials(patch: pytest.MonkeyPatch) -> None:
    _changed(patch, _origins=_Everything())
    patch.setattr(
        main_module, "CORSMiddleware",
        lambda app, **_: CORSMiddleware(app, allow_origins=["*"], allow_credentials=True),
    )  # fmt: skip


DOORS_LEFT_OPEN = (
    _origins_are_not_checked,
    _null_is_let_in,
    _hosts_are_not_checked,
    _hosts_are_compared_by_their_beginning,
    _a_cookie_needs_no_origin,
    _wildcard_with_credentials,
)


async def test_row_13_no_other_site_gets_in(tmp_path: Path) -> None:
    """Other sites' pages get in by no origin and no name; six builds with a door left open are found."""
    assert await _holds(_no_other_site_gets_in, tmp_path / "ours")
    for number, defect in enumerate(DOORS_LEFT_OPEN):
        assert await _finds(_no_other_site_gets_in, defect, tmp_path / str(number)), defect
