"""The HTTP API of a real server, used as a client uses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support.person import Frame, Person
from tests.support.usage_records import csv_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"Content-Type": "application/json"}


async def _all_pages(person: Person, path: str, key: str, limit: int) -> list[Any]:
    items: list[Any] = []
    cursor = None
    while True:
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = (await person.http.get(path, params=query)).json()
        items += page[key]
        cursor = page["next_cursor"]
        if cursor is None:
            return items
        assert len(page[key]) == limit


async def test_the_account(ann: Person) -> None:
    """A user sees the own account, and the same e-mail in other letters is the same account."""
    me = (await ann.http.get("/auth/me")).json()
    assert (me["user_id"], me["email"]) == (ann.user_id, ann.email)
    again = await ann.http.post("/auth/register", json={"email": ann.email.upper(), "password": "long enough"})
    assert (again.status_code, again.json()["code"]) == (409, "email_taken")
    form = {"username": f" {ann.email.upper()} ", "password": ann.password}
    assert (await ann.http.post("/auth/login", data=form)).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "nobody", "password": "long enough"}, "email"),
        ({"email": "a b@example.org", "password": "long enough"}, "email"),
        ({"email": "ann@example.org", "password": "short"}, "password"),
        ({"email": "ann@example.org", "password": "x" * 129}, "password"),
        ({"email": "ann@example.org"}, "password"),
        ({"email": "ann@example.org", "password": "half a pair \ud800"}, "password"),
        ({"email": "a\0b@example.org", "password": "long enough"}, "email"),
        ({"email": f"{'ß' * 200}@example.org", "password": "long enough"}, "email"),
        ({"email": "ann@example.org", "password": "long enough", "admin": True}, "admin"),
    ],
)
async def test_a_bad_registration_names_its_field(ann: Person, body: dict[str, Any], field: str) -> None:
    """A registration that cannot be taken says which field is wrong, and never repeats the password."""
    answer = await ann.http.post("/auth/register", content=json.dumps(body), headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert str(body.get("password", "x" * 200)) not in answer.text


FORM = "application/x-www-form-urlencoded"


def _multipart(charset: str, password: bytes) -> tuple[str, bytes]:
    fields = {b"username": b"ann@example.org", b"password": password}
    parts = [b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % each for each in fields.items()]
    return f"multipart/form-data; boundary=b; charset={charset}", b"".join([*parts, b"--b--\r\n"])


@pytest.mark.parametrize("path", ["/auth/login", "/auth/session"])
@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (FORM, b"username=a%00b&password=wrong+horse"),
        (FORM, b"username=a%00b%40example.org&password=wrong+horse"),
        (FORM, b"username=" + b"x" * 60_000 + b"%40example.org&password=wrong+horse"),
        (FORM, b"username=ann%40example.org&password=%00"),
        _multipart("unicode_escape", rb"\ud800"),
        _multipart("utf-7", b"+2AA-"),
        _multipart("utf-8", b"\xff\xfe"),
    ],
)
async def test_a_sign_in_that_can_be_nobodys_is_refused(ann: Person, path: str, media_type: str, body: bytes) -> None:
    """A name or a password that no account can have is refused as a wrong one is, whatever the form is spelled in."""
    headers = {"Content-Type": media_type, "Origin": ann.server.url}
    answer = await ann.http.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


@pytest.mark.parametrize("token", ["a\0.b.c", "a.\0.c", "a.b.c\n", "ä.b.c", "\ud800.b.c", "..", ""])
async def test_a_refresh_token_that_is_none_is_refused(ann: Person, token: str) -> None:
    """A text that no refresh token is spelled as is refused as a spent one is."""
    answer = await ann.http.post("/auth/refresh", content=json.dumps({"refresh_token": token}), headers=JSON)
    told = (answer.status_code, answer.json()["code"])
    assert told in ((401, "unauthenticated"), (422, "invalid_request"))


async def test_a_thread_through_its_life(ann: Person) -> None:
    """A thread is made under the client's id, renamed, read, and erased with all that is in it."""
    thread_id = str(uuid4())
    made = await ann.http.post("/api/threads", json={"thread_id": thread_id.upper(), "title": "plans"})
    assert (made.status_code, made.json()["thread_id"], made.json()["last_seq"]) == (201, thread_id, 0)
    twice = await ann.http.post("/api/threads", json={"thread_id": thread_id})
    assert (twice.status_code, twice.json()["code"]) == (409, "thread_exists")
    renamed = await ann.http.patch(f"/api/threads/{thread_id}", json={"title": "better plans"})
    assert renamed.json()["title"] == "better plans"
    accepted = await ann.http.post(f"/api/threads/{thread_id}/messages", json={"text": "hello", "agent": "gate"})
    assert accepted.status_code == 202
    async with ann.connected() as socket:
        await socket.send("resume", thread_id=thread_id, after_seq=0)
        assert (await socket.until_final())[-1]["run_id"] == accepted.json()["run_id"]
    run = (await ann.http.get(f"/api/runs/{accepted.json()['run_id']}")).json()
    assert (run["status"], run["attempt"], run["thread_id"]) == ("completed", 1, thread_id)
    assert (await ann.http.delete(f"/api/threads/{thread_id}")).status_code == 204
    for path in (f"/api/threads/{thread_id}", f"/api/threads/{thread_id}/messages", f"/api/runs/{run['run_id']}"):
        assert (await ann.http.get(path)).status_code == 404


