"""Bad input gets a clear error of its own, and the server goes on serving others."""

from __future__ import annotations

import json
import resource
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed

from tests.support.database import on_sqlite
from tests.support.person import Person, Socket
from tests.support.server import Server
from tests.support.usage_records import csv_of

# What is bad here never reaches a database (test_http_api has what may, over both), and a full disk is here a limit of
# the process that writes the file.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), on_sqlite]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def others_are_served(bob: Person) -> AsyncIterator[None]:
    """Another user who is connected all the time gets an answer after whatever happened."""
    async with bob.connected() as socket:
        yield
        frames = await socket.ask("still there?", agent="gate")
        assert frames[-1]["data"]["result"]["echo"] == "still there?"


def _message(**fields: Any) -> str:
    return json.dumps({"type": "user_message", **fields})


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("{not json", "invalid_json", "not JSON"),
        ("", "invalid_json", "not JSON"),
        ('"a string"', "unknown_frame_type", "a JSON string"),
        ("[]", "unknown_frame_type", "a JSON array"),
        ("{}", "unknown_frame_type", "type None"),
        ('{"type":"shout"}', "unknown_frame_type", "'shout'"),
        ('{"type":"user_message"}', "invalid_text", "text: Field required"),
        (_message(text=""), "invalid_text", "text: expected at least one character"),
        (_message(text="  \n"), "invalid_text", "text: expected at least one character"),
        (_message(text="a\0b"), "invalid_text", "NUL"),
        (_message(text=5), "invalid_text", "valid string; came 5"),
        (_message(text="x" * 32_769), "invalid_text", "32768"),
        (_message(text="x", thread_id="mine"), "invalid_thread_id", "thread_id: expected a UUID; came 'mine'"),
        (_message(text="x", thread_id="../../etc"), "invalid_thread_id", "expected a UUID"),
        (_message(text="x", user_id="4b50638d-1871-48be-bfe2-600773b7ef5b"), "invalid_frame", "user_id"),
        (_message(text="x", if_busy="maybe"), "invalid_frame", "if_busy"),
        (_message(text="x", agent="nobody"), "unknown_agent", "known: faulty, gate, supervisor"),
        ('{"type":"resume","thread_id":"x","after_seq":0}', "invalid_thread_id", "expected a UUID"),
        (
            json.dumps({"type": "resume", "thread_id": "d3955bb6-e532-441b-9f44-76c54331c0bc", "after_seq": -1}),
            "invalid_frame",
            "after_seq",
        ),
        (json.dumps({"type": "cancel_run", "run_id": "x"}), "invalid_run_id", "expected a UUID"),
    ],
)
async def test_a_bad_frame_is_answered(ann: Person, text: str, code: str, told: str) -> None:
    """A bad frame is answered by an error that names what is wrong, and the socket goes on."""
    async with ann.connected() as socket:
        await socket.connection.send(text)
        error = await socket.expect("error")
        assert error["code"] == code
        assert told in error["message"]
        await socket.send("ping")
        await socket.expect("pong")
    assert (await ann.http.get("/api/threads")).json()["threads"] == []


async def test_the_error_names_the_message(ann: Person) -> None:
    """An error about a message carries its client_message_id, so that the client knows which one failed."""
    async with ann.connected() as socket:
        await socket.send("user_message", text="x", agent="nobody", client_message_id="m7")
        assert (await socket.expect("error"))["client_message_id"] == "m7"


async def test_a_two_mebibyte_frame_ends_the_socket(ann: Person) -> None:
    """A frame over one MiB closes the socket with 1009."""
    async with ann.connected() as socket:
        with suppress(ConnectionClosed):  # the server need not wait for the rest of it
            await socket.connection.send(_message(text="x" * 2 * 1024 * 1024))
        assert (await socket.closed())[0] == 1009


