"""What is kept and what is not: retention, erasure, export and backup, with a real server and the real commands."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import NullPool, create_engine, func, select

from netra_backend.app.db.tables import metadata
from tests.support.database import FILE, Backend, database_url, superuser_url
from tests.support.person import Person, Socket, a_person
from tests.support.server import ROOT, Server, serving

USERS = 12
SECOND_IN_DAYS = str(1 / 86_400)


async def netra(*words: str, **settings: str) -> tuple[int, str, str]:
    """Run a command to its end; its exit code and what it has written."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        **{f"NETRA_{name.upper()}": value for name, value in settings.items()},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "netra_cli", *words, env=environment, stdout=PIPE, stderr=PIPE
    )
    output, messages = await process.communicate()
    return process.returncode or 0, output.decode(), messages.decode()


async def _talk(socket: Socket, enough: asyncio.Event) -> int:
    """Ask again and again, in a new thread each time; how often an answer came."""
    count = 0
    while not enough.is_set():
        frames = await socket.ask(f"question {count}", agent="gate")
        assert frames[-1]["type"] == "agent_completed"
        count += 1
    return count


@pytest.mark.timeout(120)
async def test_a_backup_of_a_busy_server_is_a_whole_database(tmp_path: Path) -> None:
    """While users talk without a pause, a backup comes to its end; a server on the copy shows every thread whole."""
    copy = tmp_path / "copy.sqlite3"
    async with serving(tmp_path / "data", messages_per_minute="100000") as server, AsyncExitStack() as stack:
        people = [await stack.enter_async_context(a_person(server)) for _ in range(USERS)]
        sockets = [await stack.enter_async_context(person.connected()) for person in people]
        for socket in sockets:
            await socket.ask("before the backup", agent="gate")
        enough = asyncio.Event()
        talks = [asyncio.create_task(_talk(socket, enough)) for socket in sockets]
        code, output, messages = await netra("db", "backup", str(copy), "--data-dir", str(tmp_path / "data"))
        enough.set()
        counts = await asyncio.gather(*talks)
        assert (code, messages) == (0, "")
        assert str(copy) in output
        assert min(counts) >= 1  # nobody was kept waiting for its end
        again = await netra("db", "backup", str(copy), "--data-dir", str(tmp_path / "data"))
        assert again[0] == 1
        assert "existing file" in again[2]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert set(os.listdir(tmp_path)) == {"copy.sqlite3", "data"}
    _assert_whole(copy)
    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(copy, restored / FILE)
    shutil.copy(tmp_path / "data" / "secret.key", restored / "secret.key")
    async with serving(restored) as server:
        for person in people:
            await _assert_readable(server, person)


def _assert_whole(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        torn = """
            SELECT count(*) FROM threads WHERE last_seq != (SELECT count(*) FROM events WHERE
              events.user_id = threads.user_id AND events.thread_id = threads.thread_id)
        """
        assert connection.execute(torn).fetchone() == (0,)
        halves = """
            SELECT count(*) FROM runs WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.user_id = runs.user_id AND
              events.thread_id = runs.thread_id AND events.seq = runs.message_seq AND events.run_id = runs.run_id)
              OR (finished_at IS NOT NULL) != EXISTS (SELECT 1 FROM events WHERE events.user_id = runs.user_id AND
              events.thread_id = runs.thread_id AND events.run_id = runs.run_id AND events.final)
        """
        assert connection.execute(halves).fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM threads").fetchone()[0] >= USERS


async def _assert_readable(server: Server, person: Person) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=20, headers=person.http.headers) as http:
        listed = (await http.get("/api/threads?limit=200")).json()["threads"]
        assert any(thread["title"] == "before the backup" for thread in listed)
        first = next(thread for thread in listed if thread["title"] == "before the backup")
        shown = (await http.get(f"/api/threads/{first['thread_id']}/messages")).json()
        assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]


