"""The built-in page's session: a cookie that counts for the page only, wherever it is sent from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.person import ANSWER_LIMIT_S, Person, Socket, http_client
from tests.support.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Page:
    """A browser's page of the server: keeps its cookie, and sends the own origin and the code as the script does."""

    def __init__(self, http: httpx.AsyncClient, origin: str) -> None:
        self.http = http
        self.origin = origin
        self.csrf = ""
        self.set_cookie = ""

    async def sign_in(self, person: Person, **headers: str) -> httpx.Response:
        """Sign in by the page's form."""
        form = {"username": person.email, "password": person.password}
        answer = await self.http.post("/auth/session", data=form, headers={"Origin": self.origin} | headers)
        if answer.status_code == 200:
            self.csrf = answer.json()["csrf_token"]
            self.set_cookie = answer.headers["set-cookie"]
        return answer

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call as the page's script makes it."""
        headers = {"Origin": self.origin, "X-Netra-CSRF": self.csrf} if method != "GET" else {}
        return await self.http.request(method, path, headers=headers | options.pop("headers", {}), **options)

    @property
    def cookie(self) -> str:
        """The header that the browser sends."""
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())


@pytest_asyncio.fixture(loop_scope="module")
async def page(server: Server, ann: Person) -> AsyncIterator[Page]:
    """A page at which ann has signed in."""
    async with http_client(server) as http:
        page = Page(http, server.url)
        assert (await page.sign_in(ann)).status_code == 200
        yield page


def _problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_page_works_by_its_cookie(page: Page, ann: Person) -> None:
    """Reading, changing, the log as server-sent events and signing out need the cookie and no token."""
    found = (await page.send("GET", "/auth/session")).json()
    assert found == {"user_id": ann.user_id, "email": ann.email, "csrf_token": page.csrf}
    thread_id = (await page.send("POST", "/api/threads", json={"title": "plans"})).json()["thread_id"]
    sent = await page.send("POST", f"/api/threads/{thread_id}/messages", json={"text": "hello", "agent": "gate"})
    assert sent.status_code == 202
    async with page.http.stream("GET", f"/api/threads/{thread_id}/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: ") and json.loads(line[6:]).get("final"):
                break
    assert (await page.send("POST", "/auth/logout")).status_code == 204
    assert page.cookie == ""
    _problem(await page.send("GET", "/auth/session"), 401, "unauthenticated")


async def test_the_cookie_is_for_browsers_to_keep_to_themselves(server: Server, page: Page, ann: Person) -> None:
    """No script reads it, no other site's page sends it, and over HTTPS only HTTPS carries it, from this host only."""
    name, morsel = next(iter(SimpleCookie(page.set_cookie).items()))
    assert name == "netra-session"
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "strict", "/", "")
    assert int(morsel["max-age"]) == 12 * 3600
    assert page.csrf not in page.set_cookie
    async with http_client(server) as http:
        secure = Page(http, page.origin.replace("http:", "https:"))
        assert (await secure.sign_in(ann)).status_code == 200
    name, morsel = next(iter(SimpleCookie(secure.set_cookie).items()))
    assert name == "__Host-netra-session"
    assert (morsel["secure"], morsel["httponly"], morsel["path"], morsel["domain"]) == (True, True, "/", "")


async def test_another_sites_page_changes_nothing(server: Server, page: Page, bob: Person) -> None:
    """The cookie alone changes nothing: the own origin and the session's code must come too."""
    async with http_client(server) as http:
        other = Page(http, page.origin)
        await other.sign_in(bob)
    for origin, csrf, code in (
        (None, page.csrf, "forged_page_request"),
        ("null", page.csrf, "foreign_origin"),
        ("https://evil.example", page.csrf, "foreign_origin"),
        (page.origin, None, "forged_page_request"),
        (page.origin, "", "forged_page_request"),
        (page.origin, "guess", "forged_page_request"),
        (page.origin, other.csrf, "forged_page_request"),
    ):
        headers = {"Origin": origin, "X-Netra-CSRF": csrf}
        sent = {name: value for name, value in headers.items() if value is not None}
        for method, path in (("POST", "/api/threads"), ("DELETE", "/auth/me"), ("POST", "/auth/logout-everywhere")):
            body: Any = {} if path == "/api/threads" else None
            _problem(await page.http.request(method, path, headers=sent, json=body), 403, code)
    assert (await page.send("GET", "/api/threads")).json()["threads"] == []


async def test_pages_with_and_without_tls_are_not_mixed(server: Server, page: Page, ann: Person) -> None:
    """A page without TLS does nothing with a cookie of HTTPS, nor one of HTTPS with what anybody may have set."""
    https = server.url.replace("http:", "https:")
    async with http_client(server) as http:
        secure = Page(http, https)
        assert (await secure.sign_in(ann)).status_code == 200
    cookies = {https: secure.set_cookie.partition(";")[0], server.url: page.set_cookie.partition(";")[0]}
    for origin, csrf in ((https, secure.csrf), (server.url, page.csrf)):
        for given, cookie in cookies.items():
            headers = {"Origin": origin, "Cookie": cookie, "X-Netra-CSRF": csrf}
            async with http_client(server, **headers) as http:
                answer = await http.post("/api/threads", json={})
            assert answer.status_code == (201 if given == origin else 403), (given, origin)
            upgrade = connect(server.websocket_url, additional_headers={"Origin": origin, "Cookie": cookie})
            if given == origin:
                async with upgrade as connection:
                    await Socket(connection).expect("connection_ready")
            else:
                with pytest.raises(InvalidStatus):
                    await upgrade


