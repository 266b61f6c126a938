"""What stands before every handler: foreign hosts and origins stay out, and every response carries its headers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from netra_backend.app.api.middleware import (
    LOOPBACK_HOSTS,
    NOT_IN_URLS,
    SECURITY_HEADERS,
    Envelope,
    HostAndOrigin,
    NoTokenInUrl,
)

HOSTS = {*LOOPBACK_HOSTS, "Netra.Example.org"}
ORIGINS = ["https://App.example.org/", "http://localhost:5173"]


class Inner:
    """An app that answers requests, accepts sockets, and remembers what came through."""

    def __init__(self) -> None:
        self.came: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer whatever comes."""
        self.came.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"the handler's")]})
            await send({"type": "http.response.body", "body": b"inside"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})


def scope_of(type_: str = "http", query: str = "", **headers: str | None) -> Scope:
    """A request with such headers; `None` leaves one out."""
    given = {"host": "localhost:8000", **headers}
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in given.items() if value is not None
    ]
    return {"type": type_, "method": "GET", "path": "/", "query_string": query.encode(), "headers": raw}


async def call(app: Any, scope: Scope) -> list[Message]:
    """What the app sends."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody reads the body of what is refused")

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def code_of(scope: Scope, hosts: set[str] | None = None, origins: list[str] | None = None) -> str | None:
    """The code that a request is refused with; None when it comes through."""
    inner = Inner()
    app = HostAndOrigin(inner, hosts=HOSTS if hosts is None else hosts, origins=ORIGINS if origins is None else origins)
    sent = await call(app, scope)
    if inner.came:
        assert sent[0].get("status", 200) == 200
        return None
    assert sent[0]["status"] == 403
    problem = json.loads(sent[1]["body"])
    assert (problem["status"], problem["title"]) == (403, "Forbidden")
    assert dict(sent[0]["headers"])[b"content-type"] == b"application/problem+json"
    code: str = problem["code"]
    return code


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:65535",
        "[::1]",
        "[::1]:8000",
        "netra.example.org",
        "NETRA.example.ORG:443",
    ],
)
@pytest.mark.parametrize("type_", ["http", "websocket"])
async def test_a_request_by_one_of_our_names_comes_through(type_: str, host: str) -> None:
    """The host's name counts, in any case, with any port or none, IPv6 in its brackets."""
    assert await code_of(scope_of(type_, host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":8000",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "evil-localhost",
        "localhost.",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0.0.0.0",  # noqa: S104 the promise
        "[::1",
        "::1",
        "[::ffff:127.0.0.1]",
        "[::1].evil.example",
        "192.168.1.10:8000",
        "xn--lcalhost-c4a",
        "localhost, evil.example",
    ],
)
@pytest.mark.parametrize("type_", ["http", "websocket"])
async def test_a_request_by_another_name_is_refused(type_: str, host: str | None) -> None:
    """A name that somebody else has pointed at this machine (DNS rebinding), or none, is refused with 403."""
    assert await code_of(scope_of(type_, host=host)) == "foreign_host"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example@localhost",
        "evil.example:80@localhost",
        "localhost/evil",
        "localhost?evil",
        "localhost#evil",
        "localhost:evil",
        "localhost:80:80",
        "localhost evil.example",
        "localhost\tx",
        "evil.example\\@localhost",
    ],
)
async def test_what_is_no_host_is_no_name_of_ours(host: str) -> None:
    """A Host that is not a name with perhaps a port (RFC 9110, 7.2) is refused, whatever a URL parser makes of it."""
    assert await code_of(scope_of(host=host)) == "foreign_host"


async def test_a_server_without_names_answers_nobody() -> None:
    """No host is a name when none is configured."""
    assert await code_of(scope_of(host="localhost"), hosts=set()) == "foreign_host"
    assert await code_of(scope_of(host=""), hosts={""}) == "foreign_host"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", None),
        ("localhost:8000", "http://localhost:8000"),
        ("localhost:8000", "HTTP://LocalHost:8000"),
        ("netra.example.org", "https://netra.example.org"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("localhost:8000", "https://app.example.org"),
        ("localhost:8000", "https://APP.example.org"),
        ("netra.example.org", "http://localhost:5173"),
    ],
)
@pytest.mark.parametrize("type_", ["http", "websocket"])
async def test_our_own_pages_and_the_allowed_sites_may_call(type_: str, host: str, origin: str | None) -> None:
    """The server's own pages, the sites of the setting, and whatever is no browser come through."""
    assert await code_of(scope_of(type_, host=host, origin=origin)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8000",
        "http://localhost:8000.evil.example",
        "http://evil.example/http://localhost:8000",
        "http://localhost:8000@evil.example",
        "http://localhost:8000/",
        "localhost:8000",
        "ws://localhost:8000",
        "file://localhost:8000",
        "https://app.example.org.evil.example",
        "https://evil-app.example.org",
        "https://app.example.org:8443",
        "http://app.example.org",
        "https://app.example.org, https://evil.example",
    ],
)
@pytest.mark.parametrize("type_", ["http", "websocket"])
async def test_pages_of_another_site_may_not_call(type_: str, origin: str) -> None:
    """Another origin, another port or scheme of the same host included, is refused with 403."""
    assert await code_of(scope_of(type_, origin=origin)) == "foreign_origin"