async def test_erasing_a_thread_stops_its_run(ann: Person) -> None:
    """A run in an erased thread is gone and its place is free for the next."""
    async with ann.connected() as socket:
        await socket.send("user_message", text="hold erased", agent="gate")
        begun = (await socket.until("tool_executing"))[-1]
        assert (await ann.http.delete(f"/api/threads/{begun['thread_id']}")).status_code == 204
        assert (await ann.http.get(f"/api/runs/{begun['run_id']}")).status_code == 404
        assert (await socket.ask("next", agent="gate", thread_id=begun["thread_id"]))[0]["seq"] == 1


async def test_lists_are_paged(ann: Person) -> None:
    """Every page of a list together hold each thing once, in the order that the list promises."""
    made = [(await ann.http.post("/api/threads", json={"title": str(number)})).json() for number in range(7)]
    threads = await _all_pages(ann, "/api/threads", "threads", 3)
    assert [thread["title"] for thread in threads] == [thread["title"] for thread in reversed(made)]
    thread_id = made[0]["thread_id"]
    async with ann.connected() as socket:
        for number in range(4):
            await socket.ask(str(number), agent="gate", thread_id=thread_id)
    messages = await _all_pages(ann, f"/api/threads/{thread_id}/messages", "messages", 3)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 4
    assert [message["content"] for message in messages if message["role"] == "user"] == list("0123")
    assert (await ann.http.get("/api/threads", params={"cursor": "nonsense"})).status_code == 422


async def test_usage_records_through_their_life(ann: Person) -> None:
    """Records are added as CSV and as JSON lines, listed exactly as they were sent, and erased."""
    await ann.http.post("/api/usage-records", content=csv_of(5), headers={"Content-Type": "text/csv; charset=utf-8"})
    listed = await _all_pages(ann, "/api/usage-records", "usage_records", 2)
    assert [record["request_id"] for record in listed] == [f"r{number}" for number in range(5)]
    assert {record["cost_usd"] for record in listed} == {"0.125"}
    lines = "\n".join(json.dumps({**record, "label": 'résumé, "quoted"'}) for record in listed)
    added = await ann.http.post(
        "/api/usage-records", content=lines.encode(), headers={"Content-Type": "application/x-ndjson"}
    )
    assert (added.status_code, added.json()["accepted"]) == (201, 5)
    assert (await ann.http.delete("/api/usage-records")).json() == {"deleted": 10}


async def test_the_log_as_server_sent_events(ann: Person) -> None:
    """The event stream replays the log after Last-Event-ID, goes on live, and numbers its events by seq."""
    async with ann.connected() as socket:
        first = await socket.ask("one", agent="gate")
        thread_id = first[0]["thread_id"]
        ids: list[int] = []
        types: list[str] = []
        headers = {"Last-Event-ID": "1"}
        async with ann.http.stream("GET", f"/api/threads/{thread_id}/events", headers=headers) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            asked = asyncio.ensure_future(socket.ask("two", agent="gate", thread_id=thread_id))
            async for line in stream.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    ids.append(int(value))
                elif name == "event":
                    types.append(value)
                elif name == "data" and json.loads(value).get("final") and "user_message" in types:
                    break
            await asked
    assert ids == list(range(2, 2 + len(ids)))
    assert types == ["agent_started", "agent_thinking", "agent_completed", "user_message", *types[:3]]


