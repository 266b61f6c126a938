"""Who may open the socket, and how long it stays theirs."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from netra_backend.app.auth.keys import key_id
from tests.mission_critical.conftest import SECRET_KEY
from tests.support.person import Person, Socket
from tests.support.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")
KID = {"kid": key_id(SECRET_KEY.encode())}


def _connect(server: Server, **headers: str) -> connect:
    return connect(server.websocket_url, additional_headers=headers, compression=None)


async def _refusal(server: Server, **headers: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        async with _connect(server, **headers):
            pass
    return refused.value.response.status_code, json.loads(refused.value.response.body)


def _claims(person: Person) -> dict[str, Any]:
    return jwt.decode(person.access_token, options={"verify_signature": False})


def _forged(person: Person, key: str = SECRET_KEY, **changes: Any) -> str:
    return jwt.encode({**_claims(person), **changes}, key, algorithm="HS256", headers=KID)


def _unsigned(person: Person) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'typ': 'JWT', **KID})}.{part(_claims(person))}."


def _changed(token: str, position: int) -> str:
    return f"{token[:position]}{'A' if token[position] != 'A' else 'B'}{token[position + 1 :]}"


def _bad_tokens(person: Person) -> dict[str, str]:
    token = person.access_token
    past = datetime.now(UTC) - timedelta(minutes=1)
    return {
        "not a token": "nonsense",
        "expired": _forged(person, exp=past),
        "not yet valid": _forged(person, nbf=datetime.now(UTC) + timedelta(hours=1)),
        "of another audience": _forged(person, aud="another"),
        "of another issuer": _forged(person, iss="another"),
        "of another session": _forged(person, sid="00000000-0000-0000-0000-000000000000"),
        "without a user": jwt.encode(
            {name: value for name, value in _claims(person).items() if name != "sub"},
            SECRET_KEY,
            algorithm="HS256",
            headers=KID,
        ),
        "unsigned": _unsigned(person),
        "signed with another key": _forged(person, key="another key of at least thirty-two characters"),
        "header changed": _changed(token, 3),
        "claims changed": _changed(token, token.index(".") + 5),
        "signature changed": _changed(token, len(token) - 10),
        "last byte changed": _changed(token, len(token) - 1),
        "refresh token": person.refresh_token,
    }


async def test_a_good_header_opens_the_socket(server: Server, ann: Person) -> None:
    """A good token in the upgrade's header makes the socket ready at once, for that user, under netra.v1."""
    headers = {"Authorization": f"Bearer {ann.access_token}"}
    async with connect(server.websocket_url, additional_headers=headers, subprotocols=["netra.v1"]) as connection:  # type: ignore[list-item]
        ready = await Socket(connection).expect("connection_ready")
        assert ready["user_id"] == ann.user_id
        assert ready["protocol"] == "netra.v1"
        assert connection.subprotocol == "netra.v1"


async def test_a_good_first_frame_opens_the_socket(server: Server, ann: Person) -> None:
    """A good token in the first frame is confirmed, then the socket is ready for that user."""
    async with _connect(server) as connection:
        socket = Socket(connection)
        await socket.send("authenticate", token=ann.access_token)
        assert (await socket.expect("auth_success"))["user_id"] == ann.user_id
        assert (await socket.expect("connection_ready"))["user_id"] == ann.user_id
        frames = await socket.ask("hello", agent="gate")
        assert frames[-1]["data"]["result"] == {"echo": "hello", "user_id": ann.user_id}


@pytest.mark.parametrize(
    "fault",
    [
        "not a token",
        "expired",
        "not yet valid",
        "of another audience",
        "of another issuer",
        "of another session",
        "without a user",
        "unsigned",
        "signed with another key",
        "header changed",
        "claims changed",
        "signature changed",
        "last byte changed",
        "refresh token",
    ],
)
async def test_a_bad_token_opens_nothing(server: Server, ann: Person, fault: str) -> None:
    """A bad token is 401 before the upgrade, 4401 in the first frame and 401 over HTTP, and is never repeated."""
    token = _bad_tokens(ann)[fault]
    status, problem = await _refusal(server, Authorization=f"Bearer {token}")
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert token not in json.dumps(problem)
    async with _connect(server) as connection:
        socket = Socket(connection)
        await socket.send("authenticate", token=token)
        code, reason = await socket.closed()
        assert code == 4401
        assert token not in reason
    over_http = await ann.http.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert over_http.status_code == 401
    assert ann.user_id not in over_http.text


async def test_another_scheme_opens_nothing(server: Server, ann: Person) -> None:
    """A header of another scheme is refused, and not taken for a missing one."""
    status, _ = await _refusal(server, Authorization=f"Basic {ann.access_token}")
    assert status == 401


async def test_a_silent_socket_is_closed(server: Server) -> None:
    """A socket without a header whose first frame does not come in time is closed with 4408."""
    async with _connect(server) as connection:
        assert (await Socket(connection).closed())[0] == 4408