@pytest.mark.timeout(120)
async def test_readers_are_told_what_retention_has_erased(backend: Backend, tmp_path: Path) -> None:
    """Once a run is older than retention keeps, the socket, the event stream and the listing tell the gap, and the
    thread goes on with the next number; a run that has not ended keeps its events."""
    settings = backend.settings(tmp_path)
    async with (
        serving(tmp_path, retention_days=SECOND_IN_DAYS, **settings) as server,
        a_person(server) as ann,
        ann.connected() as socket,
    ):
        frames = await socket.ask("an old secret", agent="gate")
        thread_id, last = frames[0]["thread_id"], frames[-1]["seq"]
        async with asyncio.timeout(30):
            while not (await _thread(ann, thread_id))["erased_to_seq"]:
                pass
        thread = await _thread(ann, thread_id)
        assert (thread["erased_to_seq"], thread["last_seq"]) == (last, last)
        await socket.send("user_message", text="hold on", agent="gate", thread_id=thread_id)
        begun = (await socket.until("tool_executing"))[-1]
        assert begun["seq"] == last + 4
        gap = {"from_seq": 1, "to_seq": last, "reason": "retention"}
        async with ann.connected() as other:
            await other.send("resume", thread_id=thread_id, after_seq=0)
            assert await other.receive() == {"type": "gap", "thread_id": thread_id, **gap}
            assert [frame["seq"] for frame in await other.until("tool_executing")] == list(range(last + 1, last + 5))
        async with ann.http.stream("GET", f"/api/threads/{thread_id}/events") as stream:
            lines = stream.aiter_lines()
            assert [await anext(lines) for _ in range(2)] == [f"id: {last}", "event: gap"]
            assert json.loads((await anext(lines)).removeprefix("data: "))["to_seq"] == last
        shown = (await ann.http.get(f"/api/threads/{thread_id}/messages")).json()
        assert (shown["gap"], [message["content"] for message in shown["messages"]]) == (gap, ["hold on"])


async def _thread(person: Person, thread_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await person.http.get(f"/api/threads/{thread_id}")).json()
    return found


@pytest.mark.timeout(120)
async def test_an_operator_exports_and_erases_a_user(backend: Backend, tmp_path: Path) -> None:
    """An export while the server runs is what the user's own is, without hashes; an erasure leaves the user nothing,
    and others everything."""
    settings = backend.settings(tmp_path)
    where = ("--data-dir", str(tmp_path))
    async with serving(tmp_path, **settings) as server, a_person(server) as ann, a_person(server) as bob:
        for person in (ann, bob):
            async with person.connected() as socket:
                await socket.ask(f"of {person.email}", agent="gate")
        own = (await ann.http.get("/auth/me/export")).text
        for name in (ann.email, ann.user_id):
            code, output, messages = await netra("db", "export", name, *where, **settings)
            assert (code, output) == (0, own)
            assert messages == f"{len(own.splitlines())} rows of user {ann.user_id}\n"
        assert "hash" not in own
        assert bob.user_id not in own
        file = tmp_path / "ann.ndjson"
        assert (await netra("db", "export", ann.email, "--output", str(file), *where, **settings))[0] == 0
        assert (file.read_text(), file.stat().st_mode & 0o777) == (own, 0o600)
        assert (await netra("db", "export", ann.email, "--output", str(file), *where, **settings))[0] == 1
        code, output, messages = await netra("db", "erase", ann.email, "--yes", *where, **settings)
        if backend.name == "sqlite":
            assert (code, output) == (1, "")
            assert "stop it first" in messages
            server.process.terminate()
            await server.process.wait()
            code, output, messages = await netra("db", "erase", ann.email, "--yes", *where, **settings)
        assert (code, messages) == (0, "")
        assert ann.user_id in output
    code, _, messages = await netra("db", "erase", ann.email, "--yes", *where, **settings)
    assert code == 1
    assert "expected the e-mail or the id of a user" in messages
    async with serving(tmp_path, **settings) as server, httpx.AsyncClient(base_url=server.url, timeout=20) as http:
        for person, status in ((ann, 401), (bob, 200)):
            form = {"username": person.email, "password": person.password}
            assert (await http.post("/auth/login", data=form)).status_code == status
    assert not _files_with(tmp_path, ann.email)


