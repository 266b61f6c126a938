"""What stands before everybody: limits by address, slow clients, proxies, other sites, and the log of it all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.person import Person, Socket, a_person, http_client
from tests.support.server import Server, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
SITE = "https://app.example.org"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's log goes."""
    return tmp_path_factory.mktemp("log") / "log"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, log: Path) -> AsyncIterator[Server]:
    """A server behind a proxy of this machine, with small limits."""
    settings = {
        "trusted_proxies": "127.0.0.1",
        "allowed_origins": SITE,
        "max_unauthenticated_sockets_per_address": "3",
        "failed_sign_ins_per_minute": "4",
        "failed_sign_ins_per_hour": "6",
        "head_timeout": "PT1S",
        "body_timeout": "PT1S",
    }
    async with serving(tmp_path_factory.mktemp("data"), log, log_level="INFO", **settings) as running:
        yield running


def _written(log: Path) -> str:
    return log.read_text()


def _security(log: Path, event: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in _written(log).splitlines()]
    return [entry for entry in entries if entry.get("security_event") == event]


def _from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def _sign_in(server: Server, address: str, email: str, password: str = "wrong horse") -> httpx.Response:
    async with http_client(server) as http:
        form = {"username": email, "password": password}
        return await http.post("/auth/login", data=form, headers=_from(address))


async def test_an_address_that_guesses_is_slowed(server: Server, ann: Person, log: Path) -> None:
    """After some failures an address gets 429 with when to come back, also for the right password; others do not."""
    for number in range(4):
        assert (await _sign_in(server, "192.0.2.1", f"nobody-{number}@example.org")).status_code == 401
    refused = await _sign_in(server, "192.0.2.1", ann.email, ann.password)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert 1 <= int(refused.headers["retry-after"]) <= 15
    assert (await _sign_in(server, "192.0.2.2", ann.email, ann.password)).status_code == 200
    assert {entry["address"] for entry in _security(log, "sign_in_failed")} >= {"192.0.2.1"}
    assert "192.0.2.1" in {entry["address"] for entry in _security(log, "sign_in_throttled")}


async def test_an_account_is_guarded_whether_it_exists_or_not(server: Server, ann: Person) -> None:
    """From many addresses too: an account that exists and one that does not answer alike, failure by failure."""
    told = []
    for email in (ann.email, "nobody@example.org"):
        answers = [await _sign_in(server, f"198.51.100.{number}", email) for number in range(8)]
        told.append([(answer.status_code, answer.json()["code"], answer.json()["detail"][:30]) for answer in answers])
    assert told[0] == told[1]
    assert [status for status, _, _ in told[0]] == [401] * 6 + [429] * 2


async def test_a_wrong_current_password_counts(server: Server) -> None:
    """Whoever has a token cannot guess the password by changing it."""
    async with a_person(server) as carl:
        change = {"current_password": "wrong horse", "new_password": "another good password"}
        answers = [await carl.http.post("/auth/password", json=change, headers=_from("203.0.113.5")) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 4 + [429]


async def test_registering_does_not_list_accounts_any_faster(server: Server, ann: Person) -> None:
    """Addresses that are taken count as failures, so that trying many out is slow."""
    async with http_client(server) as http:
        body = {"email": ann.email, "password": "correct horse"}
        answers = [await http.post("/auth/register", json=body, headers=_from("203.0.113.6")) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [409] * 4 + [429]


async def test_only_so_many_sockets_wait_for_their_first_frame(server: Server, ann: Person, log: Path) -> None:
    """An address has a bounded number of them; more are refused before the upgrade, and others get in all the time."""
    async with AsyncExitStack() as stack:

        async def open_socket(address: str, **headers: str) -> Socket:
            given = _from(address) | headers
            return Socket(await stack.enter_async_context(connect(server.websocket_url, additional_headers=given)))

        waiting = [await open_socket("192.0.2.7") for _ in range(3)]
        with pytest.raises(InvalidStatus) as refused:
            await open_socket("192.0.2.7")
        response = refused.value.response
        assert (response.status_code, json.loads(response.body)["code"]) == (429, "too_many_unauthenticated")
        assert response.headers["retry-after"] == "5"
        assert _security(log, "socket_throttled")[-1]["address"] == "192.0.2.7"
        await open_socket("192.0.2.8")
        token = await open_socket("192.0.2.7", Authorization=f"Bearer {ann.access_token}")
        await token.expect("connection_ready")
        await waiting[0].send("authenticate", token=ann.access_token)
        await waiting[0].expect("auth_success")
        await waiting[1].connection.close()
        for _ in range(2):
            async with asyncio.timeout(10):
                while True:  # the client may see the end of a connection before the server has counted it
                    with suppress(InvalidStatus):
                        await open_socket("192.0.2.7")
                        break


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto"])
async def test_metrics_are_not_for_who_comes_through_a_proxy(ann: Person, header: str) -> None:
    """A proxy on the same machine does not open the metrics to the world, whatever address it hands on."""
    assert (await ann.http.get("/metrics")).status_code == 200
    for value in ("127.0.0.1", "for=127.0.0.1", "192.0.2.1"):
        answer = await ann.http.get("/metrics", headers={header: value})
        assert answer.status_code == 401
        assert "NETRA_METRICS_TOKEN" in answer.json()["detail"]


async def test_an_allowed_site_may_call_and_no_other(server: Server, ann: Person) -> None:
    """Pages of a configured site may call with a token of their own, never with credentials of the browser's."""
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    async with http_client(server) as http:
        allowed = await http.options("/api/threads", headers={"Origin": SITE, **ask})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, SITE)
        assert "access-control-allow-credentials" not in allowed.headers
        read = await ann.http.get("/api/threads", headers={"Origin": SITE})
        assert (read.status_code, read.headers["access-control-allow-origin"]) == (200, SITE)
        assert "access-control-allow-credentials" not in read.headers
        assert "origin" in read.headers["vary"].lower()
        for origin in ("https://evil.example", "null", f"{SITE}.evil.example"):
            refused = await http.options("/api/threads", headers={"Origin": origin, **ask})
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers
        for path in ("/", "/openapi.json", "/auth/me"):
            assert "access-control-allow-origin" not in (await http.get(path)).headers


@pytest.mark.parametrize("path", ["/auth/me?access_token={}", "/static/app.js?token={}", "/nothing?TOKEN={}"])
async def test_a_token_in_a_url_is_refused(server: Server, ann: Person, log: Path, path: str) -> None:
    """Also where nobody asked for one, with what to do, and without a word of it in the log or the answer."""
    async with http_client(server) as http:
        answer = await http.get(path.format(ann.access_token))
    assert (answer.status_code, answer.json()["code"]) == (400, "token_in_url")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.websocket_url}?token={ann.access_token}")
    assert refused.value.response.status_code == 400
    assert _security(log, "token_in_url")
    assert ann.access_token not in answer.text + _written(log)