async def test_another_first_frame_is_refused(server: Server) -> None:
    """Whoever speaks before authenticating is closed with 4401, and nothing is stored."""
    async with _connect(server) as connection:
        socket = Socket(connection)
        await socket.send("user_message", text="let me in")
        assert (await socket.closed())[0] == 4401


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://127.0.0.1:1"]
)
async def test_a_foreign_origin_is_refused(server: Server, ann: Person, origin: str) -> None:
    """A page of another site cannot open the socket, though the user's token is good."""
    status, problem = await _refusal(server, Authorization=f"Bearer {ann.access_token}", Origin=origin)
    assert (status, problem["code"]) == (403, "foreign_origin")


async def test_a_foreign_host_is_refused(server: Server, ann: Person) -> None:
    """A name that is not ours, as after DNS rebinding, is refused on the socket and over HTTP."""
    port = server.url.rpartition(":")[2]
    answer = await ann.http.get("/auth/me", headers={"Host": f"rebound.example:{port}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_host")


async def test_the_own_origin_is_welcome(server: Server, ann: Person) -> None:
    """A page of the server's own opens the socket."""
    async with _connect(server, Authorization=f"Bearer {ann.access_token}", Origin=server.url) as connection:
        await Socket(connection).expect("connection_ready")


async def test_a_session_is_renewed_on_the_same_socket(server: Server, ann: Person) -> None:
    """A later authenticate of the same user is confirmed, and the socket goes on."""
    async with ann.connected() as socket:
        await ann.sign_in()
        await socket.send("authenticate", token=ann.access_token)
        assert (await socket.expect("auth_success"))["user_id"] == ann.user_id
        await socket.send("ping")
        await socket.expect("pong")


async def test_a_socket_never_changes_hands(server: Server, ann: Person, bob: Person) -> None:
    """A later authenticate of another user closes the socket with 4403."""
    async with ann.connected() as socket:
        await socket.send("authenticate", token=bob.access_token)
        assert (await socket.closed())[0] == 4403


async def test_a_socket_ends_with_its_token(server: Server, ann: Person) -> None:
    """A socket is closed with 4401 when its token expires."""
    token = _forged(ann, exp=datetime.now(UTC) + timedelta(seconds=2))
    async with _connect(server, Authorization=f"Bearer {token}") as connection:
        socket = Socket(connection)
        await socket.expect("connection_ready")
        code, reason = await socket.closed()
        assert (code, reason) == (4401, "the token has expired")


async def _expect_4401(connection: ClientConnection) -> None:
    assert (await Socket(connection).closed())[0] == 4401


async def test_logging_out_ends_the_sessions_sockets(server: Server, ann: Person) -> None:
    """Logging out closes the session's sockets with 4401 and leaves the user's other session alone."""
    first = ann.access_token
    async with ann.connected() as socket:
        await ann.sign_in()
        async with ann.connected() as other:
            answer = await ann.http.post("/auth/logout", headers={"Authorization": f"Bearer {first}"})
            assert answer.status_code == 204
            await _expect_4401(socket.connection)
            await other.send("ping")
            await other.expect("pong")
    status, _ = await _refusal(server, Authorization=f"Bearer {first}")
    assert status == 401


async def test_changing_the_password_ends_every_session(server: Server, ann: Person) -> None:
    """A changed password closes all sockets and ends all tokens; only the new password signs in."""
    async with ann.connected() as socket:
        change = {"current_password": ann.password, "new_password": "another good password"}
        assert (await ann.http.post("/auth/password", json=change)).status_code == 204
        await _expect_4401(socket.connection)
    assert (await ann.http.get("/auth/me")).status_code == 401
    old = await ann.http.post("/auth/login", data={"username": ann.email, "password": ann.password})
    assert (old.status_code, old.json()["code"]) == (401, "invalid_credentials")
    ann.password = "another good password"
    await ann.sign_in()


async def test_a_spent_refresh_token_ends_its_session(server: Server, ann: Person) -> None:
    """A refresh token works once; spent again, it ends the session, since one of its holders is a thief."""
    spend = {"refresh_token": ann.refresh_token}
    async with ann.connected() as socket:
        renewed = await ann.http.post("/auth/refresh", json=spend)
        assert renewed.status_code == 200
        assert (await ann.http.post("/auth/refresh", json=spend)).status_code == 401
        await _expect_4401(socket.connection)
    again = await ann.http.post("/auth/refresh", json={"refresh_token": renewed.json()["refresh_token"]})
    assert again.status_code == 401


async def test_an_erased_user_is_gone(server: Server, ann: Person) -> None:
    """Erasing an account closes its sockets, ends its tokens and lets nobody sign in."""
    async with ann.connected() as socket:
        await socket.ask("remember me", agent="gate")
        assert (await ann.http.delete("/auth/me")).status_code == 204
        await _expect_4401(socket.connection)
    assert (await ann.http.get("/api/threads")).status_code == 401
    form = {"username": ann.email, "password": ann.password}
    assert (await ann.http.post("/auth/login", data=form)).status_code == 401
