"""The composition root: an app that starts, answers as docs/wire.md says, and leaves nothing when it stops."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster
from starlette.types import Message

from netra_backend.app.agents.registry import AgentRegistryError
from netra_backend.app.api.middleware import SECURITY_HEADERS
from netra_backend.app.config import Settings
from netra_backend.app.db.errors import DatabaseInUseError
from netra_backend.app.main import create_app
from tests.support.served_app import Served, started

EMAIL = {"email": "ann@users.netra.invalid", "password": "correct horse"}
THREAD = "0b9d1c1e-3f60-4f0c-9d9a-2a4f6d3c1b11"
LONE_SURROGATE = "\\ud800"


@pytest.fixture(autouse=True)
def _free_to_block(blockbuster: BlockBuster | None) -> None:
    """Building an app and starting it read and make files before anything is served."""
    if blockbuster is not None:
        blockbuster.deactivate()


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Served]:
    """A started app with small limits."""
    async with started(tmp_path / "data", max_body_bytes=2_000, max_upload_bytes=4_000) as app:
        yield app


@asynccontextmanager
async def client_of(app: Served, base_url: str = "http://localhost:8000") -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app in the process; a fault of the server is a response, as over a wire."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        yield client


@pytest.fixture
async def client(app: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A client that nobody knows."""
    async with client_of(app) as client:
        yield client


async def signed_up(client: httpx.AsyncClient) -> str:
    """The access token of a new user."""
    assert (await client.post("/auth/register", json=EMAIL)).status_code == 201
    form = {"username": EMAIL["email"], "password": EMAIL["password"]}
    token: str = (await client.post("/auth/login", data=form)).json()["access_token"]
    return token