async def test_a_binary_frame_ends_the_socket(ann: Person) -> None:
    """A binary frame closes the socket with 1003."""
    async with ann.connected() as socket:
        await socket.connection.send(b"\x00\x01")
        assert (await socket.closed())[0] == 1003


async def test_twenty_bad_frames_in_a_row_end_the_socket(ann: Person) -> None:
    """Nineteen bad frames and a good one are forgiven; twenty in a row close the socket with 1008, all answered."""
    async with ann.connected() as socket:
        for count in (19, 20):
            for _ in range(count):
                await socket.connection.send("?")
            for _ in range(count):
                assert (await socket.expect("error"))["code"] == "invalid_json"
            if count < 20:
                await socket.send("ping")
                await socket.expect("pong")
        assert (await socket.closed())[0] == 1008


async def test_another_users_thread_is_unknown_over_http(ann: Person, bob: Person) -> None:
    """Every route with a thread's id answers another user's id exactly as one that does not exist: 404."""
    async with ann.connected() as socket:
        hers = (await socket.ask("private", agent="gate"))[0]
    for suffix, ids in (("threads", (hers["thread_id"], str(uuid4()))), ("runs", (hers["run_id"], str(uuid4())))):
        paths = {
            "threads": (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/messages"), ("GET", "/events")),
            "runs": (("GET", ""), ("POST", "/cancel")),
        }[suffix]
        for method, tail in paths:
            body = {"title": "mine now"} if method == "PATCH" else None
            answers = [await bob.http.request(method, f"/api/{suffix}/{id_}{tail}", json=body) for id_ in ids]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].content == answers[1].content
    assert (await ann.http.get(f"/api/threads/{hers['thread_id']}")).json()["title"] == "private"


async def test_a_malformed_id_is_told(ann: Person) -> None:
    """An id that is not a UUID is 422 with a code of its own."""
    for path in ("/api/threads/mine", "/api/threads/mine/messages", "/api/threads/mine/events", "/api/runs/mine"):
        answer = await ann.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_id")


async def test_no_token_is_told(ann: Person) -> None:
    """A call without a token is 401, says what is missing, and names the scheme."""
    del ann.http.headers["Authorization"]
    answer = await ann.http.get("/api/threads")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Authorization" in answer.json()["detail"]


GOOD = csv_of(2)
HEADER, FIRST, SECOND, _ = GOOD.split("\n")


def _with(column: str, value: str) -> str:
    values = SECOND.split(",")
    values[HEADER.split(",").index(column)] = value
    return "\n".join([HEADER, FIRST, ",".join(values), ""])