async def _raw(server: Server, *parts: bytes) -> bytes:
    """What the server says to a client that sends some bytes and then nothing, until it hangs up."""
    url = urlsplit(server.url)
    assert url.hostname is not None
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(40):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_head_that_does_not_come_is_not_waited_for(server: Server) -> None:
    """A client that sends nothing, or half a head, is hung up on after a while."""
    silent, half = await asyncio.gather(_raw(server), _raw(server, b"GET / HTTP/1.1\r\nHost: "))
    assert (silent, half) == (b"", b"")


@pytest.mark.parametrize(
    ("path", "kind"), [("/auth/register", b"application/json"), ("/auth/login", b"application/x-www-form-urlencoded")]
)
async def test_a_body_that_does_not_come_is_not_waited_for(server: Server, path: str, kind: bytes) -> None:
    """A client that sends half a body gets 408 and is hung up on."""
    host = urlsplit(server.url).netloc.encode()
    head = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: 50\r\n\r\n" % (
        path.encode(), host, kind,
    )  # fmt: skip
    answer = await _raw(server, head + b'{"email":')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


async def test_the_rest_of_a_body_is_not_waited_for_after_its_answer(server: Server) -> None:
    """A client that is refused before its body has come is answered, and hung up on when the rest does not come."""
    host = urlsplit(server.url).netloc.encode()
    head = b"POST /api/threads HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000\r\n\r\n" % host
    answer = await _raw(server, head + b"{")
    assert answer.startswith(b"HTTP/1.1 4")
    assert answer.count(b"HTTP/1.1") == 1


async def test_the_log_tells_what_happened_and_no_secret(server: Server, log: Path) -> None:
    """A user's life with its alarms is in the log, by ids; passwords, tokens and what was typed are not."""
    async with a_person(server) as dora:
        tokens = [dora.access_token, dora.refresh_token]
        spent = dora.refresh_token
        renewed = (await dora.http.post("/auth/refresh", json={"refresh_token": spent})).json()
        assert (await dora.http.post("/auth/refresh", json={"refresh_token": spent})).status_code == 401
        tokens += [renewed["access_token"], renewed["refresh_token"]]
        await _sign_in(server, "192.0.2.99", dora.email, "mistyped-password")
        await dora.sign_in()
        change = {"current_password": dora.password, "new_password": "another good password"}
        assert (await dora.http.post("/auth/password", json=change)).status_code == 204
        tokens += [dora.access_token, dora.refresh_token, dora.password, "another good password", "mistyped-password"]
        dora.password = "another good password"
        await dora.sign_in()
        await dora.http.post("/auth/logout")
        await dora.sign_in()
        await dora.http.get("/auth/me", headers={"Origin": "https://evil.example"})
        await dora.http.get("/auth/me", headers={"Host": "evil.example"})
        assert (await dora.http.delete("/auth/me")).status_code == 204
    for event in (
        "registered", "signed_in", "refresh_reused", "sign_in_failed", "password_changed", "signed_out",
        "account_erased",
    ):  # fmt: skip
        assert dora.user_id in {entry.get("user_id") for entry in _security(log, event)}, event
    assert _security(log, "foreign_origin")
    assert _security(log, "foreign_host")
    written = _written(log)
    assert not [token for token in [*tokens, dora.email] if token in written]