async def test_a_socket_is_refused_before_its_upgrade() -> None:
    """A foreign socket gets an HTTP response in place of the upgrade, and the app never hears of it."""
    inner = Inner()
    app = Envelope(HostAndOrigin(inner, hosts=HOSTS, origins=ORIGINS))
    sent = await call(app, scope_of("websocket", origin="https://evil.example"))
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == 403
    assert inner.came == []


async def test_a_refusal_does_not_repeat_what_came() -> None:
    """The words of a refusal hold nothing of the request."""
    sent = await call(HostAndOrigin(Inner(), hosts=HOSTS, origins=()), scope_of(host="evil.example"))
    assert b"evil" not in sent[1]["body"]


async def test_starting_and_stopping_come_through() -> None:
    """The lifespan has no host."""
    inner = Inner()
    await call(Envelope(HostAndOrigin(inner, hosts=(), origins=())), {"type": "lifespan"})
    assert [scope["type"] for scope in inner.came] == ["lifespan"]


async def test_every_response_has_an_id_of_our_own_and_the_security_headers() -> None:
    """The id is new for each request, whatever the request or the handler say, and is known to the handler."""
    inner = Inner()
    app = Envelope(HostAndOrigin(inner, hosts=HOSTS, origins=()))
    ids = set()
    for scope in (scope_of(x_request_id="mine"), scope_of(), scope_of(host="evil.example")):
        start = (await call(app, scope))[0]
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        assert len(headers) == len(start["headers"])
        assert headers.items() >= SECURITY_HEADERS.items()
        ids.add(headers["x-request-id"])
    assert len(ids) == 3
    assert not ids & {"mine", "the handler's"}
    assert [scope["state"]["request_id"] in ids for scope in inner.came] == [True, True]


async def test_a_handler_may_have_headers_of_its_own() -> None:
    """A security header that a handler has set itself is left alone."""

    async def cached(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=60")]})

    headers = dict((await call(Envelope(cached), scope_of()))[0]["headers"])
    assert headers[b"cache-control"] == b"max-age=60"


def test_the_policy_lets_nobody_frame_us() -> None:
    """What the pages rely on: own scripts only, no framing, no sniffing, no referrer, nothing kept."""
    policy = dict(part.strip().split(" ", 1) for part in SECURITY_HEADERS["content-security-policy"].split(";"))
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert SECURITY_HEADERS["cross-origin-opener-policy"] == "same-origin"
    assert SECURITY_HEADERS["x-frame-options"] == "DENY"
    assert SECURITY_HEADERS["x-content-type-options"] == "nosniff"
    assert SECURITY_HEADERS["referrer-policy"] == "no-referrer"
    assert SECURITY_HEADERS["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        (None, False),
        ("http://localhost:8000", True),
        ("https://LOCALHOST:8000", True),
        ("https://app.example.org", False),
    ],
)
async def test_the_handler_knows_whether_an_own_page_asks(origin: str | None, is_own: bool) -> None:
    """A page of the server's own is told from another allowed site's, and from what is no page."""
    inner = Inner()
    await call(HostAndOrigin(inner, hosts=HOSTS, origins=ORIGINS), scope_of(origin=origin))
    assert inner.came[0]["state"]["is_own_page"] is is_own


@pytest.mark.parametrize("name", sorted(NOT_IN_URLS))
@pytest.mark.parametrize("type_", ["http", "websocket"])
async def test_no_token_travels_in_a_url(type_: str, name: str) -> None:
    """A URL with a token, however it is spelled, is refused with what to do, and the token is not repeated."""
    for query in (f"{name}=s3cret", f"a=b&{name.upper()}=s3cret", f"{name}", f"%{ord(name[0]):02x}{name[1:]}=s3cret&c"):
        inner = Inner()
        sent = await call(NoTokenInUrl(inner), scope_of(type_, query))
        assert inner.came == []
        assert sent[0]["status"] == 400
        problem = json.loads(sent[1]["body"])
        assert problem["code"] == "token_in_url"
        assert "Authorization: Bearer" in problem["detail"]
        assert "s3cret" not in problem["detail"]


@pytest.mark.parametrize("query", ["", "limit=5", "cursor=token", "tokens=1", "q=access_token%3Dx", "%ff=%fe", "&&=&"])
async def test_other_queries_come_through(query: str) -> None:
    """Only what names a token is refused."""
    inner = Inner()
    await call(NoTokenInUrl(inner), scope_of("http", query))
    assert len(inner.came) == 1