@pytest.mark.parametrize(
    ("body", "line", "field"),
    [
        (GOOD.replace("cost_usd", "price"), 1, "cost_usd"),
        (_with("cost_usd", "-0.01"), 3, "cost_usd"),
        (_with("cost_usd", "NaN"), 3, "cost_usd"),
        (_with("timestamp", "yesterday"), 3, "timestamp"),
        (_with("timestamp", "2026-01-01T00:00:00"), 3, "timestamp"),
        (_with("input_tokens", "1.5"), 3, "input_tokens"),
        (_with("deferrable", "perhaps"), 3, "deferrable"),
        (_with("label", "x" * 201), 3, "label"),
        (f"{GOOD}1,2,3\n", 4, None),
        ("", 1, None),
        (f"{HEADER}\n", 1, None),
    ],
)
async def test_a_bad_upload_is_told_and_nothing_stored(ann: Person, body: str, line: int, field: str | None) -> None:
    """A bad row is answered with its line and field, and no row of the upload is stored."""
    answer = await ann.http.post("/api/usage-records", content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_upload"
    assert (problem["errors"][0]["line"], problem["errors"][0]["field"]) == (line, field)
    assert problem["errors"][0]["expected"]
    assert (await ann.http.get("/api/usage-records")).json()["usage_records"] == []


async def test_a_late_bad_row_takes_the_whole_upload_back(ann: Person) -> None:
    """A bad row after thousands of good ones leaves none of them."""
    body = csv_of(3_500) + SECOND.replace("0.125", "-1") + "\n"
    answer = await ann.http.post("/api/usage-records", content=body, headers={"Content-Type": "text/csv"})
    assert answer.json()["errors"][0]["line"] == 3_502
    assert (await ann.http.get("/api/usage-records")).json()["usage_records"] == []
    assert (await ann.http.delete("/api/usage-records")).json() == {"deleted": 0}


async def test_another_media_type_is_told(ann: Person) -> None:
    """An upload that is neither CSV nor JSON lines is refused by its type."""
    answer = await ann.http.post("/api/usage-records", content=b"x", headers={"Content-Type": "image/png"})
    assert answer.status_code == 422
    assert "text/csv or application/x-ndjson" in answer.json()["detail"]


async def test_too_large_a_body_is_told(ann: Person) -> None:
    """A body over the limit is 413, with and without a declared length."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 8192

    for content in (b" " * 160_000, chunks()):
        answer = await ann.http.post("/api/threads", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413


async def test_a_full_disk_loses_nothing_acknowledged(server: Server, ann: Person) -> None:
    """While the disk takes no more, messages and uploads are refused clearly; what was acknowledged stays and ends."""
    pid = server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    async with ann.connected() as socket, ann.connected() as watcher:
        before = await socket.ask("before", agent="gate")
        thread_id = before[0]["thread_id"]
        await watcher.send("resume", thread_id=thread_id, after_seq=0)
        await watcher.until_final()
        await socket.send("user_message", text="hold disk", agent="gate")
        held = (await socket.until("tool_executing"))[-1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, limits[1]))
        try:
            await socket.send("user_message", text="lost?", agent="gate", client_message_id="full", thread_id=thread_id)
            refused = await socket.expect("error")
            assert (refused["code"], refused["client_message_id"]) == ("storage_unavailable", "full")
            upload = await ann.http.post("/api/usage-records", content=GOOD, headers={"Content-Type": "text/csv"})
            assert (upload.status_code, upload.json()["code"]) == (503, "storage_unavailable")
            history = await ann.http.get(f"/api/threads/{thread_id}/messages")
            assert history.json()["messages"][0]["content"] == "before"
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        again = await socket.ask("lost?", agent="gate", client_message_id="full", thread_id=thread_id)
        assert again[-1]["data"]["result"]["echo"] == "lost?"
        assert again[0]["seq"] == before[-1]["seq"] + 1
        assert [frame["seq"] for frame in await watcher.until_final()] == [frame["seq"] for frame in again[1:]]
        await _open_gate(ann)
        assert (await socket.until_final(held["run_id"]))[-1]["type"] == "agent_completed"
    assert (await ann.http.get("/api/usage-records")).json()["usage_records"] == []


async def _open_gate(person: Person) -> None:
    async with person.connected() as socket:
        await socket.ask("open disk", agent="gate")


async def test_a_run_outlives_a_full_disk(server: Server, ann: Person) -> None:
    """Events that a run has when the disk is full are kept, and stored in order once it takes them again."""
    pid = server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    async with ann.connected() as socket, ann.connected() as opener:
        await socket.send("user_message", text="hold out", agent="gate")
        held = (await socket.until("tool_executing"))[-1]
        await _hold_then_open(opener, pid, limits)
        ended = await socket.until_final(held["run_id"])
    assert [frame["type"] for frame in ended] == ["tool_completed", "agent_completed"]
    assert [frame["seq"] for frame in ended] == [held["seq"] + 1, held["seq"] + 2]


async def _hold_then_open(opener: Socket, pid: int, limits: tuple[int, int]) -> None:
    """Open the gate and fill the disk while the gate's own run is still to be stored."""
    await opener.send("user_message", text="open out", agent="gate")
    await opener.until("agent_started")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    await opener.send("user_message", text="no room", agent="gate")
    await opener.until("error", code="storage_unavailable")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