def _files_with(folder: Path, text: str) -> list[str]:
    """The files of the database that hold a text somewhere, in pages that nobody uses any more too."""
    return [path.name for path in folder.glob(f"{FILE}*") if text.encode() in path.read_bytes()]


@pytest.mark.timeout(120)
async def test_a_user_who_erases_the_account_is_gone_at_once(backend: Backend, tmp_path: Path) -> None:
    """Sockets close, a running run stops, the token is worth nothing, and the e-mail can be registered again."""
    settings = backend.settings(tmp_path)
    async with serving(tmp_path, **settings) as server, a_person(server) as ann, ann.connected() as socket:
        await socket.send("user_message", text="hold on", agent="gate")
        await socket.until("tool_executing")
        assert (await ann.http.delete("/auth/me")).status_code == 204
        assert await socket.closed() == (4401, "the account was erased")
        assert (await ann.http.get("/api/threads")).status_code == 401
        refreshed = await ann.http.post("/auth/refresh", json={"refresh_token": ann.refresh_token})
        assert refreshed.status_code == 401
        again = {"email": ann.email, "password": ann.password}
        assert (await ann.http.post("/auth/register", json=again)).status_code == 201
        metrics = (await ann.http.get("/metrics")).text
        assert "netra_runs_running 0.0" in metrics


def _left_of(folder: Path, user_id: str) -> dict[str, int]:
    """How many rows of a user each table has, read beside a server that may be running."""
    engine = create_engine(superuser_url(database_url(folder)), poolclass=NullPool)
    with engine.connect() as connection:
        counts = {
            table.name: connection.execute(
                select(func.count()).select_from(table).where(table.c.user_id == user_id)
            ).scalar_one()
            for table in metadata.sorted_tables
        }
    engine.dispose()
    return counts


@pytest.mark.timeout(120)
async def test_an_erasure_that_a_crash_cut_off_is_finished_by_the_next_start(backend: Backend, tmp_path: Path) -> None:
    """The server is killed while it takes a user's rows away: nobody can be the user then, and the next start leaves
    no row."""
    settings = backend.settings(tmp_path)
    row = {
        "timestamp": "2026-01-31T12:00:00Z", "request_id": "r", "model": "m", "operation": "o",
        "prompt_fingerprint": "f", "input_tokens": 1, "output_tokens": 1, "cost_usd": 1, "latency_ms": 1,
        "deferrable": True, "label": "",
    }  # fmt: skip
    lines = "\n".join([json.dumps(row)] * 10_000)
    async with serving(tmp_path, **settings) as server, a_person(server) as ann:
        async with ann.connected() as socket:
            await socket.ask("hello", agent="gate")
        uploaded = await ann.http.post(
            "/api/usage-records", content=lines, headers={"content-type": "application/x-ndjson"}
        )
        assert uploaded.json()["accepted"] == 10_000
        erasing = asyncio.create_task(ann.http.delete("/auth/me"))
        while (await ann.http.get("/auth/me")).status_code == 200:
            pass
        await server.kill()
        await asyncio.gather(erasing, return_exceptions=True)
        left = await asyncio.to_thread(_left_of, tmp_path, ann.user_id)
        assert left["users"] == 1
        assert left["usage_records"] > 0
        async with serving(tmp_path, **settings) as again, httpx.AsyncClient(base_url=again.url, timeout=20) as http:
            form = {"username": ann.email, "password": ann.password}
            assert (await http.post("/auth/login", data=form)).status_code == 401
            async with asyncio.timeout(60):
                while any((await asyncio.to_thread(_left_of, tmp_path, ann.user_id)).values()):
                    pass