async def test_nobody_else_signs_a_browser_in(server: Server, ann: Person) -> None:
    """Another site's form cannot sign the browser in, to an account of its own choice."""
    form = {"username": ann.email, "password": ann.password}
    async with http_client(server) as http:
        for origin in (None, "null", "https://evil.example", "http://127.0.0.1:1"):
            answer = await http.post("/auth/session", data=form, headers={} if origin is None else {"Origin": origin})
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers


async def test_the_cookie_opens_the_socket_for_the_page_only(server: Server, page: Page, ann: Person) -> None:
    """With the own origin the cookie opens the socket; with a foreign, a null or no origin it is HTTP 403."""
    headers = {"Cookie": page.cookie, "Origin": server.url}
    async with connect(server.websocket_url, additional_headers=headers) as connection:
        socket = Socket(connection)
        assert (await socket.expect("connection_ready"))["user_id"] == ann.user_id
        assert (await socket.ask("hello", agent="gate"))[-1]["data"]["result"]["user_id"] == ann.user_id
    for origin, code in (
        (None, "forged_page_request"),
        ("null", "foreign_origin"),
        ("https://e.example", "foreign_origin"),
    ):
        sent = {"Cookie": page.cookie} | ({} if origin is None else {"Origin": origin})
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.websocket_url, additional_headers=sent)
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["code"] == code


async def test_a_bad_cookie_is_told_by_a_close_code(server: Server, page: Page) -> None:
    """A page cannot see why an upgrade is refused, so a cookie that proves nobody is closed with 4401."""
    await page.send("POST", "/auth/logout-everywhere")
    for cookie in ("netra-session=nonsense", page.set_cookie.partition(";")[0]):
        headers = {"Cookie": cookie, "Origin": server.url}
        async with connect(server.websocket_url, additional_headers=headers) as connection:
            assert (await Socket(connection).closed())[0] == 4401


async def test_a_cookie_is_no_token_and_a_token_no_cookie(server: Server, page: Page, ann: Person) -> None:
    """What one of them holds is worth nothing in the other's place; a bad header is not made good by the cookie."""
    value = next(iter(page.http.cookies.values()))
    async with http_client(server) as http:
        assert (await http.get("/auth/me", headers={"Authorization": f"Bearer {value}"})).status_code == 401
        for name in ("netra-session", "__Host-netra-session"):
            answer = await http.get("/auth/me", headers={"Cookie": f"{name}={ann.access_token}"})
            assert answer.status_code == 401
    for header in ("Bearer nonsense", "Basic x", ""):
        assert (await page.send("GET", "/auth/me", headers={"Authorization": header})).status_code == 401


async def test_signing_in_again_ends_the_session_before(server: Server, page: Page, ann: Person) -> None:
    """A page has one session: the cookie of before proves nobody any more, and its socket ends."""
    before = page.cookie
    headers = {"Cookie": before, "Origin": server.url}
    async with connect(server.websocket_url, additional_headers=headers) as connection:
        await Socket(connection).expect("connection_ready")
        assert (await page.sign_in(ann)).status_code == 200
        assert (await Socket(connection).closed())[0] == 4401
    assert page.cookie != before
    async with http_client(server, Cookie=before) as http:
        assert (await http.get("/auth/me")).status_code == 401
    assert (await page.send("GET", "/auth/me")).status_code == 200


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-everywhere"])
async def test_signing_out_ends_the_pages_stream(page: Page, path: str) -> None:
    """A stream of server-sent events that is open ends with its session, and says so."""
    thread_id = str(uuid4())
    await page.send("POST", "/api/threads", json={"thread_id": thread_id})
    async with page.http.stream("GET", f"/api/threads/{thread_id}/events") as stream:
        assert stream.status_code == 200
        assert (await page.send("POST", path)).status_code == 204
        async with asyncio.timeout(ANSWER_LIMIT_S):
            data = [line async for line in stream.aiter_lines() if line.startswith("data")]
        assert [json.loads(line.removeprefix("data: "))["code"] for line in data] == ["unauthenticated"]


async def test_signing_out_everywhere_ends_every_session(server: Server, page: Page, ann: Person, bob: Person) -> None:
    """All of the user's sessions end, programs' and pages', their sockets too; nobody else's do."""
    async with ann.connected() as socket, bob.connected() as other:
        await ann.sign_in()
        assert (await ann.http.post("/auth/logout-everywhere")).status_code == 204
        assert (await socket.closed())[0] == 4401
        await other.send("ping")
        await other.expect("pong")
    assert (await ann.http.get("/auth/me")).status_code == 401
    assert (await page.send("GET", "/auth/session")).status_code == 401
    spent = await ann.http.post("/auth/refresh", json={"refresh_token": ann.refresh_token})
    assert spent.status_code == 401
    await ann.sign_in()