async def test_a_thread_that_was_made_anew_is_told(ann: Person) -> None:
    """Who has seen more of a thread than there is, since it was erased and made again under its id, is told where its
    log ends, on the socket and in the event stream, and misses nothing of what comes then."""
    async with ann.connected() as socket:
        frames = await socket.ask("the first life", agent="gate")
        thread_id, seen = frames[0]["thread_id"], frames[-1]["seq"]
    assert (await ann.http.delete(f"/api/threads/{thread_id}")).status_code == 204
    assert (await ann.http.post("/api/threads", json={"thread_id": thread_id})).status_code == 201
    stale = {"Last-Event-ID": str(seen)}
    async with (
        ann.connected() as socket,
        ann.connected() as other,
        ann.http.stream("GET", f"/api/threads/{thread_id}/events", headers=stale) as stream,
    ):
        await socket.send("resume", thread_id=thread_id, after_seq=seen)
        told = await socket.expect("error")
        lines = stream.aiter_lines()
        assert [await anext(lines) for _ in range(2)] == ["id: 0", "event: error"]
        assert json.loads((await anext(lines)).removeprefix("data: ")) == told
        assert (told["code"], told["thread_id"], told["last_seq"]) == ("seq_ahead", thread_id, 0)
        answered = await other.ask("the second life", agent="gate", thread_id=thread_id)
        assert await socket.until_final() == answered[1:]
        ids = [line async for line in _until_final(lines) if line.startswith("id: ")]
        assert ids == [f"id: {frame['seq']}" for frame in answered[1:]]


async def _until_final(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The lines of an event stream up to the data of a final event."""
    async for line in lines:
        yield line
        if '"final":true' in line:
            return


async def test_an_export_holds_everything_and_no_secret(ann: Person, bob: Person) -> None:
    """The export has every kind of row of the user, no hash of a secret, and nothing of anybody else."""
    await ann.http.post("/api/usage-records", content=csv_of(3), headers={"Content-Type": "text/csv"})
    async with ann.connected() as socket, bob.connected() as other:
        await socket.ask("for the record", agent="gate")
        await other.ask("bob's own words", agent="gate")
    export = await ann.http.get("/auth/me/export")
    rows = [json.loads(line) for line in export.text.splitlines()]
    kinds = [row["kind"] for row in rows]
    assert set(kinds) == {"account", "session", "thread", "run", "event", "usage_upload", "usage_record"}
    assert kinds.count("usage_record") == 3
    assert {row["user_id"] for row in rows} == {ann.user_id}
    assert "hash" not in export.text
    assert "bob" not in export.text


async def test_a_user_cannot_outrun_the_limits(ann: Person) -> None:
    """Messages beyond a minute's worth are refused with the seconds to wait, on the socket and over HTTP."""
    async with ann.connected() as socket:
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] != "error":
            await socket.send("user_message", text="quick", agent="gate")
            frames.append(await socket.receive())
            while frames[-1]["type"] not in ("message_accepted", "error"):
                frames.append(await socket.receive())
        assert frames[-1]["code"] == "rate_limited"
        assert sum(frame["type"] == "message_accepted" for frame in frames) >= 120
    answer = await ann.http.post(f"/api/threads/{uuid4()}/messages", json={"text": "quick", "agent": "gate"})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_health_metrics_and_headers(ann: Person) -> None:
    """The server tells its health and numbers, and every answer carries the headers that protect a browser."""
    assert (await ann.http.get("/health/live")).json() == {"status": "live"}
    assert (await ann.http.get("/health/ready")).json() == {"status": "ready"}
    metrics = (await ann.http.get("/metrics")).text
    assert "netra_log_entries_total" in metrics
    assert ann.user_id not in metrics
    page = await ann.http.get("/")
    assert "<title>" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert page.headers["x-content-type-options"] == "nosniff"
    missing = await ann.http.get("/nothing/here")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