@pytest.fixture
async def ann(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client that is signed in."""
    client.headers["authorization"] = f"Bearer {await signed_up(client)}"
    return client


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a problem of such a status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert set(body) >= {"type", "title", "status", "code", "detail"}
    return body


# Starting and stopping


async def test_an_app_starts_and_stops_and_leaves_no_thread(tmp_path: Path) -> None:
    """The lifespan gives the services, and after it every thread and task of the app has ended."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with started(tmp_path) as app:
        async with client_of(app) as client:
            assert (await client.get("/health/ready")).json() == {"status": "ready"}
            await client.post("/auth/register", json=EMAIL)
        assert app.services.settings.data_dir == tmp_path
    assert asyncio.all_tasks() == tasks
    left = {thread for thread in threading.enumerate() if thread.name.startswith("netra")} - threads
    for thread in left:
        thread.join(5)
    assert not any(thread.is_alive() for thread in left)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_data_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """Others could put a key or a database of their own there: nothing is served, and what to do is told."""
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    with pytest.raises(ValueError, match=f"mode 0{mode:o}.*expected 0700.*chmod 700"):
        create_app(Settings(data_dir=data))
    assert list(data.iterdir()) == []


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A server does not sign with a key that somebody else may know."""
    (tmp_path / "secret.key").write_bytes(b"k" * 48)
    (tmp_path / "secret.key").chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        create_app(Settings(data_dir=tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]


async def test_the_data_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    """Nobody else on the machine reads the database or the key."""
    data = tmp_path / "new" / "data"
    async with started(data):
        pass
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for file in data.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file.name
    assert len((data / "secret.key").read_bytes()) == 48


async def test_a_second_start_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    """Accounts and tokens outlive a restart, for the key is kept."""
    async with started(tmp_path) as app, client_of(app) as client:
        token = await signed_up(client)
    async with started(tmp_path) as app, client_of(app) as client:
        response = await client.get("/auth/me", headers={"authorization": f"Bearer {token}"})
        assert response.json()["email"] == EMAIL["email"]


async def test_two_apps_over_different_folders_share_nothing(tmp_path: Path) -> None:
    """One process may hold two servers: their users, keys and numbers are their own."""
    async with (
        started(tmp_path / "a") as one,
        started(tmp_path / "b") as other,
        client_of(one) as first,
        client_of(other) as second,
    ):
        token = await signed_up(first)
        bearer = {"authorization": f"Bearer {token}"}
        assert (await first.get("/auth/me", headers=bearer)).status_code == 200
        problem(await second.get("/auth/me", headers=bearer), 401)
        assert (await second.post("/auth/register", json=EMAIL)).status_code == 201


async def test_two_apps_over_one_folder_are_refused(tmp_path: Path) -> None:
    """A data folder has one server; once that has stopped another may start."""
    async with started(tmp_path):
        with pytest.raises(DatabaseInUseError):
            create_app(Settings(data_dir=tmp_path))
    async with started(tmp_path):
        pass


@pytest.mark.parametrize("wrong", [{"default_agent": "nobody"}, {"agents": {"poet": "nowhere_at_all:Poet"}}])
async def test_an_app_that_cannot_be_built_holds_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """After a wrong agent the data folder is free for an app that is right, in the same process."""
    with pytest.raises(AgentRegistryError):
        create_app(Settings(data_dir=tmp_path, **wrong))
    async with started(tmp_path):
        pass


# What every response has


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/health/live", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/auth/me", 401),
        ("GET", "/no/such/route", 404),
        ("GET", "/static/no-such-file", 404),
        ("GET", "/static/../main.py", 404),
        ("PUT", "/auth/me", 405),
        ("POST", "/auth/login", 422),
    ],
)
async def test_every_response_carries_the_security_headers(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """Pages, answers and problems alike have the headers and a request id; every problem is problem+json."""
    response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers.items() >= SECURITY_HEADERS.items()
    assert len(response.headers["x-request-id"]) == 36
    if status >= 400:
        problem(response, status)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/threads", "GET, POST"),
        ("POST", f"/api/threads/{THREAD}", "DELETE, GET, PATCH"),
        ("OPTIONS", "/auth/me", "DELETE, GET"),
        ("HEAD", "/auth/login", "POST"),
    ],
)
async def test_a_method_that_is_not_allowed_is_told_which_are(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    """A 405 names every method of the path, not only those of the first route that it has."""
    response = await client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded"])
async def test_bytes_that_are_no_text_are_the_clients_fault(client: httpx.AsyncClient, media_type: str) -> None:
    """A body that is not UTF-8 is 422 like every other body that cannot be read."""
    response = await client.post("/auth/refresh", content=b'"\xff"', headers={"content-type": media_type})
    body = problem(response, 422)
    if media_type == "application/json":
        assert body["code"] == "invalid_body"
        assert "UTF-8" in body["detail"]


async def test_a_fault_of_ours_carries_them_too(
    app: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 500 tells nothing, and its headers are those of every response, its request id included."""

    async def fails(*_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(app.services.database, "read", fails)
    response = await client.get("/health/ready")
    assert "secret" not in response.text
    assert problem(response, 500)["code"] == "internal_error"
    assert response.headers.items() >= SECURITY_HEADERS.items()
    assert "x-request-id" in response.headers


@pytest.mark.parametrize("host", ["http://evil.example", "http://localhost.evil.example:8000"])
async def test_a_foreign_host_is_refused(app: Served, host: str) -> None:
    """A name that is not this server's gets 403 and no page."""
    async with client_of(app, host) as client:
        assert problem(await client.get("/"), 403)["code"] == "foreign_host"


async def test_a_foreign_page_is_refused(client: httpx.AsyncClient) -> None:
    """Another site's page cannot register, sign in or read."""
    response = await client.post("/auth/register", json=EMAIL, headers={"origin": "https://evil.example"})
    assert problem(response, 403)["code"] == "foreign_origin"


async def test_a_public_server_answers_to_its_own_names_only(tmp_path: Path) -> None:
    """In public the names are the host, the allowed hosts and the origins' hosts, and none of loopback's."""
    settings: dict[str, Any] = {
        "host": "192.0.2.1",
        "secret_key": "k" * 48,
        "allowed_origins": "https://app.example.org:8443",
        "allowed_hosts": "netra.example.org",
    }
    async with started(tmp_path, **settings) as app:
        for host, status in (
            ("192.0.2.1:8000", 200),
            ("netra.example.org", 200),
            ("app.example.org", 200),
            ("localhost:8000", 403),
            ("127.0.0.1:8000", 403),
        ):
            async with client_of(app, f"http://{host}") as client:
                assert (await client.get("/health/live")).status_code == status, host
        async with client_of(app, "http://netra.example.org") as client:
            assert problem(await client.post("/auth/register", json=EMAIL), 403)["code"] == "registration_closed"
        assert not (tmp_path / "secret.key").exists()


# Bodies


async def test_a_body_has_a_limit(ann: httpx.AsyncClient) -> None:
    """A body over the limit is 413, told in advance or not; one within it is taken."""

    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield b'{"title": "'
        for _ in range(size // 100):
            yield b"x" * 100
        yield b'"}'

    assert (await ann.post("/api/threads", json={"title": "x" * 200})).status_code == 201
    problem(await ann.post("/api/threads", json={"title": "x" * 2_000}), 413)
    problem(await ann.post("/api/threads", content=chunks(5_000), headers={"content-type": "application/json"}), 413)
    problem(await ann.post("/auth/login", data={"username": "x" * 3_000, "password": "y"}), 413)


async def test_an_upload_has_a_limit_of_its_own(ann: httpx.AsyncClient) -> None:
    """An upload may be larger than other bodies, up to its own limit, and beyond it nothing is stored."""
    csv = {"content-type": "text/csv"}
    problem(await ann.post("/api/usage-records", content=b"x" * 5_000, headers=csv), 413)
    assert problem(await ann.post("/api/usage-records", content=b"x" * 3_000, headers=csv), 422)["errors"]
    assert (await ann.get("/api/usage-records")).json()["usage_records"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/register", '{"email": "a@b.c", "password": "correct horse %s"}'),
        ("POST", "/auth/register", '{"email": "%s@b.c", "password": "correct horse"}'),
        ("POST", "/auth/register", '{"email": "a@b.c", "password": "correct horse", "%s": 1}'),
        ("POST", "/auth/refresh", '{"refresh_token": "s1.%s"}'),
        ("POST", "/auth/refresh", '{"refresh_token": "%s.s1"}'),
        ("POST", "/auth/password", '{"current_password": "%s", "new_password": "correct horse"}'),
        ("POST", "/api/threads", '{"title": "%s"}'),
        ("POST", "/api/threads", '{"thread_id": "%s"}'),
        ("POST", f"/api/threads/{THREAD}/messages", '{"text": "%s"}'),
        ("POST", f"/api/threads/{THREAD}/messages", '{"text": "x", "client_message_id": "%s"}'),
        ("POST", f"/api/threads/{THREAD}/messages", '{"text": "x", "agent": "%s"}'),
    ],
)  # fmt: skip
async def test_text_that_utf_8_cannot_spell_is_the_clients_fault(
    ann: httpx.AsyncClient, method: str, path: str, body: str
) -> None:
    """A lone surrogate, which JSON can spell and nothing can store, is a 4xx wherever it comes, never a 500."""
    content = (body % LONE_SURROGATE).encode()
    response = await ann.request(method, path, content=content, headers={"content-type": "application/json"})
    assert 400 <= response.status_code < 500, response.text


@pytest.mark.parametrize("field", ["label", "model"])
async def test_an_upload_that_utf_8_cannot_spell_is_the_clients_fault(ann: httpx.AsyncClient, field: str) -> None:
    """The same in an upload: refused with its line, and nothing stored."""
    row = {
        "timestamp": "2026-01-31T12:00:00Z", "request_id": "r", "model": "m", "operation": "o",
        "prompt_fingerprint": "f", "input_tokens": 1, "output_tokens": 1, "cost_usd": 1, "latency_ms": 1,
        "deferrable": True, "label": "",
    }  # fmt: skip
    content = json.dumps(row | {field: "\ud800"})
    response = await ann.post("/api/usage-records", content=content, headers={"content-type": "application/x-ndjson"})
    assert problem(response, 422)["errors"][0]["field"] == field


# Places among the connections


async def test_a_reader_that_is_gone_before_its_stream_begins_takes_no_place(
    app: Served, ann: httpx.AsyncClient
) -> None:
    """Clients that break off while the server answers do not use up their user's connections."""
    thread = (await ann.post("/api/threads", json={})).json()["thread_id"]
    for _ in range(3):
        gone: Iterator[Message] = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive(gone: Iterator[Message] = gone) -> Message:
            return next(gone, {"type": "http.disconnect"})

        async def send(_message: Message) -> None:
            await asyncio.Event().wait()  # nobody reads; the server waits to send until it hears that nobody is there

        headers = [(b"host", b"localhost"), (b"authorization", ann.headers["authorization"].encode())]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": f"/api/threads/{thread}/events", "raw_path": b"", "query_string": b"",
            "root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        async with asyncio.timeout(5):
            await app(scope, receive, send)
    assert app.services.connections.count == 0
